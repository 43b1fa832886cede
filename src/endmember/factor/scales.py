"""Which factor carries the scale of each component."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from endmember.factor.penalties import Penalty


class Carriers(ABC):
    """Who carries the scale of each component: which columns have unit length, and who follows."""

    row_weights: Sequence[np.ndarray | None]

    @abstractmethod
    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the columns that want it unit length and their scale to the others, in place."""

    @abstractmethod
    def sphere(self, mode: int) -> np.ndarray:
        """Return for each column whether it must find its direction at the present scale, (k,) bool."""

    def balanced(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors with every column as long as it will be in the fit."""
        factors = [np.array(F, dtype=np.float64) for F in factors]
        for mode in range(len(factors)):
            self.balance(factors, mode)
        return factors

    def on_sphere(self, mode: int) -> bool:
        """Tell whether some columns of a factor must find their direction at the present scale."""
        return bool(self.sphere(mode).any())


class Scales(Carriers):
    """Which factor carries the scale of each component, so that it cannot flee from a penalty.

    A factor whose penalties charge for its size, or fix it, keeps its scale; the others then have
    columns of unit length. With no such penalty the first factor carries the scale.

    Attributes
    ----------
    unit : ndarray of bool, (modes, k)
        Where a column has unit length.
    charged : ndarray of bool, (modes,)
        Whether moving scale into this factor changes the objective.
    """

    def __init__(
        self,
        penalties: Sequence[Sequence[Penalty]],
        k: int,
        row_weights: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        self.row_weights = row_weights or [None] * len(penalties)
        fixed = np.array([_any_fixes(wishes, k) for wishes in penalties])
        unit = np.array([any(p.wants_unit for p in wishes) for wishes in penalties])
        self.charged = np.array([any(p.has_scale for p in wishes) for wishes in penalties]) & ~unit
        pinned = fixed | self.charged[:, None]
        for mode, wishes in enumerate(penalties):
            if any(p.wants_unit for p in wishes):
                pinned[np.arange(len(pinned)) != mode] = True
        self.directed = np.array([any(p.on_sphere for p in wishes) for wishes in penalties])
        # A factor that pins the scale carries it; failing that the first that is free to.
        self.carrier = np.argmax(2 * pinned + ~self.directed[:, None], axis=0)
        n_modes = len(pinned)
        self.unit = ~pinned & (np.arange(n_modes)[:, None] != self.carrier) & ~fixed.any(axis=0)

    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the columns that want it unit length and their scale to the carrier, in place."""
        columns = np.flatnonzero(self.unit[mode])
        if len(columns) == 0:
            return
        size = lengths(factors[mode][:, columns], self.row_weights[mode])
        size[size == 0] = 1.0
        scale = np.ones(self.unit.shape[1])
        scale[columns] = size
        factors[mode] = factors[mode] / scale
        for carrier in set(self.carrier[columns]):
            factors[carrier] = factors[carrier] * np.where(self.carrier == carrier, scale, 1.0)

    def sphere(self, mode: int) -> np.ndarray:
        """Return for each component whether its column must find its direction at the present scale, (k,) bool."""
        return self.unit[mode] & (self.charged[self.carrier] | self.directed[mode])


def lengths(F: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
    """Return the length of every column, as the misfit measures it."""
    if row_weights is None:
        return np.linalg.norm(F, axis=0)
    return np.sqrt(row_weights @ F**2)


def _any_fixes(wishes: Sequence[Penalty], k: int) -> np.ndarray:
    return np.any([penalty.fixes_scale(k) for penalty in wishes] or [np.zeros(k, bool)], axis=0)
