"""Exact bounded least squares for many rows at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from endmember.factor.data.resources import in_threads
from endmember.factor.solvers.base import TOLERANCE, Memory, Solver
from endmember.factor.solvers.rows import loops
from endmember.factor.subproblems import Bound, Quadratic

#: Rows that a thread solves at a time.
CHUNK = 2**14

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
    root = brentq(excess, low, high, xtol=1e-12) if high - low < FAR else low
    return at(float(np.exp(root)))


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
