"""Divergences of one factor, whose gradient is a denominator less a numerator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from endmember.factor.columns import lengths
from endmember.factor.data.kernels import Entries
from endmember.factor.subproblems.base import ProximalStep, Subproblem, square_of_costs

#: A model value is never taken for less than this fraction of the mean datum.
FLOOR = 1e-16


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
        return self._rise(F, j, step) + step * (self._slope_of_penalties(F, j) + bend)

    def _rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        (V, moved), x, beta = self._moved(F, j, step), self.entries.x, self.beta
        if beta == 0:
            terms = np.log(moved / V) + x / moved - x / V
        else:
            powers = (moved ** (beta - 1) - V ** (beta - 1)) / (beta - 1)
            terms = (moved**beta - V**beta) / beta - x * powers
        return self.entries.dot(terms, np.ones(self.entries.shape[1]))

    def _moved(self, F: np.ndarray, j: int, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the model before and after a step of column ``j``."""
        V = self._followed(F)
        change = self.entries.model(step[:, None], self.Z[:, j : j + 1])
        return V, np.maximum(V + change, self.floor)

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

    def _rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        V, moved = self._moved(F, j, step)
        logarithms = self.entries.x * np.log(moved / V)
        ones = np.ones(self.entries.shape[1])
        return step * self.everywhere[:, j] - self.entries.dot(logarithms, ones)

    @cached_property
    def everywhere(self) -> np.ndarray:
        """The gradient of the sum of ``V``, (n, k)."""
        return np.broadcast_to(self.entries.everywhere(self.Z), self.shape)


def floor_of(entries: Entries) -> float:
    """Return the least that a model of the entries is taken for."""
    n, m = entries.shape
    return FLOOR * float(entries.x.sum()) / (n * m)
