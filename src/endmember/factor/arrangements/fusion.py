r"""Several data sets as one: their terms add up in the problem of every factor.

With the sum of all other summands :math:`R` and :math:`Z` made from the other factors of a term,

.. math:: G = \sum_t \lambda_t Z_t^\top Z_t,\qquad H = \sum_t \lambda_t (X_t Z_t - R_t Z_t^\top Z_t)

so penalties and solvers work as they do on a single data set. A divergence takes part by the square that
touches it (:class:`Local`).

Every mode of a data set has a slot, the sum of factors that stands for it: :math:`E = \sum_s P_s F_s` with known
matrices :math:`P_s`, the identity unless given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from endmember.factor.data.in_memory import Data
from endmember.factor.losses import Loss
from endmember.factor.penalties import offers
from endmember.factor.scale.carriers import Scales
from endmember.factor.solvers import Solver
from endmember.factor.solvers.base import Memory
from endmember.factor.subproblems.base import Subproblem
from endmember.factor.subproblems.quadratic import Quadratic, times_gram
from endmember.factor.subproblems.ratio import Counted, Ratio

#: A square is made steeper by this factor until it lies above the divergence, so often at most.
STEEPER, TRIALS = 4.0, 20
#: What penalties do beside adding to the square.
STEPS = {"column", "prox", "project", "norm"}
#: Differences below this fraction of the misfit are rounding.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Summand:
    """One factor in a slot, by its number, and the known matrix (rows of the data, rows of the factor) before it."""

    factor: int
    matrix: Any = None
    #: The largest squared singular value of the matrix.
    bound: float = 1.0

    def __call__(self, F: np.ndarray) -> np.ndarray:
        return F if self.matrix is None else np.asarray(self.matrix @ F)


@dataclass(frozen=True)
class Slot:
    """The sum of factors that one mode of the data is made from.

    ``held`` says that the sum must not fall below zero though a summand may.
    """

    summands: tuple[Summand, ...]
    held: bool = False

    def __call__(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        first, *others = self.summands
        total = first(factors[first.factor])
        for summand in others:
            total = total + summand(factors[summand.factor])
        return total

    def rest(self, factors: Sequence[np.ndarray], without: Summand) -> np.ndarray | None:
        """Return the sum of all other summands, or None where there are none."""
        others = tuple(summand for summand in self.summands if summand is not without)
        return Slot(others)(factors) if others else None


@dataclass(frozen=True)
class Pull:
    r"""What one term asks of one factor: :math:`\tfrac12\langle F G, F\rangle - \langle F, H\rangle`.

    A divergence asks it by the square that touches it, or for itself.

    ``rest`` is what the other summands of a held sum leave as lower bound, ``-rest``.
    """

    subproblem: Quadratic | Ratio
    rest: np.ndarray | None = None


@dataclass
class Part:
    """One term of a fusion.

    Attributes
    ----------
    data : Data
    loss : Loss
    weight : float
        What its misfit is multiplied with.
    slots : list of Slot
        One a mode of the data.
    directly : bool
        Whether a divergence is asked for itself, not for the square that touches it.
    """

    data: Data
    loss: Loss
    weight: float
    slots: Sequence[Slot]
    directly: bool = False
    _known: dict[int, tuple[list[np.ndarray], Quadratic]] = field(default_factory=dict)

    @property
    def is_curved(self) -> bool:
        """Whether the loss is no square, and is met by squares that touch it."""
        return self.loss.needs == "entries" and not self.directly

    def modes(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the matrix of every mode of the data, summed up from the factors."""
        return [slot(factors) for slot in self.slots]

    def places(self, factor: int) -> Iterator[tuple[int, Summand]]:
        """Yield ``(slot number, summand)`` wherever a factor stands in this term."""
        for number, slot in enumerate(self.slots):
            for summand in slot.summands:
                if summand.factor == factor:
                    yield number, summand

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        """Return the weighted loss of the term."""
        modes = self.modes(factors)
        if self.loss.needs == "entries":
            return self.weight * self.loss.misfit(self.data, modes)
        slot = next((s for s in self._known if self._is_current(modes, s)), 0)
        plain = self._plain(modes, slot)
        return self.weight * self.loss.misfit(self.data, modes, slot, plain)

    def reference(self) -> float:
        """Return the weighted loss of a trivial model."""
        return self.weight * self.loss.reference(self.data)

    def pull(self, factors: Sequence[np.ndarray], number: int, summand: Summand) -> Pull:
        """Return what the term asks of the factor of one summand with everything else fixed."""
        modes, slot = self.modes(factors), self.slots[number]
        if self.directly:
            return Pull(self.loss.subproblem(self.data, modes, number))
        rest = slot.rest(factors, summand)
        plain = self._plain(modes, number)
        if summand.matrix is None:
            H = plain.H if rest is None else plain.H - times_gram(rest, plain.G)
            quadratic = Quadratic(plain.G, H, -np.inf, np.inf, plain.row_weights)
        else:
            quadratic = _majorised(plain, modes[number], summand, factors[summand.factor])
        quadratic.G, quadratic.H = self.weight * quadratic.G, self.weight * quadratic.H
        return Pull(quadratic, rest if slot.held else None)

    def scale(self, factors: Sequence[np.ndarray]) -> float:
        """Return by what the model must be multiplied to be nearest to the data in squared error."""
        modes = self.modes(factors)
        F = modes[0]
        H, G = self.data.contract(modes, 0), self.data.gram(modes, 0)
        weights = self.data.row_weights(0)
        across = np.sum(F * H, axis=1)
        along = np.sum(F * times_gram(F, G), axis=1)
        if weights is not None:
            across, along = weights * across, weights * along
        return max(float(across.sum() / max(along.sum(), 1e-300)), 0.0)

    def _plain(self, modes: Sequence[np.ndarray], slot: int) -> Quadratic:
        """Return the subproblem of one mode of the data; kept, as all summands share it."""
        if self.loss.needs == "entries":
            return self.loss.touching(self.data, modes, slot)
        if not self._is_current(modes, slot):
            others = [M for number, M in enumerate(modes) if number != slot]
            self._known[slot] = others, self.loss.subproblem(self.data, modes, slot)
        return self._known[slot][1]

    def _is_current(self, modes: Sequence[np.ndarray], slot: int) -> bool:
        if slot not in self._known:
            return False
        others = [M for number, M in enumerate(modes) if number != slot]
        return all(map(np.array_equal, others, self._known[slot][0]))


def _majorised(plain: Quadratic, E: np.ndarray, summand: Summand, F: np.ndarray) -> Quadratic:
    r"""Return a problem that touches that of ``F`` in ``P F`` and lies above it: its Gram is :math:`\sigma^2(P)\,G`."""
    slope = plain.gradient(E)
    G = plain.G
    if plain.row_weights is not None or G.ndim == 3:
        weights = np.ones(len(E)) if plain.row_weights is None else plain.row_weights
        slope = weights[:, None] * slope
        steepest = np.max(weights * np.linalg.eigvalsh(G)[..., -1])
        G = steepest * np.eye(E.shape[1])
    G = summand.bound * G
    return Quadratic(G, F @ G - np.asarray(summand.matrix.T @ slope), -np.inf, np.inf)


class SummedCounts(Counted):
    r"""Minimise :math:`\sum_t \lambda_t D(X_t, F Z_t^\top)`: numerators, denominators and curvatures add up.

    Parameters
    ----------
    terms : sequence of Counted
        Problems of one and the same factor.
    weights : sequence of float
        What each is multiplied with.

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> from endmember.factor.losses import Poisson
    >>> F, Z = np.ones((1, 1)), np.ones((2, 1))
    >>> one = Poisson().subproblem(Dense(np.array([[3.0, 5.0]])), [F, Z], 0)
    >>> [part.tolist() for part in SummedCounts([one, one], [1.0, 2.0]).parts(F)]
    [[[24.0]], [[6.0]]]
    """

    def __init__(self, terms: Sequence[Counted], weights: Sequence[float]) -> None:
        super().__init__(terms[0].shape, 1.0)
        self.terms, self.weights = list(terms), list(weights)
        self.Z = np.vstack([w * term.Z for w, term in zip(weights, terms, strict=True)])

    def parts(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._pair([term.parts(F) for term in self.terms])

    def curvatures(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._pair([term.curvatures(F) for term in self.terms])

    def fall(self, F: np.ndarray, step: np.ndarray) -> np.ndarray:
        return np.asarray(np.max([term.fall(F, step) for term in self.terms], axis=0))

    def weighted(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        return self._pair([term.weighted(F, j) for term in self.terms])

    def rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        return self._sum([term.rise(F, j, step) for term in self.terms])

    def move(self, F: np.ndarray, j: int, step: np.ndarray) -> None:
        before = F[:, j].copy()
        for term in self.terms:
            # Each term moves the column; all start from where it was.
            F[:, j] = before
            term.move(F, j, step)

    def some_rows(self, F: np.ndarray, rows: slice) -> SummedCounts:
        return SummedCounts([term.some_rows(F, rows) for term in self.terms], self.weights)

    def everywhere(self) -> np.ndarray:
        return self._sum([term.everywhere() for term in self.terms])

    def counts(self) -> None:
        return None

    def curvature(self, F: np.ndarray | None = None) -> float:
        return float(self._sum([np.asarray(term.curvature(F)) for term in self.terms]))

    def peak(self, F: np.ndarray | None = None) -> float:
        return float(self._sum([np.asarray(term.peak(F)) for term in self.terms]))

    def _sum(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(sum(w * A for w, A in zip(self.weights, arrays, strict=True)))

    def _pair(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        first, second = zip(*pairs, strict=True)
        return self._sum(first), self._sum(second)


@dataclass
class Local(Quadratic):
    """A quadratic problem that stands in for another near one point.

    Attributes
    ----------
    own_G, own_H : ndarray
        The square as the data made it, before penalties added to it.
    misfit : callable
        The misfit itself, of any ``F``.
    """

    own_G: Any = None
    own_H: Any = None
    misfit: Callable[[np.ndarray], float] = lambda F: 0.0

    def steeper(self, F: np.ndarray, times: float) -> Local:
        """Return the problem with the square bent ``times`` as much, about the same point and slope."""
        more = (times - 1.0) * self.own_G
        return replace(self, G=self.G + more, H=self.H + times_gram(F, more))

    def is_above(self, F: np.ndarray, new: np.ndarray, times: float, start: float) -> bool:
        """Tell whether the square, bent ``times`` as much, is no lower than the misfit at ``new``."""
        step = new - F
        slope = np.sum(step * (times_gram(F, self.own_G) - self.own_H))
        bend = 0.5 * np.sum(step * times_gram(step, self.own_G))
        allowed = start + slope + times * bend
        return bool(self.misfit(new) <= allowed + ROUNDING * abs(start))


class Cautious(Solver):
    """A solver whose step counts only where the square it minimised lies above the misfit.

    Parameters
    ----------
    solver : Solver
        What minimises the squares.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.obeys, self.monotone = solver.obeys, solver.monotone

    def improve(
        self,
        subproblem: Any,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        """Return a better ``F``, or the same where every step made it worse."""
        if not isinstance(subproblem, Local):
            return self.solver.improve(subproblem, F, n_others, penalties=penalties, memory=memory)
        memory = {} if memory is None else memory
        start, times = subproblem.misfit(F), max(1.0, memory.get("times", 1.0) / STEEPER)
        for _ in range(TRIALS):
            bent = subproblem.steeper(F, times)
            new = self.solver.improve(bent, F, n_others, penalties=penalties, memory=memory)
            # Where penalties act by steps of their own, the square alone need not fall.
            falls = any(offers(p) & STEPS for p in penalties) or bent.value(new) <= bent.value(F)
            if falls and subproblem.is_above(F, new, times, start):
                memory["times"] = times
                return new
            times *= STEEPER
        return F


class Fused:
    """Terms that share factors, as the loop sees them.

    Parameters
    ----------
    parts : sequence of Part
    shape : sequence of int
        The number of rows of every factor.
    scales : Scales
        Who carries the scale of every component.
    """

    componentwise = False
    weighted = False

    def __init__(self, parts: Sequence[Part], shape: Sequence[int], scales: Scales) -> None:
        self.parts, self.shape, self.scales = list(parts), tuple(shape), scales

    def own_scales(self) -> Scales:
        """Return who carries the scale."""
        return self.scales

    @property
    def size(self) -> int:
        """The number of entries of all terms."""
        return sum(part.data.size for part in self.parts)

    def shares(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the length of every component as a fraction of the longest, in the term where it is most, (k,)."""
        return np.max([part.data.shares(part.modes(factors)) for part in self.parts], axis=0)

    def row_weights(self, mode: int) -> None:
        """Return None: weights of pixels and channels are inside the terms."""

    def halves(self) -> None:
        """Return None: terms are not compressed as one."""

    def n_others(self, mode: int) -> int:
        """Return how many entries each row of a factor is made from."""
        sizes = [
            int(np.prod(part.data.shape, dtype=np.int64)) // max(self.shape[mode], 1)
            for part in self.parts
            if any(part.places(mode))
        ]
        return max(1, sum(sizes))

    @property
    def squared_norm(self) -> float:
        """The sum of the squared lengths of all data in the metric of their losses."""
        return 2.0 * sum(part.reference() for part in self.parts)


class FusedLoss(Loss):
    """The weighted sum of the losses of all terms.

    Parameters
    ----------
    makes : type
        ``Counted`` where all terms are Poisson likelihoods that are asked directly, else ``Quadratic``.
    """

    in_words = "the weighted sum of the losses of all terms"

    def __init__(self, makes: type[Subproblem] = Quadratic) -> None:
        self.makes = makes

    def reference(self, data: Any) -> float:
        return sum(part.reference() for part in data.parts)

    def subproblem(self, data: Any, factors: Sequence[np.ndarray], mode: int) -> Any:
        if self.makes is Counted:
            asked = [(part, place) for part in data.parts for place in part.places(mode)]
            terms = [part.pull(factors, *place).subproblem for part, place in asked]
            return SummedCounts(terms, [part.weight for part, _ in asked])
        pulls, concerned = [], []
        for part in data.parts:
            found = [part.pull(factors, n, summand) for n, summand in part.places(mode)]
            pulls += found
            concerned += [part] if found else []
        combined = added([pull.subproblem for pull in pulls])
        floors = [-pull.rest for pull in pulls if pull.rest is not None]
        if floors:
            combined.lower = np.max(floors, axis=0)
        if not any(part.is_curved for part in concerned):
            return combined
        before, after = list(factors[:mode]), list(factors[mode + 1 :])

        def misfit(F: np.ndarray) -> float:
            return sum(part.misfit([*before, F, *after]) for part in concerned)

        return Local(
            combined.G, combined.H, combined.lower, combined.upper,
            own_G=combined.G, own_H=combined.H, misfit=misfit,
        )  # fmt: skip

    def misfit(
        self, data: Any, factors: Sequence[np.ndarray], mode: int = 0, subproblem: Any = None
    ) -> float:
        return sum(part.misfit(factors) for part in data.parts)


def added(terms: Sequence[Quadratic]) -> Quadratic:
    """Return the sum of quadratic problems of one factor.

    Examples
    --------
    >>> both = added([Quadratic(np.eye(1), np.ones((2, 1))), Quadratic(np.eye(1), np.ones((2, 1)))])
    >>> both.G, both.H.T
    (array([[2.]]), array([[2., 2.]]))
    """
    if len(terms) == 1:
        (only,) = terms
        return Quadratic(only.G, only.H, -np.inf, np.inf, only.row_weights)
    G: Any = 0.0
    H: Any = 0.0
    for term in terms:
        weights = term.row_weights
        if weights is None:
            G, H = np.asarray(G + term.G), H + term.H
        else:
            G = np.asarray(G + weights[:, None, None] * term.G)
            H = H + weights[:, None] * term.H
    return Quadratic(G, H, -np.inf, np.inf)
