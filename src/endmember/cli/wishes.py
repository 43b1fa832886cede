"""What the user knows, from the options of the command line to penalties."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Solvers by the names that the command line knows.
SOLVERS = ("ADMM", "ALS", "ANLS", "HALS", "MALS", "MultiplicativeUpdate", "Newton")


def penalties(
    image: Any,
    *,
    sparse: float | None,
    smooth: float | None,
    soft_orthogonal: float | None,
    relevance: bool,
    closure: bool,
    known: Sequence[str],
    minimum_volume: float | None,
) -> dict[str, Any]:
    """Return the penalties on maps and spectra as keywords of a model; those not asked for are left out.

    Parameters
    ----------
    image : hyperspy.api.signals.BaseSignal
        What will be unmixed.
    sparse, smooth, soft_orthogonal : float, optional
        Weights on the maps.
    relevance : bool
        Whether superfluous components are dropped.
    closure : bool
        Whether maps sum to one.
    known : sequence of str
        ``N=FILE``: the spectrum of component N, counted from 1.
    minimum_volume : float, optional
        Weight on the spectra; the maps then sum to one, without which it means nothing.
    """
    import endmember as em

    maps: list[Any] = []
    if sparse is not None:
        maps.append(em.Sparse(sparse))
    if smooth is not None:
        maps.append(em.Smooth(smooth))
    if soft_orthogonal is not None:
        maps.append(em.SoftOrthogonal(soft_orthogonal))
    if relevance:
        maps.append(em.Relevance())
    if closure or minimum_volume is not None:
        maps.append(em.SumToOne())
    spectra: list[Any] = []
    if known:
        spectra.append(em.Known(dict(_reference(text, image) for text in known)))
    if minimum_volume is not None:
        spectra.append(em.MinimumVolume(minimum_volume))
    return {name: wishes for name, wishes in (("maps", maps), ("spectra", spectra)) if wishes}


def solver(name: str | None) -> Any:
    """Return the solver of that name, in any case; None for none."""
    if name is None:
        return None
    import endmember as em

    found = [known for known in SOLVERS if known.lower() == name.lower()]
    if not found:
        raise ValueError(f"--solver {name} is not known; allowed: {', '.join(SOLVERS).lower()}")
    return getattr(em, found[0])()


def _reference(text: str, image: Any) -> tuple[int, Any]:
    """Read ``N=FILE`` and bring its spectrum on the energy axis of the image."""
    number, _, path = text.partition("=")
    if not number.strip().isdigit() or int(number) < 1 or not path:
        raise ValueError(
            f"--known {text!r} is not N=FILE, such as --known 1=oxide.msa with 1 the first component"
        )
    return int(number) - 1, read_reference(Path(path), image)


def read_reference(path: Path, image: Any) -> Any:
    """Return the single spectrum of a file at the energies of an image, (channels,).

    Raises
    ------
    ValueError
        If the file holds no single spectrum, in another unit, or one that leaves channels uncovered.
    """
    import numpy as np

    from endmember.signals.reading import read

    found = [
        one
        for one in read(path)
        if one.axes_manager.navigation_size <= 1 and one.axes_manager.signal_dimension == 1
    ]
    if len(found) != 1:
        raise ValueError(
            f"{path} holds {len(found)} single spectra and a reference is one; give a file with just that"
        )
    (own,), (axis,) = found[0].axes_manager.signal_axes, image.axes_manager.signal_axes
    if str(own.units) != str(axis.units):
        raise ValueError(
            f"{path} is in {own.units} and the data are in {axis.units}; convert its axis first"
        )
    slack = abs(axis.axis[1] - axis.axis[0])
    if own.axis.min() > axis.axis.min() + slack or own.axis.max() < axis.axis.max() - slack:
        raise ValueError(
            f"{path} runs from {own.axis.min():g} to {own.axis.max():g} {own.units} and does not cover the data, "
            f"{axis.axis.min():g} to {axis.axis.max():g}; crop the data with --crop"
        )
    values = np.asarray(found[0].data, dtype=float).ravel()
    order = np.argsort(own.axis)
    return np.interp(axis.axis, own.axis[order], values[order])
