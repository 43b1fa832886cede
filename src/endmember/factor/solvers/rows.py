"""Bounded least squares row by row, compiled by numba when first used.

Each row's entries are free or at a bound. The free ones are solved for with the Cholesky factor of their Gram matrix,
which rows share that have the same entries free; every entry that breaks a bound, and every bound whose multiplier
has the wrong sign, changes side; where that stops helping, only the last one does (Murty's rule). Rows do not
interact: the bits of an answer depend neither on threads nor on how rows are shared among them.
"""

from functools import cache
from typing import Any

import numpy as np

from endmember.factor.compiled import compiled

#: Cholesky factors that are kept, a power of two.
KEPT = 256
#: Above this many entries a pattern of free ones has no number, and no factor is kept.
NUMBERED = 62
#: Exchanges of several entries that need not help before only one entry changes side.
PATIENCE = 3


@cache
def loops() -> dict[str, Any]:
    """Return the compiled functions of this module by name."""
    from numba import types

    number, whole = types.float64, types.int64
    given, some = types.Array(number, 2, "A", readonly=True), types.Array(number, 1, "C")
    sides, square = types.Array(types.int8, 1, "C"), types.Array(number, 2, "C")
    matrix = types.Array(number, 2, "A", readonly=True)
    return compiled(
        globals(),
        {
            factored: types.void(matrix, sides, square),
            stationary: types.void(matrix, square, sides, some, some, some),
            exchanged: whole(
                matrix, sides, some, some, some, some, number, number, types.boolean
            ),
            solve_rows: types.void(
                types.Array(number, 3, "A", readonly=True), given, given, given, given, square,
                types.Array(types.boolean, 1, "C"), number, number, whole, whole,
            ),
        },
    )  # fmt: skip


def solve_rows(
    G: np.ndarray, H: np.ndarray, lower: np.ndarray, upper: np.ndarray, F: np.ndarray,
    solved: np.ndarray, left: np.ndarray, tolerance_x: float, tolerance_y: float,
    first: int, last: int,
) -> None:  # fmt: skip
    """Put the minimiser of each of the rows ``first:last`` into ``solved`` (n, k).

    Parameters
    ----------
    G : ndarray, (1 or n, k, k)
        Symmetric, positive definite.
    H, lower, upper : ndarray, (n, k)
    F : ndarray, (n, k)
        It only says which entries to try free first.
    solved : ndarray, (n, k)
    left : ndarray of bool, (n,)
        Becomes True where pivoting did not come to an end.
    tolerance_x, tolerance_y : float
        By how much an entry may break its bound and a multiplier have the wrong sign.
    first, last : int
    """
    k = H.shape[1]
    shared = len(G) == 1 and k <= NUMBERED
    keys, factors = np.full(KEPT, -1), np.empty((KEPT if shared else 1, k, k))
    side, x, h = np.empty(k, np.int8), np.empty(k), np.empty(k)
    low, high, work = np.empty(k), np.empty(k), np.empty(k)
    for i in range(first, last):
        gram = G[0 if len(G) == 1 else i]
        for c in range(k):
            h[c], low[c], high[c], side[c] = H[i, c], lower[i, c], upper[i, c], 0
            if low[c] == high[c] or (F[i, c] <= low[c] and low[c] > -np.inf):
                side[c] = -1
            elif F[i, c] >= high[c] and high[c] < np.inf:
                side[c] = 1
        fewest, tries, left[i] = k + 1, PATIENCE, True
        for _ in range(5 * k + 4):
            key = slot = 0
            if shared:
                for c in range(k):
                    key |= (side[c] == 0) << c
                slot = (key ^ (key >> 8)) & (KEPT - 1)
            if not shared or keys[slot] != key:
                keys[slot] = key
                factored(gram, side, factors[slot])
            for c in range(k):
                x[c] = low[c] if side[c] < 0 else high[c] if side[c] > 0 else 0.0
            stationary(gram, factors[slot], side, h, x, work)
            wrong = exchanged(gram, side, h, x, low, high, tolerance_x, tolerance_y, tries < 0)
            if wrong == 0:
                left[i] = False
                break
            tries = PATIENCE if wrong < fewest else tries - 1
            fewest = min(fewest, wrong)
        for c in range(k):
            solved[i, c] = min(max(x[c], low[c]), high[c])


def factored(G: np.ndarray, side: np.ndarray, L: np.ndarray) -> None:
    """Fill ``L`` (k, k) with the Cholesky factor of ``G`` among the free entries, its diagonal inverted."""
    for a in range(len(side)):
        if side[a] == 0:
            rest = G[a, a]
            for b in range(a):
                if side[b] == 0:
                    total = G[a, b]
                    for c in range(b):
                        total -= L[a, c] * L[b, c]
                    L[a, b] = total * L[b, b]
                    rest -= L[a, b] ** 2
                else:
                    L[a, b] = 0.0
            L[a, a] = 1.0 / np.sqrt(rest)
        else:
            L[a, : a + 1] = 0.0


def stationary(
    G: np.ndarray, L: np.ndarray, side: np.ndarray, h: np.ndarray, x: np.ndarray, work: np.ndarray
) -> None:
    """Fill the free entries of ``x`` (k,) with their best values, the others as they are."""
    k = len(side)
    moved = False
    for c in range(k):
        moved |= x[c] != 0.0
    for a in range(k):
        if side[a] == 0:
            total = h[a]
            if moved:
                for c in range(k):
                    if side[c] != 0:
                        total -= G[a, c] * x[c]
            for b in range(a):
                total -= L[a, b] * work[b]
            work[a] = total * L[a, a]
        else:
            work[a] = 0.0
    for a in range(k - 1, -1, -1):
        if side[a] == 0:
            x[a] = work[a] * L[a, a]
            for b in range(a):
                work[b] -= L[a, b] * x[a]


def exchanged(
    G: np.ndarray, side: np.ndarray, h: np.ndarray, x: np.ndarray, low: np.ndarray,
    high: np.ndarray, tolerance_x: float, tolerance_y: float, last_only: bool,
) -> int:  # fmt: skip
    """Return how many entries are on the wrong side, and let all of them change it, or the last one alone."""
    wrong = 0
    for c in range(len(side) - 1, -1, -1):
        new = side[c]
        if side[c] == 0:
            if x[c] < low[c] - tolerance_x:
                new = -1
            elif x[c] > high[c] + tolerance_x:
                new = 1
        elif low[c] < high[c]:
            descent = h[c]
            for b in range(len(side)):
                descent -= G[c, b] * x[b]
            if side[c] * descent < -tolerance_y:
                new = 0
        if new != side[c]:
            wrong += 1
            # x is what it was: only the sides of the entries change.
            if not last_only or wrong == 1:
                side[c] = new
    return wrong
