"""Divergences of one factor, whose gradient is a denominator less a numerator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from endmember.factor.columns import lengths
from endmember.factor.data.kernels import Counts
from endmember.factor.subproblems.base import ProximalStep, Subproblem, square_of_costs


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

    def add_costs_elsewhere(self, q: np.ndarray, F: np.ndarray) -> None:
        bend, pull = square_of_costs(q, lengths(F, None))
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
