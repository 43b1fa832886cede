"""What a solver is given instead of the data: the problem of one factor, and what weights are worth in it.

``F`` (n, k) is the factor to improve. Losses make subproblems, penalties add to them, solvers solve them; none
imports another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from endmember.factor.columns import lengths, or_one
from endmember.factor.data import Entries, Grid

#: An array of bounds, or one bound for every entry.
Bound = np.ndarray | float
#: The square that stands in for a cost that falls with the length of a column bends so much more than its slope.
STEEP = 4.0
#: A column no longer than this has vanished; its square is still a number.
VANISHED = 1e-75
#: A model value is never taken for less than this fraction of the mean datum.
FLOOR = 1e-16


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

    @property
    def weights(self) -> np.ndarray | float:
        """The weight of every row, (n, 1); 1 where all are."""
        return 1.0 if self.row_weights is None else self.row_weights[:, None]

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
    q = q / or_one(np.where(size > VANISHED, size, 0.0)) ** 2
    falling = np.maximum(-q, 0.0)
    return np.maximum(q, 0.0) + STEEP * falling, (1.0 + STEEP) * falling


def times_gram(F: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Multiply every row of ``F`` (n, k) with one Gram matrix (k, k) or its own (n, k, k)."""
    return F @ G if G.ndim == 2 else np.einsum("ik,ikl->il", F, G)


@dataclass
class Quadratic(Subproblem):
    r"""Minimise :math:`\sum_i r_i(\tfrac12 f_i G f_i^\top - f_i h_i^\top)` between bounds.

    Parameters
    ----------
    G : ndarray, (k, k) or (n, k, k)
        Symmetric positive semi-definite; one matrix for all rows, or one a row (entry-wise
        weights).
    H : ndarray, (n, k)
        The linear term.
    lower, upper : float or ndarray, broadcastable to (n, k)
        Bounds on ``F``; ``-inf`` and ``inf`` where there is none.
    row_weights : ndarray, (n,), optional
        ``r``, positive; 1 unless given. Rows do not interact, so only what a penalty adds feels it.

    Examples
    --------
    >>> sub = Quadratic(np.eye(2), np.array([[3.0, -1.0]]))
    >>> sub.clip(np.array([[3.0, -1.0]]))
    array([[3., 0.]])
    """

    G: np.ndarray
    H: np.ndarray
    lower: Bound = 0.0
    upper: Bound = np.inf
    row_weights: np.ndarray | None = None
    setting: Setting | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.H.shape[0], self.H.shape[1]

    def value(self, F: np.ndarray) -> float:
        """Return the objective at ``F``."""
        rows = np.einsum("ik,ik->i", F, 0.5 * times_gram(F, self.G) - self.H)
        return float(rows.sum() if self.row_weights is None else rows @ self.row_weights)

    def gradient(self, F: np.ndarray) -> np.ndarray:
        """Return ``F G − H``, (n, k): the gradient but for the weight of each row."""
        return times_gram(F, self.G) - self.H

    def bend(self, F: np.ndarray) -> np.ndarray:
        """Return the curvature but for the weight of each row: ``G``, (k, k) or (n, k, k)."""
        return self.G

    def of_column(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Return slope and curvature in column ``j``, but for the weight of each row: (n,), and (n,) or ()."""
        G = self.G[..., j]
        return (F @ G if G.ndim == 1 else np.einsum("ik,ik->i", F, G)) - self.H[:, j], G[..., j]

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of ``G``: (k,), or (n, k) where every row has its own."""
        return np.diagonal(self.G, axis1=-2, axis2=-1)

    def add_costs_elsewhere(self, q: np.ndarray, F: np.ndarray) -> None:
        curvature, slope = square_of_costs(q, lengths(F, self.row_weights))
        self.G = self.G + np.diag(curvature)
        self.H = self.H + F * slope

    def add_linear(self, A: np.ndarray | float) -> None:
        self.H = self.H - A / self.weights

    def add_quadratic(self, W: np.ndarray | float) -> None:
        matrix = np.asarray(W) * np.eye(self.shape[1]) if np.ndim(W) == 0 else np.asarray(W)
        weights = 1.0 if self.row_weights is None else self.row_weights[:, None, None]
        self.G = self.G + matrix / weights

    def curvature(self, F: np.ndarray | None = None) -> float:
        """Return ``trace(G) / k``, averaged over the rows."""
        return float(np.mean(self.weights * self.diagonal()))

    def slope_into_box(self) -> np.ndarray:
        """Return the slope of the misfit that drives an empty factor into its box, (n, k)."""
        H = self.weights * self.H
        least, most = np.less(self.lower, 0), np.greater(self.upper, 0)
        return np.where(most, np.maximum(H, 0.0), 0.0) + np.where(least, np.minimum(H, 0.0), 0.0)

    def peak(self, F: np.ndarray | None = None) -> float:
        """Return the largest slope at ``F = 0``, ``max |r H|``."""
        return float(np.max(np.abs(self.weights * self.H), initial=0.0))

    def optimality(self, F: np.ndarray, steps: Sequence[ProximalStep] = ()) -> float:
        r"""Return :math:`\|F - [F - \nabla]_{\rm box}\| / \|F\|`.

        Columns are measured as if the other factors had columns of unit length, which makes ``F``
        and its gradient comparable; the scale of the data plays no part. Penalties that know their proximal
        step take it between the gradient's and the box, :math:`[{\rm prox}(F - \nabla)]_{\rm box}`: what
        they bear of the gradient, as a given sum does, is no residual.
        """
        curvature = or_one(self.diagonal())
        unit = np.sqrt(curvature)
        if steps:
            curvature = np.max(curvature)
        moved = F - self.gradient(F) / curvature
        for prox in steps:
            moved = prox(moved, float(1.0 / curvature), self.setting)
        residual = F - self.clip(moved)
        size = np.linalg.norm(F * unit)
        return float(np.linalg.norm(residual * unit) / size) if size > 0 else 0.0


class Ratio(Subproblem):
    r"""Minimise a divergence whose gradient is a difference of two non-negative parts.

    :math:`\nabla = D - N` with the numerator :math:`N = (X \circ V^{\beta-2}) Z` and the denominator
    :math:`D = V^{\beta-1} Z`, where :math:`V = F Z^\top` follows ``F``.

    Parameters
    ----------
    entries : Entries, (n, m)
        Of the data.
    Z : ndarray, (m, k)
        The other factor.
    F : ndarray, (n, k)
        Where it is asked first.
    beta : float
        The divergence: 1 Poisson (Kullback-Leibler), 2 Euclid, 0 Itakura-Saito.

    Attributes
    ----------
    linear : ndarray or float
        What penalties add to the gradient.
    quadratic : ndarray, (k, k)
        What penalties add to the curvature.
    """

    squares = False

    def __init__(self, entries: Entries, Z: np.ndarray, F: np.ndarray, beta: float) -> None:
        self.entries, self.Z, self.beta, self.floor = entries, Z, beta, floor_of(entries)
        self.lower, self.upper, self.setting = 0.0, np.inf, None
        self.linear: np.ndarray | float = 0.0
        self.quadratic = np.zeros((Z.shape[1], Z.shape[1]))
        self._at, self._V = F, np.empty(0)
        self._parts: tuple[np.ndarray, np.ndarray] | None = None
        self._follows: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.entries.shape[0], self.Z.shape[1]

    def parts(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numerator and the denominator of the misfit at ``F``, both (n, k)."""
        if self._parts is None or F is not self._at:
            self._at, self._parts = F, self._parts_at(F)
        return self._parts

    def _parts_at(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        entries, Z, V = self.entries, self.Z, self._model(F)
        up, down = entries.x * V ** (self.beta - 2), V ** (self.beta - 1)
        return entries.dot(up, Z), entries.dot(down, Z)

    def _model(self, F: np.ndarray) -> np.ndarray:
        return np.maximum(self.entries.model(F, self.Z), self.floor)

    def of_column(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        r"""Return slope and curvature of the weighted squares that stand in for the objective in a column, (n,) each.

        The weights are :math:`V^{\beta-2}`, so the curvature :math:`\sum_j v_{ij}^{\beta-2} z_j^2` is
        positive wherever ``z`` is.
        """
        slope, curvature = self._weighted(F, j)
        return slope + self._slope_of_penalties(F, j), curvature + self.quadratic[j, j]

    def _slope_of_penalties(self, F: np.ndarray, j: int) -> np.ndarray:
        return np.broadcast_to(self.linear, F.shape)[:, j] + F @ self.quadratic[:, j]

    def _weighted(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        V, x, z = self._followed(F), self.entries.x, self.Z[:, j]
        weights = V ** (self.beta - 2)
        return self.entries.dot((V - x) * weights, z), self.entries.dot(weights, z**2)

    def rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        """Return by how much the objective of every row rises with ``step`` (n,) added to column ``j``, (n,)."""
        bend = 0.5 * self.quadratic[j, j] * step
        change = np.zeros(F.shape)
        change[:, j] = step
        V, model = self._followed(F), self.entries.model(step[:, None], self.Z[:, j : j + 1])
        own = self._risen(V, np.maximum(V + model, self.floor), change)
        return own + step * (self._slope_of_penalties(F, j) + bend)

    def rise_along(self, F: np.ndarray, step: np.ndarray) -> Callable[[float], float]:
        """Return by how much the objective rises with ``t`` times a step (n, k), as a function of t."""
        V, change = self._followed(F), self.entries.model(step, self.Z)
        slope = np.sum(step * (self.linear + F @ self.quadratic))
        bend = 0.5 * np.sum(step * (step @ self.quadratic))

        def rise(t: float) -> float:
            own = self._risen(V, np.maximum(V + t * change, self.floor), t * step)
            return float(np.sum(own) + t * slope + t**2 * bend)

        return rise

    def bend(self, F: np.ndarray) -> np.ndarray:
        r"""Return a curvature in every row, (n, k, k): that of misfit and penalties for Poisson.

        Of entries :math:`v^{\beta-2}(\max(\beta - 1, 0) + \max(2 - \beta, 0)\,x / v)`.
        """
        V, Z, beta, k = self._followed(F), self.Z, self.beta, self.shape[1]
        values = V ** (beta - 2) * (max(beta - 1, 0.0) + max(2 - beta, 0.0) * self.entries.x / V)
        products = (Z[:, :, None] * Z[:, None]).reshape(-1, k * k)
        return self.entries.dot(values, products).reshape(-1, k, k) + self.quadratic

    def _risen(self, V: np.ndarray, moved: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return by how much the misfit of every row rises from one model to another, by a change of ``F``."""
        x, beta = self.entries.x, self.beta
        if beta == 0:
            terms = np.log(moved / V) + x / moved - x / V
        else:
            powers = (moved ** (beta - 1) - V ** (beta - 1)) / (beta - 1)
            terms = (moved**beta - V**beta) / beta - x * powers
        return self.entries.dot(terms, np.ones(self.entries.shape[1]))

    def set_column(self, F: np.ndarray, j: int, column: np.ndarray) -> None:
        """Put a column (n,) into ``F``, in place, and let ``V`` follow."""
        self._followed(F)
        self._V += self.entries.model((column - F[:, j])[:, None], self.Z[:, j : j + 1])
        F[:, j], self._parts = column, None

    def _followed(self, F: np.ndarray) -> np.ndarray:
        """Return the model at an ``F`` that changes by :meth:`set_column` only."""
        if F is not self._follows:
            self._V, self._follows = self.entries.model(F, self.Z), F
        return np.maximum(self._V, self.floor)

    def curvature(self, F: np.ndarray) -> float:
        mean = float(np.mean(F))
        return float(np.mean(self.parts(F)[1])) / mean if mean > 0 else 1.0

    def peak(self, F: np.ndarray) -> float:
        return float(np.max(self.parts(F)[1], initial=0.0))

    def gradient(self, F: np.ndarray) -> np.ndarray:
        """Return the gradient of misfit and penalties, (n, k)."""
        numerator, denominator = self.parts(F)
        return denominator - numerator + self.linear + F @ self.quadratic

    def add_costs_elsewhere(self, q: np.ndarray, F: np.ndarray) -> None:
        curvature, slope = square_of_costs(q, lengths(F))
        self.quadratic = self.quadratic + np.diag(curvature)
        self.linear = self.linear - F * slope

    def add_linear(self, A: np.ndarray | float) -> None:
        self.linear = self.linear + A

    def add_quadratic(self, W: np.ndarray | float) -> None:
        self.quadratic = self.quadratic + np.asarray(W) * (
            np.eye(self.shape[1]) if np.ndim(W) == 0 else 1.0
        )

    def optimality(self, F: np.ndarray, steps: Sequence[ProximalStep] = ()) -> float:
        r"""Return :math:`(\sum f|\nabla| + \sum \bar f_k \max(-\nabla, 0)) / \sum f D`, unit-free.

        For Poisson :math:`\sum f D` is the sum of the model, which is that of the data.
        """
        gradient = self.gradient(F)
        fixed = (self.upper <= F) & (gradient < 0) | np.equal(self.lower, self.upper)
        gradient = np.where(fixed, 0.0, gradient)
        inside = np.sum(np.abs(F * gradient))
        growing = np.sum(np.maximum(-gradient, 0.0) * F.mean(axis=0))
        whole = float(np.sum(F * self.parts(F)[1]))
        return float((inside + growing) / whole) if whole > 0 else 0.0


class Counted(Ratio):
    r"""The likelihood of counts, :math:`\sum_j v_{ij} - x_{ij}\ln v_{ij}`, whose curvature is known row by row.

    Only counts above zero are looked at.
    """

    def _parts_at(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.entries.quotients(F, self.Z, self.floor), self.everywhere

    def _weighted(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        z, entries = self.Z[:, j], self.entries
        slope = self.everywhere[:, j] - entries.dot(entries.x / self._followed(F), z)
        return slope, entries.over_model(F, self.Z, self.floor, z**2)

    def _risen(self, V: np.ndarray, moved: np.ndarray, change: np.ndarray) -> np.ndarray:
        logarithms = self.entries.x * np.log(moved / V)
        ones = np.ones(self.entries.shape[1])
        return np.sum(change * self.everywhere, axis=1) - self.entries.dot(logarithms, ones)

    @cached_property
    def everywhere(self) -> np.ndarray:
        """The gradient of the sum of ``V``, (n, k)."""
        return np.broadcast_to(self.entries.everywhere(self.Z), self.shape)


def floor_of(entries: Entries) -> float:
    """Return the least that a model of the entries is taken for."""
    n, m = entries.shape
    return FLOOR * float(entries.x.sum()) / (n * m)
