"""Angles between spectra, and which component of one answer is which of another."""

from __future__ import annotations

import numpy as np


def spectral_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray | float:
    r"""Angle between spectra in degrees, :math:`\arccos(a\cdot b / \|a\|\|b\|)`; scale plays no part.

    Parameters
    ----------
    a, b : array_like, (..., channels)
        Spectra along the last axis; leading axes broadcast. Channels that are NaN in either are
        left out.

    Returns
    -------
    float or ndarray, (...)
        0° = same shape, 90° = nothing in common (or an empty spectrum).

    Examples
    --------
    >>> float(spectral_angle([1, 0], [1, 1]))
    45.0
    """
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    left_out = np.isnan(a) | np.isnan(b)
    a, b = _unit(np.where(left_out, 0.0, a)), _unit(np.where(left_out, 0.0, b))
    # The half-angle form keeps full accuracy at small angles, where arccos loses half the digits.
    apart, along = np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1)
    angle = np.degrees(2.0 * np.arctan2(apart, along))
    empty = ~a.any(axis=-1) | ~b.any(axis=-1)
    return np.where(empty, 90.0, angle)[()]


def _unit(a: np.ndarray) -> np.ndarray:
    largest = np.max(np.abs(a), axis=-1, keepdims=True, initial=0.0)
    a = a / np.where(largest > 0, largest, 1.0)
    norm = np.linalg.norm(a, axis=-1, keepdims=True)
    return a / np.where(norm > 0, norm, 1.0)


def match_components(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Order of ``found`` that pairs its spectra with ``true`` at the smallest sum of angles.

    The assignment problem is solved exactly by the Hungarian method (Kuhn, Naval Res. Logist. 2
    (1955) 83).

    Parameters
    ----------
    found : array_like, (k_found, channels)
        Spectra to put in order.
    true : array_like, (k_true, channels)
        Spectra that give the order; at most as many as in ``found``.

    Returns
    -------
    ndarray of int, (k_true,)
        ``found[order]`` stands in the order of ``true``.

    Raises
    ------
    ValueError
        If ``true`` holds more spectra than ``found``, or the channels differ.

    Examples
    --------
    >>> match_components(np.eye(3)[[2, 0, 1]], np.eye(3))
    array([1, 2, 0])
    """
    from scipy.optimize import linear_sum_assignment

    found, true = np.atleast_2d(found), np.atleast_2d(true)
    if found.shape[-1] != true.shape[-1] or len(true) > len(found):
        raise ValueError(
            f"cannot give each of the {true.shape} true spectra one of the {found.shape} found: "
            "the channels must "
            "agree, and true may not hold more spectra than found"
        )
    angles = spectral_angle(true[:, None, :], found[None, :, :])
    return linear_sum_assignment(angles)[1]
