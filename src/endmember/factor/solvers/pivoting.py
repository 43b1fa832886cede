"""Exact bounded least squares for many rows at once, compiled by numba when first used.

Rows share the Cholesky factor of the Gram matrix of the same free entries, and do not interact: the bits of an answer
depend neither on threads nor on how rows are shared among them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from endmember.factor.compiled import compiled
from endmember.factor.data.resources import in_threads
from endmember.factor.solvers.base import TOLERANCE, Memory, Solver
from endmember.factor.subproblems import Bound, Quadratic

#: Rows that a thread solves at a time.
CHUNK = 2**14
#: Cholesky factors that are kept, a power of two.
KEPT = 256
#: Up to this many entries a row whose entries stay on their sides takes one product with an inverse.
FEW = 8
#: Above this many entries a pattern of free ones has no number, and no factor is kept.
NUMBERED = 62
#: Exchanges of several entries that need not help before only one entry changes side.
PATIENCE = 3
#: How much shorter than without a norm a factor may be, as a logarithm.
FAR = 60.0


class ANLS(Solver):
    r"""Alternating non-negative least squares: the exact minimiser of every subproblem, by block pivoting.

    Each row's entries are free or at a bound. Rows that share a pattern of free entries are
    solved with one factorisation; every entry that breaks a bound, and every bound whose
    multiplier has the wrong sign, changes side; where that stops helping, only the last one does
    (Murty's rule, which always ends).

    Works between any bounds, so that fixed entries (equal bounds) and free ones (infinite bounds)
    are cases of it. An unsquared norm of the whole factor (:class:`em.Norm`) is met exactly too: with
    :math:`\|F\| = \min_\rho \tfrac12(\|F\|^2/\rho + \rho)` it is a ridge whose strength is found by one-dimensional
    root finding.

    References
    ----------
    Kim & Park, SIAM J. Sci. Comput. 33 (2011) 3261. Júdice & Pires, Comput. Oper. Res. 21 (1994)
    587, for the box.

    Examples
    --------
    >>> sub = Quadratic(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0, 0.0]]))
    >>> ANLS().improve(sub, np.zeros((1, 2)), 2)
    array([[1.5, 0. ]])
    """

    obeys = ("basis", "norm")
    short_sweeps = 20
    in_words = "alternating non-negative least squares (ANLS) by block principal pivoting"
    references = ("J. Kim and H. Park, SIAM J. Sci. Comput. 33 (2011) 3261.",)

    def improve(
        self,
        subproblem: Quadratic,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        cost = sum(penalty.norm(subproblem) for penalty in penalties if hasattr(penalty, "norm"))
        return _under_norm(subproblem, F, cost) if cost > 0 else _best(subproblem, F)


def _best(subproblem: Quadratic, F: np.ndarray) -> np.ndarray:
    G, (n, k) = _definite(subproblem.G), F.shape
    H, F = (np.asarray(array, dtype=np.float64) for array in (subproblem.H, F))
    lower, upper = (everywhere(bound, F.shape) for bound in (subproblem.lower, subproblem.upper))
    largest = max(H.max(initial=0.0), -H.min(initial=0.0))
    diagonal = subproblem.diagonal().max(initial=0.0)
    tolerance = TOLERANCE * largest / diagonal if diagonal > 0 else 0.0
    solved, left = np.empty(F.shape), np.empty(n, bool)
    given = G.reshape(-1, k, k), H, lower, upper, F, solved, left, tolerance, TOLERANCE * largest
    solve = loops()["solve_rows"]
    if n <= CHUNK:
        solve(*given, 0, n)
    else:
        in_threads(lambda first: solve(*given, first, min(first + CHUNK, n)), range(0, n, CHUNK))
    for i in np.flatnonzero(left) if left.any() else ():
        solved[i] = _settled(G if G.ndim == 2 else G[i], H[i], lower[i], upper[i])
    return solved


def everywhere(bound: Bound, shape: tuple[int, ...]) -> np.ndarray:
    """Return a bound for every entry of an array, without a copy."""
    one = np.asarray(bound, dtype=np.float64)
    return (
        np.broadcast_to(one, shape) if one.ndim else np.ndarray(shape, buffer=one, strides=(0, 0))
    )


def _settled(G: np.ndarray, h: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the minimiser of a row that pivoting left over, by SciPy's bounded least squares."""
    from scipy.optimize import lsq_linear

    A = np.linalg.cholesky(G).T
    free, f = lower != upper, lower.copy()
    b = np.linalg.solve(A.T, h) - A[:, ~free] @ lower[~free]
    f[free] = lsq_linear(A[:, free], b, (lower[free], upper[free]), "bvls", TOLERANCE).x
    return f


def _under_norm(subproblem: Quadratic, F: np.ndarray, cost: float) -> np.ndarray:
    """Return the minimiser of the problem plus ``cost ‖F‖``."""
    from scipy.optimize import brentq

    empty = np.zeros_like(F)
    holds_zero = np.array_equal(subproblem.clip(empty), empty)
    if holds_zero and np.linalg.norm(subproblem.slope_into_box()) <= cost:
        return empty

    def at(length: float) -> np.ndarray:
        ridged = replace(subproblem)
        ridged.add_quadratic(cost / length)
        return _best(ridged, F)

    def excess(logarithm: float) -> float:
        length = float(np.exp(logarithm))
        return float(np.linalg.norm(at(length))) / length - 1.0

    high = float(np.log(np.linalg.norm(_best(subproblem, F))))
    low = high - 1.0
    while excess(low) <= 0 and high - low < FAR:
        low -= 2.0
    return at(float(np.exp(brentq(excess, low, high, xtol=1e-12) if high - low < FAR else low)))


def patterns_of(free: np.ndarray) -> list[np.ndarray]:
    """Return where each pattern of free entries (n, k) comes first, (p,), and which of them every row has, (n,)."""
    packed = np.packbits(free, axis=1)
    if packed.shape[1] > 1:
        packed = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")
    return list(np.unique(packed.ravel(), return_index=True, return_inverse=True)[1:])


def groups(free: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return ``(rows, pattern)`` for every pattern of free entries that occurs."""
    first, label = patterns_of(free)
    order = np.argsort(label, kind="stable")
    edges = np.searchsorted(label[order], np.arange(1, len(first)))
    return [
        (rows, free[start])
        for rows, start in zip(np.split(order, edges), first, strict=True)
    ]  # fmt: skip


def _definite(G: np.ndarray) -> np.ndarray:
    """Return ``G``, or where two components point the same way, with just enough added to its diagonal."""
    values = np.linalg.eigvalsh(G)
    smallest, largest = values[..., 0], values[..., -1]
    singular = smallest <= TOLERANCE * largest
    if not singular.any():
        return G
    ridge = np.where(singular, np.where(largest > 0, TOLERANCE * largest - smallest, 1.0), 0.0)
    return G + np.asarray(ridge)[..., None, None] * np.eye(G.shape[-1])


def inverses(G: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return for every pattern of free entries (p, k) the inverse of ``G`` among them, zero elsewhere; (p, k, k)."""
    G = _definite(G)
    both = free[:, :, None] & free[:, None, :]
    own = np.mean(np.diagonal(G)) * np.eye(len(G)) * ~free[:, :, None]
    return np.where(both, np.linalg.inv(np.where(both, G, own)), 0.0)


# ---- Row by row, compiled -----------------------------------------------------------------------


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
            side[c] = -1.0 if below else 1.0 if ((f >= high[c]) & (high[c] < np.inf)) else 0.0
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
