r"""Who carries the scale of each component: the one place where that is decided.

Multiplying column j of every factor f with :math:`e^{u_f}` changes no model where :math:`\sum u = 0` over the modes
of every term and all summands of a sum have one and the same u. Each direction of that kind is taken away by giving
the columns of one factor unit length: not those of a factor whose size costs something or is given. A penalty that
charges for the size of a factor charges for it at that length of the others, so that growing a column of unit length
costs as much as growing what carries its scale. Every solver learns of that as a ridge
(:meth:`Carriers.costs_elsewhere`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from scipy.linalg import null_space

from endmember.factor.columns import lengths
from endmember.factor.data.grid import Grid
from endmember.factor.penalties import Penalty, bounds_of

#: Directions shorter than this are none.
TINY = 1e-9
#: Costs count as growing with at most this power of a length where scale is shared.
POWER = 2.0


class Carriers(ABC):
    """Which columns have unit length, and who carries their scale."""

    #: Where a column has unit length, (factors, k).
    unit: np.ndarray
    #: The directions, (factors, any), in which scale is left to costs alone, for every column.
    shared: Sequence[np.ndarray] = ()

    @abstractmethod
    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the columns of a factor that want it unit length and their scale to the others, in place."""

    @abstractmethod
    def costs_elsewhere(self, spent: dict[int, np.ndarray], mode: int) -> np.ndarray:
        """Return by how much all costs rise with the logarithm of the length of each column of a factor, (k,).

        ``spent`` says for the factors that are charged by how much their own costs rise with that of each of theirs.
        """

    def balanced(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors with every column as long as it will be in the fit."""
        factors = [np.array(F, dtype=np.float64) for F in factors]
        for mode in range(len(factors)):
            self.balance(factors, mode)
        return factors

    def share(
        self, factors: list[np.ndarray], spent: dict[int, np.ndarray], least: float = 0.0
    ) -> None:
        """Move scale between factors that are all charged towards where they cost least together, in place.

        Columns that cost no more than ``least`` stay: a cost that can flee altogether, such as that of the roughness
        of a flat map, would draw them to infinity.
        """
        steps = np.zeros((len(factors), len(self.shared)))
        for j, free in enumerate(self.shared):
            costs = np.array([spent[f][j] if f in spent else 0.0 for f in range(len(factors))])
            if free.size and costs.max() > least:
                bend = POWER * free.T @ (costs[:, None] * free)
                steps[:, j] = -free @ np.linalg.lstsq(bend, free.T @ costs, rcond=None)[0]
        for f, step in enumerate(steps):
            if step.any():
                factors[f] = factors[f] * np.exp(step)


class Scales(Carriers):
    """Who carries the scale of each component, so that it cannot flee from a penalty.

    A factor whose penalties charge for its size, or fix it, keeps its scale; the others then have columns of unit
    length. With no such penalty the first factor carries the scale.

    Parameters
    ----------
    penalties : sequence of sequence of Penalty
        About each factor.
    pinned : ndarray of bool, (factors, k)
        Columns whose scale is given.
    terms : sequence of sequence of sequence of int, optional
        For every term and every mode of its data the numbers of the factors in the sum; one term of all factors
        unless given.
    candidates : sequence of int, optional
        Factors in the order in which they are wanted at unit length; the last first unless given.
    row_weights : sequence of ndarray or None, optional
        Of every factor, in the length of its columns.

    Attributes
    ----------
    unit : ndarray of bool, (factors, k)
        Where a column has unit length.

    Examples
    --------
    >>> shared = Scales([[]] * 3, np.zeros((3, 1), bool), [[[0], [1]], [[0], [2]]], [1, 2, 0])
    >>> factors = [np.ones((2, 1)), np.array([[3.0], [4.0]]), np.ones((1, 1))]
    >>> [F.T for F in shared.balanced(factors)]
    [array([[5., 5.]]), array([[0.6, 0.8]]), array([[0.2]])]
    """

    def __init__(
        self,
        penalties: Sequence[Sequence[Penalty]],
        pinned: np.ndarray,
        terms: Sequence[Sequence[Sequence[int]]] | None = None,
        candidates: Sequence[int] | None = None,
        row_weights: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        n, k = pinned.shape
        self.pinned, self.row_weights = pinned, row_weights or [None] * n
        carrying = np.array([any(p.carries_scale for p in own) for own in penalties], bool)
        self.charged = carrying if carrying.any() else charged_factors(penalties)
        order = range(n)[::-1] if candidates is None else candidates
        candidates = [f for f in order if not self.charged[f]]
        #: ``moves[f, :, j]``: how the logarithms of all scales change with that of column j of factor f.
        self.unit, self.moves = np.zeros((n, k), dtype=bool), np.zeros((n, n, k))
        self.shared = [np.empty(0)] * k
        conditions = _invariants([[[f] for f in range(n)]] if terms is None else terms, n)
        for pattern in np.unique(pinned, axis=1).T:
            columns = np.flatnonzero((pinned == pattern[:, None]).all(axis=0))
            fixed = np.vstack([*conditions, *np.eye(n)[pattern]])
            free = null_space(fixed)
            chosen: list[int] = []
            for f in candidates:  # each that is free to change while those before it stay
                if np.linalg.matrix_rank(free[[*chosen, f]], tol=TINY) > len(chosen):
                    chosen.append(f)
            for f, move in zip(chosen, (free @ np.linalg.pinv(free[chosen])).T, strict=True):
                self.unit[f, columns] = True
                self.moves[f][:, columns] = move[:, None]
            for j in columns:
                self.shared[j] = null_space(np.vstack([fixed, np.eye(n)[chosen]]))
        #: For every factor, those whose scales change with it.
        self.moved = [
            np.flatnonzero(np.abs(move).max(axis=1) > TINY).tolist() for move in self.moves
        ]

    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        if not self.moved[mode]:
            return
        size = lengths(factors[mode], self.row_weights[mode])
        size = np.where(self.unit[mode] & (size > 0), size, 1.0)
        for other in self.moved[mode]:
            factors[other] = factors[other] * size ** -self.moves[mode, other]

    def costs_elsewhere(self, spent: dict[int, np.ndarray], mode: int) -> np.ndarray:
        costs = [-self.moves[mode, f] * cost for f, cost in spent.items()]
        return np.sum(costs, axis=0) * self.unit[mode]


def charged_factors(penalties: Sequence[Sequence[Penalty]]) -> np.ndarray:
    """Return for each factor whether it costs more when it is larger, (factors,) bool."""
    return np.array([any(p.has_scale for p in own) for own in penalties], dtype=bool)


def pinned_columns(
    penalties: Sequence[Sequence[Penalty]], sizes: Sequence[int], grids: Sequence[Grid], k: int
) -> np.ndarray:
    """Return the columns whose scale is given, by a penalty or by a bound other than zero, (factors, k) bool."""
    pinned = np.zeros((len(penalties), k), dtype=bool)
    for own, n, grid, columns in zip(penalties, sizes, grids, pinned, strict=True):
        for bound in bounds_of(own, (n, k), grid):
            if np.ndim(bound) or bound:
                columns |= np.any(np.isfinite(bound) & (np.asarray(bound) != 0), axis=0)
        for penalty in own:
            columns |= penalty.fixes_scale(k)
    return pinned


def _invariants(terms: Sequence[Sequence[Sequence[int]]], n: int) -> list[np.ndarray]:
    """Return the linear conditions under which scales change no model, each (factors,)."""
    unit, conditions = np.eye(n), []
    for term in terms:
        conditions.append(np.sum([unit[mode[0]] for mode in term], axis=0))
        conditions += [unit[f] - unit[mode[0]] for mode in term for f in mode[1:]]
    return conditions
