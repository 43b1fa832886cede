"""What a solver is given instead of the data.

``F`` (n, k) is the factor to improve, ``G`` (k, k) the Gram matrix of all the other factors, ``H``
(n, k) the data contracted with them. Losses make subproblems, penalties add to them, solvers solve
them; none imports another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from endmember.factor.data.axis import Axis
from endmember.factor.data.kernels import Counts


class Grid:
    """The places of a factor's rows, for penalties that speak of neighbours.

    Parameters
    ----------
    shape : tuple of int
        The whole image ``(ny, nx)``, or ``(channels,)``.
    index : ndarray of int, optional
        The flat places that are rows of the factor, in C order; all of them unless given.
    axis : Axis, optional
        The energies of the channels.
    known : bool
        Whether the shape is that of an image or axis; False for a mere list of pixels.

    Examples
    --------
    >>> Grid((2, 2)).first_differences.toarray()
    array([[-1.,  0.,  1.,  0.],
           [ 0., -1.,  0.,  1.],
           [-1.,  1.,  0.,  0.],
           [ 0.,  0., -1.,  1.]])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        index: np.ndarray | None = None,
        known: bool = True,
        axis: Axis | None = None,
    ) -> None:
        self.shape, self.known, self.axis = shape, known, axis
        self.index = np.arange(int(np.prod(shape))) if index is None else index

    def take(self, rows: np.ndarray) -> Grid:
        """Return the places of some of the rows."""
        return Grid(self.shape, self.index[rows], self.known)

    @property
    def n_axes(self) -> int:
        """The number of axes of the image."""
        return len(self.shape)

    @cached_property
    def first_differences(self) -> sparse.csr_array:
        """Differences between neighbours that both take part, (edges, n)."""
        return self._stencils([-1.0, 1.0])

    @cached_property
    def second_differences(self) -> sparse.csr_array:
        """Second differences of three in a row that all take part, (triples, n)."""
        return self._stencils([1.0, -2.0, 1.0])

    def _stencils(self, weights: list[float]) -> sparse.csr_array:
        row_of = np.full(int(np.prod(self.shape)), -1)
        row_of[self.index] = np.arange(len(self.index))
        places = row_of.reshape(self.shape)
        found: list[np.ndarray] = []
        for axis, size in enumerate(self.shape):
            reach = size - len(weights) + 1
            if reach > 0:
                taps = [places.take(range(i, i + reach), axis).ravel() for i in range(len(weights))]
                found.append(np.stack(taps, axis=1))
        stencils = np.concatenate([np.empty((0, len(weights)), dtype=int), *found])
        stencils = stencils[(stencils >= 0).all(axis=1)]
        rows = np.repeat(np.arange(len(stencils)), len(weights))
        values = np.tile(weights, len(stencils))
        shape = len(stencils), len(self.index)
        return sparse.csr_array((values, (rows, stencils.ravel())), shape=shape)

    def spread(self, F: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return rows (n, k) in their places, ``(*shape, k)``, with ``fill`` elsewhere."""
        full = np.full((int(np.prod(self.shape)), F.shape[1]), fill)
        full[self.index] = F
        return full.reshape(*self.shape, F.shape[1])


#: An array of bounds, or one bound for every entry.
Bound = np.ndarray | float
#: The square that stands in for a cost that falls with the length of a column bends so much more than its slope.
STEEP = 4.0


def times_gram(F: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Multiply every row of ``F`` (n, k) with one Gram matrix (k, k) or its own (n, k, k)."""
    if G.ndim == 2:
        return F @ G
    return np.einsum("ik,ikl->il", F, G)


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
    def curvature(self, F: np.ndarray | None = None) -> float:
        """Return the mean curvature of the misfit in one entry."""

    @abstractmethod
    def peak(self, F: np.ndarray | None = None) -> float:
        """Return the largest slope of the misfit at an empty factor."""

    @abstractmethod
    def add_burden(self, q: np.ndarray, F: np.ndarray) -> None:
        r"""Add what the length of every column costs elsewhere: ``q`` (k,) with each e-fold of it at ``F``.

        Costs that grow at most with the square of a length lie below :math:`\tfrac12 q\,\|f\|^2 / \|f_0\|^2`; those
        that fall with it, near ``F``, below a square about ``F``.
        """

    def clip(self, F: np.ndarray) -> np.ndarray:
        """Return the point of the feasible box nearest to ``F``."""
        return np.clip(F, self.lower, self.upper)


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
        n, k = self.H.shape
        return n, k

    def value(self, F: np.ndarray) -> float:
        """Return the objective at ``F``."""
        rows = np.einsum("ik,ik->i", F, 0.5 * times_gram(F, self.G) - self.H)
        return float(rows.sum() if self.row_weights is None else rows @ self.row_weights)

    def gradient(self, F: np.ndarray) -> np.ndarray:
        """Return ``F G − H``, (n, k): the gradient but for the weight of each row."""
        return times_gram(F, self.G) - self.H

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of ``G``: (k,), or (n, k) where every row has its own."""
        return np.diagonal(self.G, axis1=-2, axis2=-1)

    def add_burden(self, q: np.ndarray, F: np.ndarray) -> None:
        bend, pull = _burden(q, lengths(F, self.row_weights))
        self.G = self.G + np.diag(bend)
        self.H = self.H + F * pull

    def add_linear(self, A: np.ndarray | float) -> None:
        self.H = self.H - (A if self.row_weights is None else A / self.row_weights[:, None])

    def add_quadratic(self, W: np.ndarray | float) -> None:
        matrix = np.asarray(W) * np.eye(self.shape[1]) if np.ndim(W) == 0 else np.asarray(W)
        if self.row_weights is None:
            self.G = self.G + matrix
        else:
            self.G = self.G + matrix / self.row_weights[:, None, None]

    def curvature(self, F: np.ndarray | None = None) -> float:
        """Return ``trace(G) / k``, averaged over the rows."""
        diagonal = self.diagonal()
        if self.row_weights is not None:
            diagonal = self.row_weights[:, None] * diagonal
        return float(np.mean(diagonal))

    def pull(self) -> np.ndarray:
        """Return how strongly the misfit pulls an empty factor into its box, (n, k)."""
        H = self.H if self.row_weights is None else self.row_weights[:, None] * self.H
        least, most = np.less(self.lower, 0), np.greater(self.upper, 0)
        return np.where(most, np.maximum(H, 0.0), 0.0) + np.where(least, np.minimum(H, 0.0), 0.0)

    def peak(self, F: np.ndarray | None = None) -> float:
        """Return the largest slope at ``F = 0``, ``max |r H|``."""
        H = self.H if self.row_weights is None else self.row_weights[:, None] * self.H
        return float(np.max(np.abs(H), initial=0.0))

    def optimality(self, F: np.ndarray, steps: Sequence[ProximalStep] = ()) -> float:
        r"""Return :math:`\|F - [F - \nabla]_{\rm box}\| / \|F\|`.

        Columns are measured as if the other factors had columns of unit length, which makes ``F``
        and its gradient comparable; the scale of the data plays no part. Wishes that know their proximal
        step take it between the gradient's and the box, :math:`[{\rm prox}(F - \nabla)]_{\rm box}`: what
        they bear of the gradient, as a given sum does, is no residual.
        """
        curvature = self.diagonal()
        curvature = np.where(curvature > 0, curvature, 1.0)
        unit = np.sqrt(curvature)
        if steps:
            curvature = np.max(curvature)
        moved = F - self.gradient(F) / curvature
        for prox in steps:
            moved = prox(moved, float(1.0 / curvature), self.setting)
        residual = F - self.clip(moved)
        size = np.linalg.norm(F * unit)
        return float(np.linalg.norm(residual * unit) / size) if size > 0 else 0.0


def _burden(q: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what costs of the length of columns add to curvature and pull, both (k,)."""
    q = q / np.where(size > 0, size, 1.0) ** 2
    falling = np.maximum(-q, 0.0)
    return np.maximum(q, 0.0) + STEEP * falling, (1.0 + STEEP) * falling


def lengths(F: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
    """Return the length of every column, as the misfit measures it."""
    if row_weights is None:
        return np.linalg.norm(F, axis=0)
    return np.sqrt(row_weights @ F**2)


class Ratio(Subproblem):
    r"""Minimise a divergence whose gradient is a difference of two non-negative parts.

    :math:`\nabla = D - N` with the numerator :math:`N = (X \circ V^{\beta-2}) Z` and the denominator
    :math:`D = V^{\beta-1} Z`, where :math:`V = F Z^\top` follows ``F``. A loss subclasses it with what it knows
    of the data.

    Attributes
    ----------
    beta : float
        The divergence: 1 Poisson (Kullback-Leibler), 2 Euclid, 0 Itakura-Saito.
    Z : ndarray, (m, k)
        The other factor.
    linear : ndarray or float
        What penalties add to the gradient.
    quadratic : ndarray, (k, k)
        What penalties add to the curvature.
    """

    Z: np.ndarray
    squares = False

    def __init__(self, shape: tuple[int, int], beta: float) -> None:
        self._shape, self.beta = shape, beta
        self.lower, self.upper = 0.0, np.inf
        self.setting = None
        self.linear: np.ndarray | float = 0.0
        self.quadratic = np.zeros((shape[1], shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @abstractmethod
    def parts(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numerator and the denominator of the misfit at ``F``, both (n, k)."""

    @abstractmethod
    def weighted(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        r"""Return slope and curvature of the weighted squares that stand in for the misfit in column ``j``, both (n,).

        The weights are :math:`V^{\beta-2}`, so the curvature :math:`\sum_j v_{ij}^{\beta-2} z_j^2` is
        positive wherever ``z`` is.
        """

    @abstractmethod
    def rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        """Return by how much the misfit of every row rises with ``step`` (n,) added to column ``j``, (n,)."""

    @abstractmethod
    def move(self, F: np.ndarray, j: int, step: np.ndarray) -> None:
        """Add ``step`` (n,) to column ``j`` of ``F`` in place, and let ``V`` follow."""

    def gradient(self, F: np.ndarray) -> np.ndarray:
        """Return the gradient of misfit and penalties, (n, k)."""
        numerator, denominator = self.parts(F)
        return denominator - numerator + self.linear + F @ self.quadratic

    def add_burden(self, q: np.ndarray, F: np.ndarray) -> None:
        bend, pull = _burden(q, lengths(F, None))
        self.quadratic = self.quadratic + np.diag(bend)
        self.linear = self.linear - F * pull

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
        held = (self.upper <= F) & (gradient < 0) | np.equal(self.lower, self.upper)
        gradient = np.where(held, 0.0, gradient)
        inside = np.sum(np.abs(F * gradient))
        growing = np.sum(np.maximum(-gradient, 0.0) * F.mean(axis=0))
        whole = float(np.sum(F * self.parts(F)[1]))
        return float((inside + growing) / whole) if whole > 0 else 0.0


class Counted(Ratio):
    r"""The likelihood of counts, :math:`\sum_j v_{ij} - x_{ij}\ln v_{ij}`, whose curvature is known row by row."""

    @abstractmethod
    def curvatures(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient of the misfit, (n, k), and the matrix of second derivatives of every row, (n, k, k)."""

    @abstractmethod
    def fall(self, F: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return by how much of itself ``V`` falls with a step, where it falls most in every row; (n,), at least 0."""

    @abstractmethod
    def some_rows(self, F: np.ndarray, rows: slice) -> Counted:
        """Return the misfit of some of the rows, without what penalties added."""

    @abstractmethod
    def everywhere(self) -> np.ndarray:
        """Return the gradient of the sum of ``V``, (n, k)."""

    @abstractmethod
    def counts(self) -> Counts | None:
        """Return what compiled loops work on, or None where NumPy does as well."""
