r"""Who carries the scale of a component where factors are shared between several terms.

Multiplying column j of every factor f with :math:`e^{u_f}` changes no model where :math:`\sum u = 0` over
the modes of every term and all summands of a sum have one and the same u. Each direction of that kind is
taken away by holding the columns of one factor at unit length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import null_space

from endmember.factor.scales import Carriers

#: Directions shorter than this are none.
TINY = 1e-9


class Gauges(Carriers):
    """The factors whose columns have unit length, and how the others follow.

    Parameters
    ----------
    terms : sequence of sequence of sequence of int
        For every term and every mode of its data the numbers of the factors in the sum.
    candidates : sequence of int
        Factors in the order in which they are wanted at unit length.
    pinned : ndarray of bool, (factors, k)
        Columns whose scale is given.
    charged : ndarray of bool, (factors,)
        Factors that cost more when they are larger.
    directed : ndarray of bool, (factors,), optional
        Factors of which a penalty wants the directions of the columns.

    Examples
    --------
    >>> shared = Gauges([[[0], [1]], [[0], [2]]], [1, 2, 0], np.zeros((3, 1), bool), np.zeros(3, bool))
    >>> factors = [np.ones((2, 1)), np.array([[3.0], [4.0]]), np.ones((1, 1))]
    >>> [F.T for F in shared.balanced(factors)]
    [array([[5., 5.]]), array([[0.6, 0.8]]), array([[0.2]])]
    """

    def __init__(
        self,
        terms: Sequence[Sequence[Sequence[int]]],
        candidates: Sequence[int],
        pinned: np.ndarray,
        charged: np.ndarray,
        directed: np.ndarray | None = None,
    ) -> None:
        n, k = pinned.shape
        self.directed = np.zeros(n, bool) if directed is None else directed
        self.row_weights = [None] * n
        self.charged = charged
        self.unit = np.zeros((n, k), dtype=bool)
        #: ``moves[f, :, j]``: how the logarithms of all scales change with that of column j of factor f.
        self.moves = np.zeros((n, n, k))
        invariants = _invariants(terms, n)
        for j in range(k):
            held = [*invariants, *np.eye(n)[pinned[:, j]]]
            self._settle(j, np.array(held).reshape(-1, n), candidates, pinned[:, j])

    def _settle(
        self, j: int, held: np.ndarray, candidates: Sequence[int], pinned: np.ndarray
    ) -> None:
        """Choose the factors of which column j has unit length."""
        n = len(pinned)
        chosen: list[int] = []
        for f in candidates:
            free = null_space(np.vstack([held, np.eye(n)[chosen]]))
            if not self.charged[f] and free.size and np.linalg.norm(free[f]) > TINY:
                chosen.append(f)
        for f in chosen:
            others = [g for g in chosen if g != f]
            free = null_space(np.vstack([held, np.eye(n)[others]]))
            direction = free @ free[f]
            self.moves[f, :, j] = direction / direction[f]
        self.unit[chosen, j] = True

    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the columns that want it unit length and their scale to the others, in place."""
        if not self.unit[mode].any():
            return
        size = np.linalg.norm(factors[mode], axis=0)
        size = np.where(self.unit[mode] & (size > 0), size, 1.0)
        for other in range(len(factors)):
            factor = size ** -self.moves[mode, other]
            if not np.all(factor == 1.0):
                factors[other] = factors[other] * factor

    def sphere(self, mode: int) -> np.ndarray:
        """Return for each component whether its column must find its direction at its length, (k,) bool."""
        moved = np.abs(self.moves[mode]) > TINY
        return self.unit[mode] & (
            np.any(moved & self.charged[:, None], axis=0) | self.directed[mode]
        )


def _invariants(terms: Sequence[Sequence[Sequence[int]]], n: int) -> list[np.ndarray]:
    """Return the linear conditions under which scales change no model, each (factors,)."""
    unit, conditions = np.eye(n), []
    for term in terms:
        conditions.append(np.sum([unit[slot[0]] for slot in term], axis=0))
        conditions += [unit[f] - unit[slot[0]] for slot in term for f in slot[1:]]
    return conditions
