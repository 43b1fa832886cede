"""The phantom itself: noisy data with the exact maps and spectra that it was made from.

Also here, because every phantom needs them: the checks of what a caller may ask for, the product
of maps and spectra, and counting noise.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse

from endmember.errors import EndmemberError, refuse_if

from .shapes import Bremsstrahlung, PowerLaw, Shape, evaluate, evaluate_all

#: The parts of every spectrum by the name of its component.
Spectra = Mapping[str, Sequence[Shape]]
#: Name and unit of the energy axis of each type of signal.
_AXES = {"EELS": ("Energy loss", "eV"), "EDS_TEM": ("Energy", "keV")}


@dataclass(frozen=True, eq=False, repr=False)
class Phantom:
    """A spectrum image of known truth.

    Attributes
    ----------
    title : str
        What the phantom shows; becomes the title of `signal`.
    data : ndarray (ny, nx, channels) or scipy.sparse.csr_array (ny * nx, channels)
        The noisy data.
    maps : ndarray (ny, nx, k)
        True maps, without unit.
    spectra : ndarray (k, channels)
        True spectra, in the unit of `data`.
    energy : ndarray (channels,)
        Energy of each channel, uniformly spaced: eV for EELS, keV for EDXS.
    names : tuple of str
        One name for each component.
    background : ndarray (k, channels)
        The part of `spectra` that is background (power law or bremsstrahlung), zero where there
        is none: ``spectra - background`` are the net edges or lines.
    drift : ndarray (ny, nx)
        Energy shift of each pixel in channels, positive = moved to higher energy.
    stretch : ndarray (ny, nx), optional
        By how much, of itself, the axis of each pixel is drawn out about its middle; None for not at all.
    detector : {"EELS", "EDS_TEM"}
        The signal type of `signal`.
    pixel_size : float
        Distance between pixels in nm.
    drifted : ndarray (ny, nx, channels), optional
        What `clean` returns where the energy axis drifts.

    Examples
    --------
    >>> from endmember import synthetic
    >>> synthetic.diode()
    Phantom('Silicon diode': 48 x 48 pixels, 160 channels; Si, SiO2, Si3N4)
    """

    title: str
    data: Any
    maps: np.ndarray
    spectra: np.ndarray
    energy: np.ndarray
    names: tuple[str, ...]
    background: np.ndarray
    drift: np.ndarray
    detector: str = "EELS"
    pixel_size: float = 1.0
    drifted: np.ndarray | None = None
    stretch: np.ndarray | None = None

    def __repr__(self) -> str:
        ny, nx, _ = self.maps.shape
        return (
            f"Phantom({self.title!r}: {ny} x {nx} pixels, {self.energy.size} channels; "
            f"{', '.join(self.names)})"
        )

    @cached_property
    def clean(self) -> np.ndarray:
        """The data without noise, (ny, nx, channels).

        ``maps @ spectra``; where the energy axis drifts, each pixel's spectrum is moved by its
        `drift` and drawn out by its `stretch`, while `maps` and `spectra` stay the truth on the undrifted axis.
        """
        return multiply(self.maps, self.spectra) if self.drifted is None else self.drifted

    @cached_property
    def signal(self) -> Any:
        """The noisy data as HyperSpy's EELSSpectrum or EDSTEMSpectrum, built on first access.

        The navigation axes x and y are in nm, the energy axis is in eV (EELS) or keV (EDXS).
        """
        with warnings.catch_warnings(action="ignore"):  # names that eXSpy and HyperSpy will change
            import exspy.signals

        kind = {"EELS": exspy.signals.EELSSpectrum, "EDS_TEM": exspy.signals.EDSTEMSpectrum}
        dense = self.data.toarray() if sparse.issparse(self.data) else self.data.copy()
        across = {"scale": self.pixel_size, "units": "nm", "navigate": True}
        name, unit = _AXES[self.detector]
        step = float(self.energy[-1] - self.energy[0]) / (self.energy.size - 1)
        along = {"offset": float(self.energy[0]), "scale": step, "units": unit, "navigate": False}
        ny, nx, _ = self.maps.shape
        return kind[self.detector](
            dense.reshape(ny, nx, -1),
            axes=[
                {"name": "y", "size": ny, **across},
                {"name": "x", "size": nx, **across},
                {"name": name, "size": self.energy.size, **along},
            ],
            metadata={
                "General": {"title": self.title},
                "Signal": {"signal_type": self.detector, "quantity": "Intensity (Counts)"},
                "Acquisition_instrument": {"TEM": {"beam_energy": 200.0}},
            },
        )  # fmt: skip


def multiply(maps: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Return ``maps @ spectra``: (..., k) and (k, channels) give (..., channels)."""
    return np.einsum("...k,kc->...c", maps, spectra)


def count(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw Poisson counts in the smallest unsigned integers that hold them."""
    counts = rng.poisson(expected)
    return counts.astype(np.min_scalar_type(counts.max()))


def counted(
    title: str,
    maps: np.ndarray,
    spectra: Spectra,
    window: tuple[float, float, int],
    dose: float,
    rng: np.random.Generator,
    *,
    thin: bool = False,
    whole: bool = False,
    drift: np.ndarray | None = None,
    stretch: np.ndarray | None = None,
    **more: Any,
) -> Phantom:
    """Make a phantom of Poisson counts whose brightest voxel expects `dose` of them; with `thin` as CSR.

    With `whole`, `dose` is what a whole spectrum expects, on the average over the image. `window` is start, width and
    channels of the energy axis.
    """
    check_amounts(zero=False, dose=dose)
    energy = energy_axis(*window)
    truth, background = truth_of(spectra, energy)
    drift, drifted = np.zeros(maps.shape[:2]) if drift is None else drift, None
    if drift.any() or stretch is not None:
        drifted = _multiply_drifted(maps, spectra, energy, drift, stretch)
    expected = (multiply(row, truth) for row in maps) if drifted is None else drifted
    brightness = [row.sum(-1).mean() if whole else row.max() for row in expected]
    scale = dose / (np.mean(brightness) if whole else max(brightness))
    truth *= scale
    drifted = None if drifted is None else scale * drifted
    if thin:
        rows = [sparse.csr_array(count(multiply(row, truth), rng)) for row in maps]
        data = sparse.csr_array(sparse.vstack(rows, format="csr"))
    else:
        data = count(multiply(maps, truth) if drifted is None else drifted, rng)
    return Phantom(
        title=title, data=data, maps=maps, spectra=truth, energy=energy, names=tuple(spectra),
        background=scale * background, drift=drift, drifted=drifted, stretch=stretch, **more,
    )  # fmt: skip


def truth_of(spectra: Spectra, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra and their backgrounds at some energies, (k, channels) each."""
    continua = [
        [part for part in parts if isinstance(part, PowerLaw | Bremsstrahlung)]
        for parts in spectra.values()
    ]
    return evaluate_all(spectra.values(), energy), evaluate_all(continua, energy)


def _multiply_drifted(
    maps: np.ndarray,
    spectra: Spectra,
    energy: np.ndarray,
    shifts: np.ndarray,
    stretch: np.ndarray | None,
) -> np.ndarray:
    """Return ``maps @ spectra`` with each pixel's spectra moved up by `shifts` channels and drawn out by `stretch`."""
    step, middle = energy[1] - energy[0], (energy[0] + energy[-1]) / 2
    drawn = np.zeros(shifts.shape) if stretch is None else stretch
    product = np.empty((*shifts.shape, energy.size))
    for row, weights, shift, by in zip(product, maps, shifts, drawn, strict=True):
        moved = energy - step * shift[:, None]
        if by.any():
            moved = middle + (moved - middle) / (1 + by[:, None])
        parts = zip(np.moveaxis(weights, -1, 0), spectra.values(), strict=True)
        row[:] = sum(weight[:, None] * evaluate(shapes, moved) for weight, shapes in parts)
    return product


def energy_axis(start: float, width: float, channels: int) -> np.ndarray:
    """Divide a window of given start and width into channels; (channels,)."""
    return start + width / channels * np.arange(channels)


def begin(
    shape: Sequence[int],
    channels: int,
    seed: int,
    n_streams: int = 3,
    *,
    least: int = 2,
    rows: int = 1,
    pixels: int = 1,
) -> tuple[tuple[int, int], list[np.random.Generator]]:
    """Check what every phantom is asked for; return (ny, nx) and the generators of its parts.

    There must be at least `least` channels, `rows` rows and `pixels` pixels.
    """
    try:
        ny, nx = shape
        check_whole("ny", ny, rows)
        check_whole("nx", nx, 1)
        check_whole("pixels", ny * nx, pixels)
    except (TypeError, ValueError):
        raise EndmemberError(
            f"shape={shape!r} is not allowed; it must be two whole numbers (ny, nx) of at least "
            f"({rows}, 1), with {max(rows, pixels)} or more pixels in all: try shape=(48, 48)."
        ) from None
    check_whole("channels", channels, least)
    return (int(ny), int(nx)), streams(seed, n_streams)


def check_whole(name: str, value: Any, smallest: int, largest: int | None = None) -> None:
    """Refuse anything but a whole number from `smallest` to `largest`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and value >= smallest and (largest is None or value <= largest):
        return
    allowed = f"of at least {smallest}" if largest is None else f"from {smallest} to {largest}"
    raise EndmemberError(
        f"{name}={value!r} is not allowed; it must be a whole number {allowed}: "
        f"try {name}={smallest}."
    )


def check_amounts(*, zero: bool = True, **amounts: Any) -> None:
    """Refuse anything but finite numbers that are positive, or zero where that is allowed."""
    for name, value in amounts.items():
        number = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
        refuse_if(
            not number or value < 0 or (value == 0 and not zero),
            f"{name}={value!r} is not allowed; it must be a finite number "
            f"{'not below zero' if zero else 'above zero'}: try the default by leaving {name} out.",
        )


def streams(seed: int, n: int) -> list[np.random.Generator]:
    """Return independent generators, so that e.g. another dose leaves the maps as they are."""
    check_whole("seed", seed, 0)
    return np.random.default_rng(seed).spawn(n)
