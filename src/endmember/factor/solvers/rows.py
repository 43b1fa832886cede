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
#: Up to this many entries a row whose entries stay on their sides takes one product with an inverse.
FEW = 8
#: Above this many entries a pattern of free ones has no number, and no factor is kept.
NUMBERED = 62
#: Exchanges of several entries that need not help before only one entry changes side.
PATIENCE = 3


@cache
def loops() -> dict[str, Any]:
    """Return the compiled functions of this module by name."""
    from numba import types

    given = types.Array(types.float64, 2, "A", readonly=True)
    grams = types.Array(types.float64, 3, "A", readonly=True)
    solved, left = types.Array(types.float64, 2, "C"), types.Array(types.boolean, 1, "C")
    tolerances, ends = [types.float64] * 2, [types.int64] * 2
    parts = factored, stationary, factor_of, wrong_sides, exchange, pivoted
    whole = types.void(grams, *[given] * 4, solved, left, *tolerances, *ends)
    return compiled(globals(), {**dict.fromkeys(parts), solve_rows: whole})


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
    k, one_gram = H.shape[1], len(G) == 1
    few, shared = one_gram and k <= FEW, one_gram and k <= NUMBERED
    keys, factors = np.full(KEPT, -1), np.empty((KEPT if shared else 1, k, k))
    inverses = np.empty((KEPT if few else 1, k, k))
    side, x, h = np.empty(k), np.empty(k), np.empty(k)
    low, high, work = np.empty(k), np.empty(k), np.empty(k)
    for i in range(first, last):
        gram, at_zero, key = G[0 if one_gram else i], few, 0
        for c in range(k):
            h[c], low[c], high[c], f = H[i, c], lower[i, c], upper[i, c], F[i, c]
            below = (low[c] == high[c]) | ((f <= low[c]) & (low[c] > -np.inf))
            above = (f >= high[c]) & (high[c] < np.inf)
            side[c] = -1.0 if below else 1.0 if above else 0.0
            at_zero &= (side[c] == 0) | ((low[c] if below else high[c]) == 0.0)
            key |= (side[c] == 0) << c
        left[i] = True
        if at_zero:  # without a branch that hangs on values: most rows' entries stay on their sides
            if keys[key] != key:
                factor_of(gram, side, shared, keys, factors, inverses)
            wrong = 0
            for c in range(k):
                best = 0.0
                for b in range(k):
                    best += inverses[key, c, b] * h[b]
                x[c] = best
            for c in range(k):
                slope = h[c]
                for b in range(k):
                    slope -= gram[c, b] * x[b]
                outside = (x[c] < low[c] - tolerance_x) | (x[c] > high[c] + tolerance_x)
                held = (side[c] * slope >= -tolerance_y) | (low[c] == high[c])
                wrong += outside | ((abs(slope) > tolerance_y) if side[c] == 0 else not held)
            left[i] = wrong > 0
        if left[i]:
            left[i] = not pivoted(
                gram, side, h, x, low, high, tolerance_x, tolerance_y, shared, keys, factors,
                inverses, work,
            )  # fmt: skip
        for c in range(k):
            solved[i, c] = min(max(x[c], low[c]), high[c])


def pivoted(
    G: np.ndarray, side: np.ndarray, h: np.ndarray, x: np.ndarray, low: np.ndarray,
    high: np.ndarray, tolerance_x: float, tolerance_y: float, shared: bool, keys: np.ndarray,
    factors: np.ndarray, inverses: np.ndarray, work: np.ndarray,
) -> bool:  # fmt: skip
    """Fill ``x`` (k,) with the minimiser of a row from the sides of its entries; return whether that came to an end."""
    k = len(side)
    fewest, tries = k + 1, PATIENCE
    for _ in range(5 * k + 4):
        slot = factor_of(G, side, shared, keys, factors, inverses)
        for c in range(k):
            x[c] = 0.0 if side[c] == 0 else low[c] if side[c] < 0 else high[c]
        stationary(G, factors[slot], h, x, work)
        wrong = wrong_sides(G, side, h, x, low, high, tolerance_x, tolerance_y, work)
        if wrong == 0:
            return True
        exchange(side, work, x, low, tries < 0)
        tries = PATIENCE if wrong < fewest else tries - 1
        fewest = min(fewest, wrong)
    return False


def factor_of(
    G: np.ndarray, side: np.ndarray, shared: bool, keys: np.ndarray, factors: np.ndarray,
    inverses: np.ndarray,
) -> int:  # fmt: skip
    """Return the place of the Cholesky factor of ``G`` among the free entries, and of the inverse if there are few."""
    k, key, slot = len(side), 0, 0
    if shared:
        for c in range(k):
            key |= (side[c] == 0) << c
        slot = (key ^ (key >> 8)) & (KEPT - 1)
    if not shared or keys[slot] != key:
        keys[slot] = key
        factored(G, side, factors[slot])
        if len(inverses) == KEPT:
            unit, work = np.zeros(k), np.empty(k)
            for c in range(k):
                unit[c] = 1.0
                inverses[slot, c] = 0.0
                stationary(G, factors[slot], unit, inverses[slot, c], work)
                unit[c] = 0.0
    return slot


def wrong_sides(
    G: np.ndarray, side: np.ndarray, h: np.ndarray, x: np.ndarray, low: np.ndarray,
    high: np.ndarray, tolerance_x: float, tolerance_y: float, wrong: np.ndarray,
) -> int:  # fmt: skip
    """Put into ``wrong`` (k,) which entries break a bound or are held where the slope leads away; count them."""
    count = 0
    for c in range(len(side)):
        if side[c] == 0:
            wrong[c] = (x[c] < low[c] - tolerance_x) | (x[c] > high[c] + tolerance_x)
        else:
            slope = h[c]
            for b in range(len(side)):
                slope -= G[c, b] * x[b]
            wrong[c] = (side[c] * slope < -tolerance_y) & (low[c] < high[c])
        count += wrong[c] != 0.0
    return count


def factored(G: np.ndarray, side: np.ndarray, L: np.ndarray) -> None:
    """Fill ``L`` (k, k) with the Cholesky factor of ``G`` among the free entries, its diagonal inverted; zero else."""
    L[:] = 0.0
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
            L[a, a] = 1.0 / np.sqrt(rest)


def stationary(
    G: np.ndarray, L: np.ndarray, h: np.ndarray, x: np.ndarray, work: np.ndarray
) -> None:
    """Put the best values of the free entries in the place of zeros in ``x`` (k,), which holds the others."""
    k = len(x)
    moved = False
    for c in range(k):
        moved |= x[c] != 0.0
    for a in range(k):
        work[a] = 0.0
        if L[a, a] != 0.0:
            total = h[a]
            if moved:
                for c in range(k):
                    total -= G[a, c] * x[c]
            for b in range(a):
                total -= L[a, b] * work[b]
            work[a] = total * L[a, a]
    for a in range(k - 1, -1, -1):
        if L[a, a] != 0.0:
            x[a] = work[a] * L[a, a]
            for b in range(a):
                work[b] -= L[a, b] * x[a]


def exchange(
    side: np.ndarray, wrong: np.ndarray, x: np.ndarray, low: np.ndarray, last_only: bool
) -> None:
    """Let the entries that are wrong change side, or the last of them alone."""
    for c in range(len(side) - 1, -1, -1):
        if wrong[c]:
            side[c] = 0.0 if side[c] != 0 else -1.0 if x[c] < low[c] else 1.0
            if last_only:
                break
