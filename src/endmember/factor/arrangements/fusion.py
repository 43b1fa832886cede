r"""Several data sets as one: their terms add up in the problem of every factor.

With the sum of all other summands :math:`R` and :math:`Z` made from the other factors of a term,

.. math:: G = \sum_t \lambda_t Z_t^\top Z_t,\qquad H = \sum_t \lambda_t (X_t Z_t - R_t Z_t^\top Z_t)

so penalties and solvers work as they do on a single data set. A divergence takes part by the square that
touches it (:class:`Touching`).

Every mode of a data set is a sum of factors, :math:`E = \sum_s P_s F_s` with known matrices :math:`P_s`, the
identity unless given.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Self

import numpy as np
from scipy import sparse

from endmember.factor.data import Arrangement, DenseEntries, Entries, SparseEntries
from endmember.factor.losses import Loss
from endmember.factor.scale.carriers import Scales
from endmember.factor.subproblems import Quadratic, times_gram

#: A square is made steeper by this factor until it lies above the divergence, so often at most.
STEEPER, TRIALS = 4.0, 20
#: What penalties do beside adding to the square.
STEPS = {"column", "prox", "norm"}
#: Differences below this fraction of the misfit are rounding.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Summand:
    """One factor in a sum, by its number, and the known matrix (rows of the data, rows of the factor) before it."""

    factor: int
    matrix: Any = None
    #: The largest squared singular value of the matrix.
    bound: float = 1.0

    def __call__(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        F = factors[self.factor]
        return F if self.matrix is None else np.asarray(self.matrix @ F)


@dataclass(frozen=True)
class Sum:
    """The sum of factors that one mode of the data is made from.

    ``non_negative`` says that the sum must not fall below zero though a summand may.
    """

    summands: tuple[Summand, ...]
    non_negative: bool = False

    def __call__(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        return reduce(np.add, [summand(factors) for summand in self.summands])

    def rest(self, factors: Sequence[np.ndarray], without: Summand) -> np.ndarray | None:
        """Return the sum of all other summands, or None where there are none."""
        others = tuple(summand for summand in self.summands if summand is not without)
        return Sum(others)(factors) if others else None


@dataclass
class SharedTerm:
    """One term of a fusion.

    Attributes
    ----------
    data : Arrangement
    loss : Loss
    weight : float
        What its misfit is multiplied with.
    sums : list of Sum
        One a mode of the data.
    """

    data: Arrangement
    loss: Loss
    weight: float
    sums: Sequence[Sum]
    #: The last subproblem, with its mode and the matrices of the other modes.
    _last: tuple[int, list[np.ndarray], Quadratic] | None = field(default=None, init=False)

    @property
    def is_curved(self) -> bool:
        """Whether the loss is no square."""
        return self.loss.needs == "entries"

    def modes(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the matrix of every mode of the data, summed up from the factors."""
        return [one(factors) for one in self.sums]

    def places(self, factor: int) -> Iterator[tuple[int, Summand]]:
        """Yield ``(mode, summand)`` wherever a factor stands in this term."""
        for mode, one in enumerate(self.sums):
            for summand in one.summands:
                if summand.factor == factor:
                    yield mode, summand

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        """Return the weighted loss of the term."""
        modes = self.modes(factors)
        if self.is_curved:
            return self.weight * self.loss.misfit(self.data, modes)
        mode = self._last[0] if self._last else 0
        return self.weight * self.loss.misfit(self.data, modes, mode, self._plain(modes, mode))

    def reference(self) -> float:
        """Return the weighted loss of a trivial model."""
        return self.weight * self.loss.reference(self.data)

    def subproblem(self, factors: Sequence[np.ndarray], mode: int, summand: Summand) -> Quadratic:
        r"""Return what the term asks of one summand: :math:`\tfrac12\langle F G, F\rangle - \langle F, H\rangle`.

        What the other summands of a sum that is not negative leave is its lower bound.
        """
        modes, rest = self.modes(factors), self.sums[mode].rest(factors, summand)
        plain = self._plain(modes, mode)
        asked = plain
        if summand.matrix is not None:
            asked = _majorised(plain, modes[mode], summand, factors[summand.factor])
        elif rest is not None:
            asked = replace(plain, H=plain.H - times_gram(rest, plain.G))
        lower = -np.inf if rest is None or not self.sums[mode].non_negative else -rest
        return replace(asked, G=self.weight * asked.G, H=self.weight * asked.H, lower=lower)

    def scale(self, factors: Sequence[np.ndarray]) -> float:
        """Return by what the model must be multiplied to be nearest to the data in squared error."""
        modes = self.modes(factors)
        F, weights = modes[0], self.data.row_weights(0)
        weighted = F if weights is None else weights[:, None] * F
        across = np.vdot(weighted, self.data.contract(modes, 0))
        along = np.vdot(weighted, times_gram(F, self.data.gram(modes, 0)))
        return max(float(across / max(along, 1e-300)), 0.0)

    def _plain(self, modes: Sequence[np.ndarray], mode: int) -> Quadratic:
        """Return the subproblem of one mode of the data; the last one is kept, as all summands share it."""
        if self.is_curved:
            return self.loss.touching(self.data, modes, mode)
        others = [M for number, M in enumerate(modes) if number != mode]
        if (
            self._last is None
            or self._last[0] != mode
            or not all(map(np.array_equal, others, self._last[1]))
        ):
            self._last = mode, others, self.loss.subproblem(self.data, modes, mode)
        return self._last[2]


def _majorised(plain: Quadratic, E: np.ndarray, summand: Summand, F: np.ndarray) -> Quadratic:
    r"""Return a problem that touches that of ``F`` in ``P F`` and lies above it: its Gram is :math:`\sigma^2(P)\,G`."""
    slope = plain.gradient(E)
    G = plain.G
    if plain.row_weights is not None or G.ndim == 3:
        slope = plain.weights * slope
        G = np.max(plain.weights * np.linalg.eigvalsh(G)[..., -1:]) * np.eye(E.shape[1])
    G = summand.bound * G
    return Quadratic(G, F @ G - np.asarray(summand.matrix.T @ slope), -np.inf, np.inf)


@dataclass
class Touching(Quadratic):
    """A square that touches another misfit near one point: a step counts only where the square lies above it.

    Attributes
    ----------
    square : Quadratic
        As the data made it, before penalties added to it.
    misfit : callable
        The misfit itself, of any ``F``.
    """

    square: Quadratic = field(kw_only=True)
    misfit: Callable[[np.ndarray], float] = field(kw_only=True)

    def improved_by(self, solver: Any, F: np.ndarray, n_others: int, **options: Any) -> np.ndarray:
        """Return a better ``F``, or the same where every step made it worse: squares are bent until one holds."""
        memory = options["memory"]
        start, times = self.misfit(F), max(1.0, memory.get("times", 1.0) / STEEPER)
        by_steps = any(penalty.offers() & STEPS for penalty in options["penalties"])
        for _ in range(TRIALS):
            bent = self.bent(F, times)
            new = np.asarray(solver.improve(bent, F, n_others, **options))
            # Where penalties act by steps of their own, the square alone need not fall.
            falls = by_steps or bent.value(new) <= bent.value(F)
            if falls and self.is_above(F, new, times, start):
                memory["times"] = times
                return new
            times *= STEEPER
        return F

    def bent(self, F: np.ndarray, times: float) -> Self:
        """Return the problem with the square bent ``times`` as much, about the same point and slope."""
        more = (times - 1.0) * self.square.G
        return replace(self, G=self.G + more, H=self.H + times_gram(F, more))

    def is_above(self, F: np.ndarray, new: np.ndarray, times: float, start: float) -> bool:
        """Tell whether the square, bent ``times`` as much, is no lower than the misfit at ``new``."""
        step = new - F
        slope = np.sum(step * self.square.gradient(F))
        bend = 0.5 * np.sum(step * times_gram(step, self.square.G))
        return bool(self.misfit(new) <= (start + slope + times * bend + ROUNDING * abs(start)))


class FusedData(Arrangement):
    """The data of all terms, as the loop sees them.

    Parameters
    ----------
    terms : sequence of SharedTerm
    shape : sequence of int
        The number of rows of every factor.
    scales : Scales
        Who carries the scale of every component.
    """

    componentwise = False
    weighted = False  # that is inside the terms

    def __init__(self, terms: Sequence[SharedTerm], shape: Sequence[int], scales: Scales) -> None:
        self.terms, self.shape, self.own_scales = list(terms), tuple(shape), scales
        self._beside: dict[int, Entries] = {}

    @property
    def size(self) -> int:
        """The number of entries of all terms."""
        return sum(term.data.size for term in self.terms)

    def shares(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the length of every component as a fraction of the longest, in the term where it is most, (k,)."""
        return np.max([term.data.shares(term.modes(factors)) for term in self.terms], axis=0)

    def of(self, mode: int) -> list[tuple[SharedTerm, int, Summand]]:
        """Return ``(term, mode of its data, summand)`` wherever a factor stands."""
        return [(term, *place) for term in self.terms for place in term.places(mode)]

    def n_others(self, mode: int) -> int:
        """Return how many entries each row of a factor is made from."""
        concerned = {id(term): term.data.shape for term, *_ in self.of(mode)}.values()
        rows = max(self.shape[mode], 1)
        return max(1, sum(int(np.prod(shape, dtype=np.int64)) // rows for shape in concerned))

    @property
    def squared_norm(self) -> float:
        """The sum of the squared lengths of all data in the metric of their losses."""
        return 2.0 * sum(term.reference() for term in self.terms)

    def entries_for(
        self, factors: Sequence[np.ndarray], mode: int, dense: bool = False
    ) -> tuple[Entries, np.ndarray]:
        """Return the entries of all terms of a factor side by side, and what they are multiplied with.

        For counts a weight is a factor of data and model alike.
        """
        dense = dense or any(term.data.weighted for term, *_ in self.of(mode))
        entries_for = [
            (term.weight, *term.data.entries_for(term.modes(factors), own, dense))
            for term, own, _ in self.of(mode)
        ]
        if mode not in self._beside:
            self._beside[mode] = side_by_side(
                [(weight, entries) for weight, entries, _ in entries_for]
            )
        return self._beside[mode], np.vstack([weight * Z for weight, _, Z in entries_for])


def side_by_side(parts: Sequence[tuple[float, Entries]]) -> Entries:
    """Return entries of as many rows each, times a number each, as those of one matrix.

    Examples
    --------
    >>> one = DenseEntries(np.array([[3.0, 5.0]]))
    >>> side_by_side([(1.0, one), (2.0, one)]).x
    array([[ 3.,  5.,  6., 10.]])
    """
    everything = [entries for _, entries in parts]
    if any(isinstance(entries, SparseEntries) for entries in everything):
        counts = [
            size * sparse.csr_array(getattr(entries, "X", entries.x)) for size, entries in parts
        ]
        return SparseEntries(sparse.csr_array(sparse.hstack(counts)))
    weights = [np.ones(e.shape) if e.weights is None else e.weights for e in everything]
    given = any(entries.weights is not None for entries in everything)
    x = np.hstack([size * entries.x for size, entries in parts])
    return DenseEntries(x, np.hstack(weights) if given else None)


class FusedLoss(Loss):
    """The weighted sum of the losses of all terms.

    Parameters
    ----------
    shared : Loss, optional
        That of all terms, where they are likelihoods of counts: these are then one, of all data side by side. Else
        every term asks by a square.
    """

    in_words = "the weighted sum of the losses of all terms"

    def __init__(self, shared: Loss | None = None) -> None:
        self.shared = shared
        self.makes = shared.makes if shared else Quadratic

    def reference(self, data: Any) -> float:
        return sum(term.reference() for term in data.terms)

    def subproblem(self, data: Any, factors: Sequence[np.ndarray], mode: int) -> Any:
        if self.shared:
            return self.shared.subproblem(data, factors, mode)
        places = data.of(mode)
        square = added([term.subproblem(factors, own, summand) for term, own, summand in places])
        concerned = list({id(term): term for term, *_ in places}.values())
        if not any(term.is_curved for term in concerned):
            return square
        before, after = list(factors[:mode]), list(factors[mode + 1 :])

        def misfit(F: np.ndarray) -> float:
            return sum(term.misfit([*before, F, *after]) for term in concerned)

        return Touching(
            square.G, square.H, square.lower, square.upper, square=square, misfit=misfit
        )

    def misfit(
        self, data: Any, factors: Sequence[np.ndarray], mode: int = 0, subproblem: Any = None
    ) -> float:
        return sum(term.misfit(factors) for term in data.terms)


def added(terms: Sequence[Quadratic]) -> Quadratic:
    """Return the sum of quadratic problems of one factor.

    Examples
    --------
    >>> both = added([Quadratic(np.eye(1), np.ones((2, 1))), Quadratic(np.eye(1), np.ones((2, 1)))])
    >>> both.G, both.H.T
    (array([[2.]]), array([[2., 2.]]))
    """
    if len(terms) == 1:
        return terms[0]
    G = [t.G if t.row_weights is None else t.row_weights[:, None, None] * t.G for t in terms]
    H = [term.weights * term.H for term in terms]
    lower = reduce(np.maximum, [term.lower for term in terms])
    return Quadratic(reduce(np.add, G), reduce(np.add, H), lower, np.inf)
