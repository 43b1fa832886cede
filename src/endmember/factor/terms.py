r"""One term of a fusion: a data set, its loss and weight, and which factors its modes are made from.

Every mode of the data has a slot, the sum of factors that stands for it:
:math:`E = \sum_s P_s F_s` with known matrices :math:`P_s`, the identity unless given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from endmember.factor.data import Data
from endmember.factor.losses import Loss
from endmember.factor.subproblem import Quadratic, Ratio, times_gram


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
