"""Losses: what the data ask of a factor, and how far the model is from the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from endmember.factor.blocks import Data
from endmember.factor.data import Reweighted, count_scaled
from endmember.factor.entries import Entries
from endmember.factor.kernels import Counts
from endmember.factor.subproblem import Quadratic, Ratio, Subproblem

#: Below this fraction of ``½‖X‖²`` the misfit is taken from the residual: the difference of
#: products has no digits left.
EXPLICIT_BELOW = 1e-10
#: A model value is never taken for less than this fraction of the mean datum.
FLOOR = 1e-16


class Loss(BaseEstimator, ABC):
    """How far a model is from the data; a subclass makes the subproblems that go with it."""

    #: The kind of subproblem it makes.
    makes: type[Subproblem] = Quadratic
    in_words = ""
    references: tuple[str, ...] = ()

    def prepare(self, data: Data) -> Data:
        """Return the data as the loss wants them, or refuse them with a reason."""
        return data

    @abstractmethod
    def reference(self, data: Data) -> float:
        """Return the misfit of a trivial model: the scale on which others are small or large."""

    @abstractmethod
    def subproblem(self, data: Data, factors: Sequence[np.ndarray], mode: int) -> Any:
        """Return the problem of factor number ``mode`` with the others fixed, without bounds."""

    @abstractmethod
    def misfit(
        self,
        data: Data,
        factors: Sequence[np.ndarray],
        mode: int = 0,
        subproblem: Any = None,
    ) -> float:
        """Return the loss; cheaper where the subproblem of factor ``mode`` is at hand."""


class SquaredError(Loss):
    r"""Half the sum of squared residuals, :math:`\tfrac12\|X - F Z^\top\|^2`: white Gaussian noise.

    Accepts negative data (a subtracted background leaves some). Entry-wise weights come with the
    data.

    References
    ----------
    D. D. Lee and H. S. Seung, Nature 401 (1999) 788; S. Muto and M. Shiga, Microscopy 69 (2020) 110, equation (4).

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> X = Dense(np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> SquaredError().misfit(X, [np.eye(2), np.eye(2)])
    0.5
    """

    in_words = "squared error"

    def reference(self, data: Data) -> float:
        return 0.5 * data.squared_norm

    def subproblem(self, data: Data, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        return Quadratic(
            data.gram(factors, mode),
            data.contract(factors, mode),
            lower=-np.inf,
            upper=np.inf,
            row_weights=data.row_weights(mode),
        )

    def misfit(
        self,
        data: Data,
        factors: Sequence[np.ndarray],
        mode: int = 0,
        subproblem: Quadratic | None = None,
    ) -> float:
        if subproblem is None:
            return data.misfit(factors)
        reference = self.reference(data)
        misfit = reference + subproblem.value(factors[mode])
        return misfit if misfit > EXPLICIT_BELOW * reference else data.misfit(factors)


class PoissonScaled(SquaredError):
    r"""Squared error with every pixel and every channel weighted by its total count.

    .. math:: \tfrac12\sum_{ij}\frac{n}{a_i b_j}(x_{ij} - \hat x_{ij})^2,\qquad
              a_i = \sum_j x_{ij},\ b_j = \sum_i x_{ij},\ n = \sum_{ij} x_{ij}

    The variance of a count is its mean, and :math:`a_i b_j / n` is the mean that one component
    would have: noise becomes nearly white, at the price of squared error. Maps and spectra stay in
    the data's own unit.

    References
    ----------
    Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203.

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> data = PoissonScaled().prepare(Dense(np.array([[2.0, 2.0], [4.0, 4.0]])))
    >>> round(data.squared_norm, 9)
    12.0
    """

    in_words = "squared error with pixels and channels weighted by their counts (Keenan-Kotula)"
    references = ("M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36 (2004) 203.",)

    def prepare(self, data: Data) -> Data:
        if data.weighted:
            raise ValueError(
                "em.PoissonScaled() weights whole pixels and channels and takes no weights of single "
                "entries; use em.SquaredError() or em.Poisson() with weights"
            )
        return data if isinstance(data, Reweighted) else count_scaled(data)


class BetaDivergence(Loss):
    r"""The beta-divergence between data and model, in the convention of Févotte.

    .. math:: d_\beta(x, v) = \frac{x^\beta + (\beta - 1) v^\beta - \beta x v^{\beta-1}}{\beta(\beta - 1)}

    :math:`\beta = 2` is half the squared error, 1 the Kullback-Leibler divergence (:class:`Poisson`), 0 that of Itakura
    and Saito. Some authors count :math:`\beta - 1`.

    Parameters
    ----------
    beta : float

    References
    ----------
    Févotte & Idier, Neural Comput. 23 (2011) 2421.

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> X = Dense(np.array([[2.0, 1.0], [1.0, 3.0]]))
    >>> round(BetaDivergence(2).misfit(X, [np.eye(2), 2 * np.eye(2)]), 6)
    1.5
    """

    makes = Ratio
    in_words = "beta-divergence (beta = {beta:g})"
    references: tuple[str, ...] = ("C. Févotte and J. Idier, Neural Comput. 23 (2011) 2421.",)

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def prepare(self, data: Data) -> Data:
        x = data.entries(dense=self.beta != 1).x
        if x.size and x.min() < 0:
            raise ValueError(
                f"{self!r} needs data without negative values and {np.mean(x < 0):.2%} are negative; use "
                "em.SquaredError(), or leave the background in"
            )
        if self.beta <= 0 and not (x > 0).all():
            raise ValueError(f"{self!r} needs positive data and some are zero; use em.Poisson()")
        return data

    def reference(self, data: Data) -> float:
        data = data.matrix
        entries = data.entries(dense=self.beta != 1)
        n, m = entries.shape
        totals = entries.dot(entries.x, np.ones((m, 1)))
        flat = [totals / m, np.ones((m, 1))]
        # No divergence is negative: what rounding leaves below zero is an exact fit.
        return max(self.misfit(data, flat), 0.0) or float(totals.sum())

    def subproblem(self, data: Data, factors: Sequence[np.ndarray], mode: int) -> Ratio:
        entries, Z = data.faced(factors, mode, dense=self.beta != 1)
        return _Divergence(entries, Z, factors[mode], self.beta)

    def misfit(
        self,
        data: Data,
        factors: Sequence[np.ndarray],
        mode: int = 0,
        subproblem: Any = None,
    ) -> float:
        entries, Z = data.faced(factors, 0, dense=self.beta != 1)
        F = factors[0]
        x, beta, floor = entries.x, self.beta, FLOOR * _mean(entries)
        if beta == 1:
            return entries.deviance(F, Z, floor) + entries.total(F, Z)
        v, weights = np.maximum(entries.model(F, Z), floor), entries.weights
        if beta == 0:
            terms = x / v - np.log(x / v) - 1
        else:
            terms = (x**beta + (beta - 1) * v**beta - beta * x * v ** (beta - 1)) / (
                beta * (beta - 1)
            )
        return float(np.sum(terms if weights is None else terms * weights))


class Poisson(BetaDivergence):
    r"""Generalised Kullback-Leibler divergence: the likelihood of Poisson counts.

    .. math:: \sum_{ij} x_{ij}\ln\frac{x_{ij}}{v_{ij}} - x_{ij} + v_{ij}

    The model is only needed where there are counts: for sparse data, work is in proportion to the
    non-zeros. Data must be counts of gain 1, or nothing is lost but the scale of what is reported.

    References
    ----------
    Lee & Seung, Nature 401 (1999) 788.

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> X = Dense(np.array([[2.0, 1.0], [1.0, 3.0]]))
    >>> round(Poisson().misfit(X, [X.X, np.eye(2)]), 12)
    0.0
    """

    in_words = "Poisson likelihood (generalised Kullback-Leibler divergence)"
    references = ("D. D. Lee and H. S. Seung, Nature 401 (1999) 788.",)

    #: It is the beta-divergence of beta = 1, and no parameter.
    beta = 1.0

    def __init__(self) -> None:
        """Take no parameters."""


def _mean(entries: Entries) -> float:
    n, m = entries.shape
    return float(entries.x.sum()) / (n * m)


class _Divergence(Ratio):
    """The subproblem of one factor under a beta-divergence."""

    def __init__(self, entries: Entries, Z: np.ndarray, F: np.ndarray, beta: float) -> None:
        super().__init__(F.shape, beta)
        self.entries, self.Z = entries, Z
        self._floor = FLOOR * _mean(entries)
        self._at = F
        self._parts: tuple[np.ndarray, np.ndarray] | None = None
        self._follows: np.ndarray | None = None
        self._V = np.empty(0)

    def parts(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._parts is None or F is not self._at:
            self._at, self._parts = F, self._parts_at(F)
        return self._parts

    def _parts_at(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        entries, Z = self.entries, self.Z
        if self.beta == 1:
            return entries.quotients(F, Z, self._floor), self.everywhere()
        V = self._model(F)
        return (
            entries.dot(entries.x * V ** (self.beta - 2), Z),
            entries.dot(V ** (self.beta - 1), Z),
        )

    def everywhere(self) -> np.ndarray:
        return np.broadcast_to(self.entries.everywhere(self.Z), self.shape)

    def _model(self, F: np.ndarray) -> np.ndarray:
        return np.maximum(self.entries.model(F, self.Z), self._floor)

    def curvatures(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        V, x, Z = self._model(F), self.entries.x, self.Z
        k = Z.shape[1]
        quotient = x / V
        i, j = np.triu_indices(k)
        packed = self.entries.dot(quotient / V, Z[:, i] * Z[:, j])
        H = np.empty((len(F), k, k))
        H[:, i, j] = H[:, j, i] = packed
        return self.everywhere() - self.entries.dot(quotient, Z), H

    def fall(self, F: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self.entries.largest(-self.entries.model(step, self.Z) / self._model(F))

    def weighted(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        V, x, z = self._followed(F), self.entries.x, self.Z[:, j]
        if self.beta == 1:
            whole = np.broadcast_to(self.entries.everywhere(z[:, None]), (len(F), 1))[:, 0]
            curvature = self.entries.over_model(F, self.Z, self._floor, z**2)
            return whole - self.entries.dot(x / V, z), curvature
        weights = V ** (self.beta - 2)
        return self.entries.dot((V - x) * weights, z), self.entries.dot(weights, z**2)

    def rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        V, x, beta = self._followed(F), self.entries.x, self.beta
        change = self.entries.model(step[:, None], self.Z[:, j : j + 1])
        moved = np.maximum(V + change, self._floor)
        ones = np.ones(self.entries.shape[1])
        if beta == 1:
            whole = np.broadcast_to(self.entries.everywhere(self.Z[:, j : j + 1]), (len(F), 1))
            return step * whole[:, 0] - self.entries.dot(x * np.log(moved / V), ones)
        if beta == 0:
            terms = np.log(moved / V) + x / moved - x / V
        else:
            powers = (moved ** (beta - 1) - V ** (beta - 1)) / (beta - 1)
            terms = (moved**beta - V**beta) / beta - x * powers
        return self.entries.dot(terms, ones)

    def lengths(self) -> np.ndarray:
        return np.linalg.norm(self.Z, axis=0)

    def move(self, F: np.ndarray, j: int, step: np.ndarray) -> None:
        self._followed(F)
        self._V += self.entries.model(step[:, None], self.Z[:, j : j + 1])
        F[:, j] += step
        self._parts = None

    def _followed(self, F: np.ndarray) -> np.ndarray:
        """Return the model at an ``F`` that changes by :meth:`move` only."""
        if F is not self._follows:
            self._V, self._follows = self.entries.model(F, self.Z), F
        return np.maximum(self._V, self._floor)

    def some_rows(self, F: np.ndarray, rows: slice) -> _Divergence:
        entries = self.entries.some_rows(rows)
        part = _Divergence(entries, self.Z, F[rows], self.beta)
        part._floor = self._floor
        return part

    def counts(self) -> Counts | None:
        return self.entries.counts(self._floor)

    def curvature(self, F: np.ndarray | None = None) -> float:
        F = self._at if F is None else F
        _, denominator = self.parts(F)
        mean = float(np.mean(F))
        return float(np.mean(denominator)) / mean if mean > 0 else 1.0

    def peak(self, F: np.ndarray | None = None) -> float:
        F = self._at if F is None else F
        return float(np.max(self.parts(F)[1], initial=0.0))
