"""Reference spectra: from arrays, signals and files to columns on the energy axis of the data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import convolve
from scipy.special import ndtr

from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.factor.data import Axis, Standard, is_signal, open_spectrum, unwrap
from endmember.factor.penalties import PowerLaws

#: Exponents of the power laws that a background is summed of.
EXPONENTS = (2.0, 3.0, 4.0, 5.0)
#: Full width at half maximum of a Gaussian, in standard deviations.
FWHM = 2 * np.sqrt(2 * np.log(2))
BACKGROUNDS = ("constant", "linear", "power_law")


def standards(references: Any, axis: Axis) -> list[Standard]:
    """Return the references on whatever axis each has, checked against that of the data.

    Parameters
    ----------
    references : array_like (k, channels), HyperSpy signal, path, or sequence of spectra, signals and paths
    axis : Axis
        Of the data; that of references without one.

    Raises
    ------
    ValueError, TypeError
        If one is no spectrum, or does not belong on the axis.
    """
    if references is None:
        return []
    found: list[Standard] = []
    for item in _items(references):
        values, own, name = _spectra(item, axis)
        for number, spectrum in enumerate(values, len(found) + 1):
            title = name if name and len(values) == 1 else f"{name or 'reference'} {number}"
            found.append(Standard(title, spectrum, own))
    names = [standard.name for standard in found]
    for number, standard in enumerate(found, 1):
        standard.check(axis, *found)
        if names.count(standard.name) > 1:
            standard.name = f"{standard.name} ({number})"
    return found


def _items(references: Any) -> Sequence[Any]:
    if is_signal(references) or isinstance(references, str | Path | np.ndarray):
        return [references]
    items = list(references)
    plain = items and not any(is_signal(item) or isinstance(item, str | Path) for item in items)
    return [np.asarray(items, dtype=np.float64)] if plain else items


def _spectra(item: Any, axis: Axis) -> tuple[np.ndarray, Axis, str]:
    """Return the spectra (k, channels) of one item, their axis and their name."""
    if isinstance(item, str | Path):
        values, own, _ = _spectra(open_spectrum(Path(item)), axis)
        return values, own, Path(item).stem
    values = np.asarray(unwrap(item), dtype=np.float64)
    values = np.atleast_2d(values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values)
    own = Axis.of(item)
    name = str(item.metadata.get_item("General.title", default="") or "") if is_signal(item) else ""
    if not own.calibrated or not axis.calibrated:
        own = axis
    refuse_if(
        values.shape[1] != len(own.energy),
        f"known spectra have {values.shape[1]} channels and the data {len(axis.energy)}; give both with an energy "
        "axis, or spectra on the axis of the data",
        parameter="reference",
    )
    return values, own, name


def kernel(low_loss: Any, axis: Axis) -> tuple[np.ndarray, int]:
    """Return the low loss at multiples of the data's step, of unit sum, and the place of its zero loss.

    Its largest channel is taken for the zero loss; an image of low losses is averaged.

    Raises
    ------
    ValueError
        If the data's axis is not evenly spaced and rising, or the low loss has no intensity.
    """
    axis.check_even("a low loss cannot be convolved")
    refuse_if(
        len(axis.energy) < 2 or axis.energy[0] > axis.energy[-1],
        "a low loss can only be convolved on a rising energy axis; turn the data round, or leave low_loss out",
    )
    signal = open_spectrum(Path(low_loss)) if isinstance(low_loss, str | Path) else low_loss
    values = np.asarray(unwrap(signal), dtype=np.float64)
    values = values.reshape(-1, values.shape[-1]).mean(axis=0)
    own = Axis.of(signal)
    if not (own.calibrated and axis.calibrated):
        own = Axis(np.arange(len(values)) * axis.step, axis.units)
    elif own.units != axis.units:
        raise EndmemberError(
            f"the low loss is in {own.units} and the data are in {axis.units}; convert its axis first"
        )
    refuse_if(
        not (np.isfinite(values).all() and values.sum() > 0),
        "the low loss has NaN or no intensity; give the spectrum around zero loss",
    )
    zero, span = own.energy[np.argmax(values)], 1e-6 + 1.0
    before = int((zero - own.energy.min()) / axis.step * span)
    after = int((own.energy.max() - zero) / axis.step * span)
    places = zero + axis.step * np.arange(-before, after + 1)
    sampled = Standard("the low loss", values, own).at(places, axis.step)
    return sampled / sampled.sum(), before


def column(
    standard: Standard,
    axis: Axis,
    low_loss: tuple[np.ndarray, int] | None,
    shift: float,
    width: float = 0.0,
    gain: float = 0.0,
) -> np.ndarray:
    r"""Return a reference on the axis, stretched, moved up, broadened and scattered.

    :math:`\sum_e R(c + (E - e - s - c) / (1 + g))\,(G_w * L)(e)` with c the middle of the axis and G a Gaussian of
    full width w at half maximum.
    """
    centre, scale = (axis.energy[0] + axis.energy[-1]) / 2, 1.0 + gain
    wider, (weights, before) = axis.energy, low_loss or (np.ones(1), 0)
    if width:
        reach = int(np.ceil(2 * width / axis.step))
        edges = (np.arange(-reach, reach + 2) - 0.5) * axis.step * FWHM / width
        weights, before = np.convolve(weights, np.diff(ndtr(edges))), before + reach
    if len(weights) > 1:
        after = len(weights) - 1 - before
        step = (axis.energy[-1] - axis.energy[0]) / (len(axis.energy) - 1)
        wider = axis.energy[0] + step * np.arange(-after, len(axis.energy) + before)
    found = standard.at(centre + (wider - shift - centre) / scale, axis.step / scale)
    return convolve(found, weights, mode="valid") if len(weights) > 1 else found


def background(kind: Any, axis: Axis) -> tuple[np.ndarray, list[str]]:
    """Return the background as columns (channels, b), and their names.

    Raises
    ------
    ValueError
        If it is not known, or a power law is asked for at energies that are not positive.
    """
    energy, m = axis.energy, len(axis.energy)
    if kind is None:
        return np.empty((m, 0)), []
    if not isinstance(kind, str):
        found = standards(kind, axis)
        names = [f"background {number}" for number in range(1, len(found) + 1)]
        return np.column_stack([one.at(energy, axis.step) for one in found]), names
    kind = kind.replace("-", "_")
    refuse_if(
        kind not in BACKGROUNDS,
        Argument.of("background", kind),
        f" is not known; allowed: {', '.join(BACKGROUNDS).replace('_', '-')}, spectra, or None",
    )
    if kind == "constant":
        return np.ones((m, 1)), ["constant background"]
    if kind == "linear":
        rise = (energy - energy.min()) / (np.ptp(energy) or 1.0)
        return np.stack([1.0 - rise, rise], axis=1), ["falling background", "rising background"]
    refuse_if(
        not (axis.calibrated and energy.min() > 0),
        "a power-law background needs a signal whose energies are above zero; crop it, or give an array of "
        "background spectra",
    )
    laws = PowerLaws(energy, EXPONENTS).dictionary()
    return laws / laws.max(axis=0), [f"background E^-{r:g}" for r in EXPONENTS]
