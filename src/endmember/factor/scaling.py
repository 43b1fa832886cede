"""The one freedom that every product of factors has: which factor carries the scale (article eq. 10)."""

from __future__ import annotations

from typing import Any

import numpy as np

_NORMS = {
    "l1": lambda F: np.nansum(np.abs(F), axis=0),
    "l2": lambda F: np.sqrt(np.nansum(F**2, axis=0)),
    "max": lambda F: np.nanmax(np.abs(F), axis=0, initial=0.0),
}
_ALLOWED = 'None or (which, norm) with which "spectra" or "maps" and norm "l1", "l2", "max" or ("area", (start, stop))'


def check_normalise(normalise: Any) -> None:
    """Refuse anything that :func:`rescale` does not know.

    Raises
    ------
    ValueError
        With all that is allowed.
    """
    if normalise is None:
        return
    try:
        which, norm = normalise
        known = which in ("spectra", "maps") and (
            norm in _NORMS if isinstance(norm, str) else _is_area(norm)
        )
    except (TypeError, ValueError):
        known = False
    if not known or (which == "maps" and not isinstance(norm, str)):
        raise ValueError(
            f"normalise={normalise!r} is not known; allowed: {_ALLOWED} (an area is of spectra "
            "only)"
        )


def _is_area(norm: Any) -> bool:
    name, (start, stop) = norm
    return name == "area" and start < stop


def rescale(
    C: np.ndarray,
    S: np.ndarray,
    normalise: Any,
    energy: np.ndarray,
    held: np.ndarray | bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Give the columns of one factor unit norm and their scale to the other; ``C Sᵀ`` stays.

    The area of a spectrum over a window is :math:`\sum_{a \le E_j < b} s_j\,\Delta E_j`, in the
    unit of the energy axis. Columns that are zero, or whose area is not positive, stay as they
    are.

    Parameters
    ----------
    C : ndarray, (n, k)
        Maps.
    S : ndarray, (m, k)
        Spectra.
    normalise : None or tuple
        See ``em.NMF``.
    energy : ndarray, (m,)
        The energy of every channel.
    held : ndarray of bool, (k,), optional
        Components whose scale a constraint has fixed: they stay as they are.
    """
    if normalise is None:
        return C, S
    which, norm = normalise
    if isinstance(norm, str):
        size = _NORMS[norm](S if which == "spectra" else C)
    else:
        size = area(S, energy, norm[1])
    size = np.where((size > 0) & ~np.asarray(held), size, 1.0)
    return (C * size, S / size) if which == "spectra" else (C / size, S * size)


def area(S: np.ndarray, energy: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Return the area of every spectrum (m, k) over an energy window ``(start, stop)``, or over all of it; (k,).

    Raises
    ------
    ValueError
        If no channel lies in the window.
    """
    inside = np.ones(len(energy), bool)
    if window is not None:
        inside = (energy >= window[0]) & (energy < window[1])
        if not inside.any():
            raise ValueError(
                f"no channel lies in the window {window}; the axis runs from {energy.min():g} to "
                f"{energy.max():g}"
            )
    width = np.abs(np.gradient(energy)) if len(energy) > 1 else np.ones(1)
    return np.nansum(S[inside] * width[inside, None], axis=0)
