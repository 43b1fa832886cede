"""The one freedom that every product of factors has: which factor carries the scale (article eq. 10)."""

from numbers import Real
from typing import Any

import numpy as np

from endmember.errors import EndmemberError

#: Norms that have a name of their own, and their p.
_NAMED = {"l1": 1.0, "l2": 2.0, "max": np.inf}
_IN_WORDS = {"l1": "unit sum", "l2": "unit length", "max": "unit maximum", 0: "a norm that counts"}
_ALLOWED = (
    'None or (which, norm) with which "spectra" or "maps" and norm "l1", "l2", "max", the p of an '
    'l_p norm from 0 on or, for spectra alone, ("area", (start, stop))'
)


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
        if isinstance(norm, str | Real):
            known = which in ("spectra", "maps") and _exponent(norm) >= 0
        else:
            name, (start, stop) = norm
            known = which == "spectra" and name == "area" and start < stop
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise EndmemberError(f"normalise={normalise!r} is not known; allowed: {_ALLOWED}")


def rescale(
    C: np.ndarray,
    S: np.ndarray,
    normalise: Any,
    energy: np.ndarray,
    fixed: np.ndarray | bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Divide the columns of one factor by their norm and give it to the other; ``C Sᵀ`` stays.

    The norm is :math:`(\sum_i |f_i|^p)^{1/p}`; with p = 0 the number of entries that are not zero, which no
    scale changes: columns then have the scale of the fit over that number. The area of a spectrum over a window is
    :math:`\sum_{a \le E_j < b} s_j\,\Delta E_j`, in the unit of the energy axis. Columns that are zero, or whose
    norm is not positive or beyond what a number holds, stay as they are.

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
    fixed : ndarray of bool, (k,), optional
        Components whose scale a constraint has fixed: they stay as they are.
    """
    if normalise is None:
        return C, S
    which, norm = normalise
    size = _size(S if which == "spectra" else C, norm, energy)
    size = np.where((size > 0) & np.isfinite(size) & ~np.asarray(fixed), size, 1.0)
    return (C * size, S / size) if which == "spectra" else (C / size, S * size)


def unit_in_words(normalise: Any) -> str:
    """Return what the numbers of spectra are after :func:`rescale`.

    Examples
    --------
    >>> unit_in_words(("spectra", "l2")), unit_in_words(("spectra", ("area", (450, 470))))
    ('unit length', 'unit area over 450:470')
    """
    if normalise is None:
        return "scale of the fit"
    which, norm = normalise
    if not isinstance(norm, str | Real):
        return f"unit area over {norm[1][0]:g}:{norm[1][1]:g}"
    words = _IN_WORDS.get(norm, f"unit norm of p = {norm}")
    return words if which == "spectra" else f"for maps of {words}"


def gradient_of_norm(S: np.ndarray, normalise: Any, energy: np.ndarray) -> np.ndarray:
    """Return along which direction the norm holds every spectrum: its gradient, up to a factor, (m, k).

    What speaks of maps, or counts entries, holds no spectrum: the direction is then that of unit length.
    """
    which, norm = normalise or ("spectra", "l2")
    if not isinstance(norm, str | Real):
        return np.repeat(_widths(energy, norm[1])[:, None], S.shape[1], axis=1)
    p = (_exponent(norm) if which == "spectra" else 0.0) or 2.0
    relative = np.abs(S) / np.abs(S).max(axis=0)
    if np.isinf(p):
        return np.sign(S) * (relative == 1)
    return np.sign(S) * np.where(relative > 0, relative, np.inf if p < 1 else 0.0) ** (p - 1)


def area(S: np.ndarray, energy: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Return the area of every spectrum (m, k) over an energy window ``(start, stop)``, or over all of it; (k,).

    Raises
    ------
    ValueError
        If the window is no pair of numbers, or no channel lies in it.
    """
    return np.nansum(S * _widths(energy, window)[:, None], axis=0)


def _exponent(norm: Any) -> float:
    """Return the p of a norm, from its name or its number."""
    return float(norm) if isinstance(norm, Real) and not isinstance(norm, bool) else _NAMED[norm]


def _size(F: np.ndarray, norm: Any, energy: np.ndarray) -> np.ndarray:
    """Return the norm of every column of ``F`` (m, k), (k,)."""
    if not isinstance(norm, str | Real):
        return area(F, energy, norm[1])
    p, largest = _exponent(norm), np.abs(F).max(axis=0, initial=0.0)
    within = np.linalg.norm(F / np.where(largest > 0, largest, 1.0), p, axis=0)
    return within * largest if p else within


def _widths(energy: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Return how much energy every channel of a window stands for, 0 outside; (m,)."""
    width = np.abs(np.gradient(energy)) if len(energy) > 1 else np.ones(1)
    if window is None:
        return width
    if np.shape(window) != (2,) or np.asarray(window).dtype.kind not in "iuf":
        raise EndmemberError(f"window={window!r} is no window; window must be (start, stop)")
    inside = (energy >= window[0]) & (energy < window[1])
    if not inside.any():
        raise EndmemberError(
            f"no channel lies in the window {window}; the axis runs from {energy.min():g} to "
            f"{energy.max():g}"
        )
    return width * inside
