"""Shift and stretch of every energy axis, by fitting all spectra with their mean and what moving it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
#: Yields ``(rows, spectra)`` of pixel after pixel, (pixels, channels).
Blocks = Callable[[], Iterator[tuple[slice, Floats]]]

#: Rounds in which the reference is made anew from what is aligned so far.
_ROUNDS = 12
#: Shifts and stretches that move the ends by less, root mean square in channels, have settled.
_SETTLED = 0.002
#: Largest step of one round, in channels.
_STEP = 1.0


def refined(
    blocks: Blocks,
    read: Callable[[Floats, Floats, Floats], Floats],
    fade: Floats,
    shifts: Floats,
    middle: float,
    reach: float,
) -> tuple[Floats, Floats]:
    r"""Return shifts and stretches of all pixels, from shifts that are about right.

    .. math:: x_i(j + \delta_i + \gamma_i (j - j_0)) \approx a_i \bar y_j + b_i + c_i j

    with the mean :math:`\bar y` of all spectra read so. Gauss-Newton: what is left is fitted with :math:`\bar y`, a
    line, :math:`\bar y'` and :math:`(j - j_0)\,\bar y'`.

    Parameters
    ----------
    blocks : callable
        Yields ``(rows, spectra)``, (pixels, m).
    read : callable
        ``read(spectra, shifts, stretches)`` at the moved channels.
    fade : ndarray, (m,)
        How much each channel counts.
    shifts : ndarray, (n,)
        In channels.
    middle : float
        :math:`j_0`, the channel about which axes are stretched.
    reach : float
        Largest shift of any channel that counts, from the median pixel.

    Returns
    -------
    ndarray, (n,)
        Shifts at the middle, in channels; 0 at the median pixel.
    ndarray, (n,)
        Stretches; 0 at the median pixel.
    """
    inside = np.flatnonzero(fade)
    places = inside - middle
    half = float(np.abs(places).max())
    moves = np.stack([shifts, np.zeros(len(shifts))], axis=1)  # of the middle, and of an end
    filled = np.zeros(len(shifts), bool)
    for _ in range(_ROUNDS):
        reference = np.zeros(len(fade))
        for rows, block in blocks():
            filled[rows] = block.any(axis=1)
            reference += read(block, moves[rows, 0], moves[rows, 1] / half).sum(axis=0)
        fit = _fit_of(reference, inside, places / half, fade[inside])
        found = moves.copy()
        for rows, block in blocks():
            spectra = read(block, moves[rows, 0], moves[rows, 1] / half)[:, inside]
            found[rows] -= np.clip(_steps(spectra, fit), -_STEP, _STEP)
        found = _settled_on(found, filled, reach)
        left = np.sqrt(np.mean((found - moves) ** 2))
        moves = found
        if left < _SETTLED:
            break
    return moves[:, 0], moves[:, 1] / half


def _fit_of(reference: Floats, inside: NDArray[np.integer], u: Floats, weight: Floats) -> Floats:
    """Return the matrix (m, 4) that gives the part of reference, line, slope and drawn-out slope in a spectrum."""
    slope = np.gradient(reference)[inside]
    columns = [reference[inside], np.ones(len(u)), u, slope, u * slope]
    parts = np.column_stack(columns)
    size = np.linalg.norm(parts, axis=0)
    size[size == 0] = 1.0
    inverse = np.linalg.pinv(weight[:, None] * parts / size) * weight
    return (inverse / size[:, None])[[0, 3, 4]].T


def _steps(spectra: Floats, fit: Floats) -> Floats:
    """Return by how much the middle and an end of every spectrum still lie too low, (pixels, 2)."""
    found = spectra @ fit
    amount = found[:, :1]
    return np.divide(found[:, 1:], amount, out=np.zeros_like(found[:, 1:]), where=amount > 0)


def _settled_on(moves: Floats, filled: NDArray[np.bool_], reach: float) -> Floats:
    """Return moves from the median pixel, within reach; none at empty pixels."""
    if filled.any():
        moves = moves - np.median(moves[filled], axis=0)
    largest = np.abs(moves).sum(axis=1, keepdims=True)
    moves = moves * np.minimum(1.0, reach / np.maximum(largest, reach))
    return np.where(filled[:, None], moves, 0.0)
