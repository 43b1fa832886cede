"""What a solver is given instead of the data: the problem of one factor, and what weights are worth in it.

``F`` (n, k) is the factor to improve. Losses make subproblems, penalties add to them, solvers solve them; none
imports another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from endmember.factor.data.grid import Grid

#: An array of bounds, or one bound for every entry.
Bound = np.ndarray | float
#: The square that stands in for a cost that falls with the length of a column bends so much more than its slope.
STEEP = 4.0


@dataclass(frozen=True)
class Noise:
    """What noise does in the data, in the metric of the loss.

    Attributes
    ----------
    variance : float
        Of an entry, averaged over the data.
    edge : float
        The squared singular value that noise alone does not exceed.
    directions : int
        How many singular values of the data do.
    """

    variance: float
    edge: float
    directions: int


@dataclass(frozen=True)
class Setting:
    r"""What makes a dimensionless weight the right size for one factor, fixed once for a whole fit.

    Attributes
    ----------
    curvature : float
        The mean curvature of the misfit in one entry of the factor, ``trace(G) / k``.
    peak : float
        The largest slope of the misfit at an empty factor, ``max |H|``.
    grid : Grid
        Where the rows of the factor lie in their image or along their axis.
    noise : Noise, optional
        Measured where a penalty asks for it.
    typical : float
        The mean entry of the factor if all components were alike and flat, with other factors of unit
        length.
    size : float
        The length of the data in the metric of the misfit, :math:`\sqrt{2 D(X\|0)}`.
    strength : float
        The mean squared length of a component in the data: the curvature times that of the columns.
    """

    curvature: float
    peak: float
    grid: Grid
    noise: Noise | None = None
    typical: float = 1.0
    size: float = 1.0
    strength: float = 1.0


#: The proximal step of a penalty: from a factor, a step length and a setting to a factor.
ProximalStep = Callable[[np.ndarray, float, "Setting | None"], np.ndarray]


class Subproblem(ABC):
    """The problem of one factor with the others fixed, between bounds.

    Attributes
    ----------
    lower, upper : float or ndarray, broadcastable to (n, k)
        Bounds on ``F``; ``-inf`` and ``inf`` where there is none.
    """

    lower: Bound
    upper: Bound
    #: The weight of every row, (n,); None where all are 1.
    row_weights: np.ndarray | None = None
    #: Whether it is a sum of squares.
    squares = True
    #: The size of weights and the places of the rows; None where no penalty asks for them.
    setting: Setting | None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(n, k)``."""

    @abstractmethod
    def add_linear(self, A: np.ndarray | float) -> None:
        """Add ``⟨A, F⟩`` to the objective; ``A`` is broadcastable to (n, k)."""

    @abstractmethod
    def add_quadratic(self, W: np.ndarray | float) -> None:
        """Add ``½⟨F W, F⟩``; ``W`` (k, k), or one number for that times the identity."""

    @abstractmethod
    def optimality(self, F: np.ndarray, steps: Sequence[ProximalStep] = ()) -> float:
        """Return the unit-free Karush-Kuhn-Tucker residual at ``F``: 0 at a stationary point.

        ``steps`` are those of penalties that know their proximal step alone.
        """

    @abstractmethod
    def curvature(self, F: np.ndarray) -> float:
        """Return the mean curvature of the misfit in one entry."""

    @abstractmethod
    def peak(self, F: np.ndarray) -> float:
        """Return the largest slope of the misfit at an empty factor."""

    @abstractmethod
    def add_costs_elsewhere(self, q: np.ndarray, F: np.ndarray) -> None:
        r"""Add what the length of every column costs elsewhere: ``q`` (k,) with each e-fold of it at ``F``.

        Costs that grow at most with the square of a length lie below :math:`\tfrac12 q\,\|f\|^2 / \|f_0\|^2`; those
        that fall with it, near ``F``, below a square about ``F``.
        """

    def set_column(self, F: np.ndarray, j: int, column: np.ndarray) -> None:
        """Put a column (n,) into ``F``, in place."""
        F[:, j] = column

    def improved_by(self, solver: Any, F: np.ndarray, n_others: int, **options: Any) -> np.ndarray:
        """Return a better ``F``, which a solver finds with the options of its ``improve``."""
        return np.asarray(solver.improve(self, F, n_others, **options))

    def clip(self, F: np.ndarray) -> np.ndarray:
        """Return the point of the feasible box nearest to ``F``."""
        return np.clip(F, self.lower, self.upper)


def square_of_costs(q: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the curvature and the slope of the squares that stand in for costs of the length of columns, both (k,)."""
    q = q / np.where(size > 0, size, 1.0) ** 2
    falling = np.maximum(-q, 0.0)
    return np.maximum(q, 0.0) + STEEP * falling, (1.0 + STEEP) * falling
