"""Exact bounded least squares for many rows at once."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np

from endmember.factor.data.resources import in_threads
from endmember.factor.solvers.base import TOLERANCE, Memory, Solver
from endmember.factor.subproblems.base import Bound
from endmember.factor.subproblems.quadratic import Quadratic, times_gram

#: Up to this many components every pattern that occurs is inverted once, and rows need not be sorted by pattern.
TABLE_COMPONENTS = 8
#: Rows solved at a time, so that what they need stays in the cache.
CHUNK = 4096

Rows = Any

#: How much shorter than without a norm a factor may be, as a logarithm.
FAR = 60.0


class ANLS(Solver):
    r"""Alternating non-negative least squares: the exact minimiser of every subproblem, by block pivoting.

    Each row's entries are free or at a bound. All rows that share a pattern of free entries are
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

    obeys = ("norm",)
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
    lower, upper = (
        bound if np.ndim(bound) == 0 else np.broadcast_to(bound, F.shape)
        for bound in (subproblem.lower, subproblem.upper)
    )
    whole = _Pivoting(subproblem, lower, upper)
    solved = np.empty(F.shape)

    def solve(rows: slice) -> None:
        solved[rows] = whole.part(rows).solve(F[rows])

    in_threads(solve, [slice(i, i + CHUNK) for i in range(0, len(F), CHUNK)])
    return solved


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
    root = brentq(excess, low, high, xtol=1e-12) if high - low < FAR else low
    return at(float(np.exp(root)))


class _Pivoting:
    """Block principal pivoting for all rows of a box-constrained quadratic problem at once.

    ``side`` (n, k) is 0 where an entry is free, −1 at its lower and +1 at its upper bound.
    """

    def __init__(self, subproblem: Quadratic, lower: Bound, upper: Bound) -> None:
        self.G, self.H = _definite(subproblem.G), subproblem.H
        self.lower, self.upper = lower, upper
        self.fixed = np.asarray(lower == upper)
        self.has_upper = not (np.ndim(upper) == 0 and upper == np.inf)
        self.at_zero = not self.has_upper and np.ndim(lower) == 0 and lower == 0.0
        largest = np.max(np.abs(self.H), initial=0.0)
        diagonal = np.max(subproblem.diagonal(), initial=0.0)
        self.tolerance_x = TOLERANCE * largest / diagonal if diagonal > 0 else 0.0
        self.tolerance_y = TOLERANCE * largest

    def part(self, rows: slice) -> Self:
        """Return the same problem for some of the rows, with the tolerances of all."""
        part = copy(self)
        part.G = self.G if self.G.ndim == 2 else self.G[rows]
        part.H, part.fixed = self.H[rows], _of(self.fixed, rows)
        part.lower, part.upper = _of(self.lower, rows), _of(self.upper, rows)
        return part

    def solve(self, F: np.ndarray) -> np.ndarray:
        """Return the minimiser; ``F`` only says which entries to try free first."""
        n, k = F.shape
        side, F = self._first_guess(F), np.empty(F.shape)
        left, wrong = self._attempt(F, side, slice(None))
        fewest, tries = np.full(n, k + 1), np.full(n, 3)
        for _ in range(5 * k + 3):
            if len(left) == 0:
                return np.clip(F, self.lower, self.upper)
            n_wrong = np.count_nonzero(wrong, axis=1)
            better = n_wrong < fewest[left]
            fewest[left[better]] = n_wrong[better]
            tries[left] = np.where(better, 3, tries[left] - 1)
            stuck = tries[left] < 0
            wrong[stuck] &= _last_only(wrong[stuck])
            self._exchange(F, side, left, wrong)
            left, wrong = self._attempt(F, side, left)
        return self._finish(np.clip(F, self.lower, self.upper), left)

    def _attempt(
        self, F: np.ndarray, side: np.ndarray, rows: Rows
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put the stationary points of some rows into ``F``; return which of them break a bound, and where."""
        F[rows] = self._stationary(side[rows], rows)
        wrong = self._wrong_side(F, side, rows)
        on = wrong.any(axis=1)
        return np.arange(len(F))[rows][on], wrong[on]

    def _first_guess(self, F: np.ndarray) -> np.ndarray:
        side = -np.asarray((self.lower >= F) & np.isfinite(self.lower), dtype=np.int8)
        if self.has_upper:
            side[(self.upper <= F) & np.isfinite(self.upper) & ~self.fixed] = 1
        return side

    def _wrong_side(self, F: np.ndarray, side: np.ndarray, rows: Rows) -> np.ndarray:
        """Tell which entries break a bound, or hold at one that pushes the wrong way."""
        F, at, lower = F[rows], side[rows], _of(self.lower, rows)
        G = self.G if self.G.ndim == 2 else self.G[rows]
        descent = self.H[rows] - times_gram(F, G)
        wrong = np.where(at == 0, lower - self.tolerance_x > F, descent > self.tolerance_y)
        if self.has_upper:
            wrong &= at <= 0
            wrong |= (at == 0) & (_of(self.upper, rows) + self.tolerance_x < F)
            wrong |= (at > 0) & (descent < -self.tolerance_y)
        return wrong & ~_of(self.fixed, rows) if self.fixed.any() else wrong

    def _exchange(
        self, F: np.ndarray, side: np.ndarray, rows: np.ndarray, wrong: np.ndarray
    ) -> None:
        here = side[rows]
        new = np.where(F[rows] < _of(self.lower, rows), -1, 1).astype(np.int8)
        side[rows] = np.where(wrong, np.where(here == 0, new, 0), here)

    def _stationary(self, side: np.ndarray, rows: Rows) -> np.ndarray:
        """Return the stationary point of each row with its entries at a bound as they are."""
        free, H, fixed = side == 0, self.H[rows], np.zeros(side.shape)
        if not self.at_zero:
            upper = np.where(side > 0, _of(self.upper, rows), 0.0)
            fixed = np.where(side < 0, _of(self.lower, rows), upper)
        if self.G.ndim == 3:
            return _solve_each(self.G[rows], H, free, fixed)
        if not self.at_zero:
            H = H - fixed @ self.G
        if free.shape[1] <= TABLE_COMPONENTS:
            return fixed + _solve_by_table(self.G, H, free)
        F = fixed
        for group, pattern in groups(free):
            chosen = np.flatnonzero(pattern)
            if len(chosen):
                G = self.G[np.ix_(chosen, chosen)]
                F[np.ix_(group, chosen)] = np.linalg.solve(G, H[np.ix_(group, chosen)].T).T
        return F

    def _finish(self, F: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Settle the rows that pivoting left over with SciPy's bounded least squares."""
        from scipy.optimize import lsq_linear

        for i in rows:
            G = self.G if self.G.ndim == 2 else self.G[i]
            A = np.linalg.cholesky(G).T
            b = np.linalg.solve(A.T, self.H[i])
            lower, upper = (
                np.broadcast_to(bound, F.shape)[i] for bound in (self.lower, self.upper)
            )
            free = lower != upper
            b = b - A[:, ~free] @ lower[~free]
            bounds = lower[free], upper[free]
            F[i, free] = lsq_linear(A[:, free], b, bounds, method="bvls", tol=TOLERANCE).x
        return F


def _of(bound: Any, rows: Rows) -> Any:
    """Return a bound for some of the rows, or the one for all."""
    return bound if np.ndim(bound) == 0 else bound[rows]


def _last_only(wrong: np.ndarray) -> np.ndarray:
    """Keep only the last True of every row."""
    last = wrong.shape[1] - 1 - np.argmax(wrong[:, ::-1], axis=1)
    return np.arange(wrong.shape[1]) == last[:, None]


def groups(free: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return ``(rows, pattern)`` for every pattern of free entries that occurs."""
    packed = np.packbits(free, axis=1)
    if packed.shape[1] > 1:
        packed = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")
    _, first, label = np.unique(packed.ravel(), return_index=True, return_inverse=True)
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
    if not np.any(singular):
        return G
    ridge = np.where(singular, np.where(largest > 0, TOLERANCE * largest - smallest, 1.0), 0.0)
    return G + np.asarray(ridge)[..., None, None] * np.eye(G.shape[-1])


def _solve_by_table(G: np.ndarray, H: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Solve every row for its free entries with the inverse for its pattern, improved once; zero elsewhere."""
    k = len(G)
    codes = np.packbits(free, axis=1, bitorder="little")[:, 0]
    present = np.flatnonzero(np.bincount(codes))
    table = np.zeros((2**k, k, k))
    table[present] = _inverses(G, (present[:, None] >> np.arange(k)) & 1 > 0)
    inverse = table[codes]
    F = np.einsum("ik,ikl->il", H, inverse)
    return F + np.einsum("ik,ikl->il", H - F @ G, inverse)


def inverses(G: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return for every pattern of free entries (p, k) the inverse of ``G`` among them, zero elsewhere; (p, k, k)."""
    return _inverses(_definite(G), free)


def _inverses(G: np.ndarray, free: np.ndarray) -> np.ndarray:
    both = free[:, :, None] & free[:, None, :]
    own = np.mean(np.diagonal(G)) * np.eye(len(G)) * ~free[:, :, None]
    return np.where(both, np.linalg.inv(np.where(both, G, own)), 0.0)


def _solve_each(G: np.ndarray, H: np.ndarray, free: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Solve every row with its own Gram matrix; a fixed entry gets an equation of its own."""
    scale = np.max(np.diagonal(G, axis1=1, axis2=2), axis=1)[:, None]
    H = np.where(free, H - times_gram(fixed, G), scale * fixed)
    both = free[:, :, None] & free[:, None, :]
    own = scale[:, :, None] * np.eye(G.shape[1]) * ~free[:, :, None]
    return np.linalg.solve(np.where(both, G, own), H[:, :, None])[:, :, 0]
