"""Losses: what the data ask of a factor, and how far the model is from the data."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from endmember.errors import Argument, EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.columns import or_one
from endmember.factor.data import (
    Arrangement,
    Data,
    DenseEntries,
    Observed,
    count_scaled,
    row_blocks,
)
from endmember.factor.noise.model import NoiseModel, known_noise
from endmember.factor.subproblems import Counted, Quadratic, Ratio, Subproblem, floor_of, times_gram

#: Below this fraction of ``½‖X‖²`` the misfit is taken from the residual: the difference of
#: products has no digits left.
EXPLICIT_BELOW = 1e-10
#: Noise is never taken for less than this fraction of the mean datum.
QUIET = 1e-12
#: The same where a square touches a divergence.
TOUCHING_FLOOR = 1e-12


class Loss(BaseEstimator, ABC):
    """How far a model is from the data, and for what it takes them; a subclass makes the subproblems that go with it.

    Everybody else asks these attributes, and never which loss it is.
    """

    #: The kind of subproblem it makes.
    makes: type[Subproblem] = Quadratic
    #: What it asks of the data: "entries" one by one, or "products" alone, which compressed data answer too.
    needs: str = "entries"
    #: Which data it takes: "any", "non-negative" or "positive"; the model has no negative values under the last two.
    takes: str = "any"
    #: With which power of the model the variance of its noise grows: 0 white noise, 1 counts. None: it does not say.
    power: float | None = None
    #: Whether its minimum is the likeliest model under that noise.
    likelihood: bool = False
    in_words = ""
    references: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Take it that a loss with sums of its own needs entries, unless it says otherwise beside them."""
        super().__init_subclass__(**options)
        if "needs" not in vars(cls) and {"subproblem", "misfit"} & vars(cls).keys():
            cls.needs = "entries"

    @property
    def counts(self) -> bool:
        """Whether its noise is that of counts."""
        return self.power == 1

    def noise(self, gain: float = 1.0) -> NoiseModel | None:
        r"""Return the noise that it stands for, of variance :math:`gain \cdot model^{power}`, or None.

        The gain is what only data can tell: the variance of white noise, the data units per count.
        """
        if self.power is None:
            return None
        if self.power == 0:
            return NoiseModel(gain=0.0, read_variance=gain)
        return NoiseModel(gain=gain, power=self.power, poisson=self.counts and gain == 1)

    def measured_noise(self, observed: Observed) -> NoiseModel | None:
        """Return the noise that it stands for with the gain that data have; as measured where it does not say.

        Where nothing can be measured its gain is taken for 1, or None returned.
        """
        found, stated, data = known_noise(observed), self.noise(), observed.data.counts
        if found is None or stated is None:
            return found or stated
        mean = float(np.sum(data.dot(np.ones((data.shape[1], 1))))) / data.size
        least = QUIET**2 * data.squared_norm / data.size
        return self.noise(max(float(found.variance(mean)), least) / float(stated.variance(mean)))

    def as_squares(self) -> "Loss | None":
        """Return the loss of nearly the same noise that needs products alone; None where there is none."""
        return self if self.needs == "products" else None

    def prepare(self, data: Data) -> Data:
        """Return the data as the loss wants them, or refuse them with a reason.

        Raises
        ------
        ValueError
            If it needs entries and the data are compressed, or they have values that it does not take.
        """
        if self.needs == "products":
            return data
        x = data.entries(dense=self.takes == "positive").x
        if self.takes != "any" and x.size and x.min() < 0:
            share = np.count_nonzero(x < 0) / np.prod(data.shape)
            raise EndmemberError(
                Argument.part("loss", self),
                f" needs data without negative values and {share:.2%} are negative; use ",
                Argument("loss", "SquaredError", "em.SquaredError()"),
                ", or leave the background in",
            )
        refuse_if(
            self.takes == "positive" and not (x > 0).all(),
            f"{self!r} needs positive data and some are zero; use em.Poisson()",
        )
        return data

    @abstractmethod
    def reference(self, data: Arrangement) -> float:
        """Return the misfit of a trivial model: the scale on which others are small or large."""

    @abstractmethod
    def subproblem(self, data: Arrangement, factors: Sequence[np.ndarray], mode: int) -> Any:
        """Return the problem of factor number ``mode`` with the others fixed, without bounds."""

    def touching(self, data: Arrangement, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        """Return the square that touches the loss at the present model, as a problem of factor number ``mode``."""
        return self.subproblem(data, factors, mode)

    @abstractmethod
    def misfit(
        self,
        data: Arrangement,
        factors: Sequence[np.ndarray],
        mode: int = 0,
        subproblem: Any = None,
    ) -> float:
        """Return the loss; cheaper where the subproblem of factor ``mode`` is at hand."""


def given_loss(loss: Any) -> Loss:
    """Return a loss that was given as a parameter, squared error for None.

    Raises
    ------
    TypeError
        If it is not a loss.
    """
    refuse_if(
        loss is not None and not isinstance(loss, Loss),
        f"loss={loss!r} is not a loss; give one such as em.Poisson(), or None",
        kind=EndmemberTypeError,
    )
    return SquaredError() if loss is None else loss


class SquaredError(Loss):
    r"""Half the sum of squared residuals, :math:`\tfrac12\|X - F Z^\top\|^2`: white Gaussian noise.

    Accepts negative data (a subtracted background leaves some). Entry-wise weights come with the
    data.

    References
    ----------
    D. D. Lee and H. S. Seung, Nature 401 (1999) 788; S. Muto and M. Shiga, Microscopy 69 (2020) 110, equation (4).

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> X = Dense(np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> SquaredError().misfit(X, [np.eye(2), np.eye(2)])
    0.5
    """

    needs = "products"
    power: float | None = 0.0
    likelihood = True
    in_words = "squared error"

    def reference(self, data: Arrangement) -> float:
        return 0.5 * data.squared_norm

    def subproblem(self, data: Arrangement, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        return Quadratic(
            data.gram(factors, mode),
            data.contract(factors, mode),
            lower=-np.inf,
            upper=np.inf,
            row_weights=data.row_weights(mode),
        )

    def misfit(
        self,
        data: Arrangement,
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
    >>> from endmember.factor.data.in_memory import Dense
    >>> data = PoissonScaled().prepare(Dense(np.array([[2.0, 2.0], [4.0, 4.0]])))
    >>> round(data.squared_norm, 9)
    12.0
    """

    power = 1.0
    likelihood = False
    in_words = "squared error with pixels and channels weighted by their counts (Keenan-Kotula)"
    references = ("M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36 (2004) 203.",)

    def prepare(self, data: Data) -> Data:
        refuse_if(
            data.weighted,
            Argument("loss", "PoissonScaled", "em.PoissonScaled()"),
            " weights whole pixels and channels and takes no weights of single entries; use ",
            Argument("loss", "SquaredError", "em.SquaredError()"),
            " or ",
            Argument("loss", "Poisson", "em.Poisson()"),
            " with weights",
        )
        return count_scaled(data)


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
    >>> from endmember.factor.data.in_memory import Dense
    >>> X = Dense(np.array([[2.0, 1.0], [1.0, 3.0]]))
    >>> round(BetaDivergence(2).misfit(X, [np.eye(2), 2 * np.eye(2)]), 6)
    1.5
    """

    in_words = "beta-divergence (beta = {beta:g})"
    references: tuple[str, ...] = ("C. Févotte and J. Idier, Neural Comput. 23 (2011) 2421.",)

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    @property
    def makes(self) -> type[Ratio]:  # type: ignore[override]
        """The kind of subproblem it makes."""
        return Counted if self.beta == 1 else Ratio

    @property
    def takes(self) -> str:  # type: ignore[override]
        """Which data it takes."""
        return "positive" if self.beta <= 0 else "non-negative"

    @property
    def power(self) -> float:  # type: ignore[override]
        """With which power of the model the variance of its noise grows."""
        return 2.0 - self.beta

    @property
    def likelihood(self) -> bool:  # type: ignore[override]
        """Whether its minimum is the likeliest model: under gamma, Poisson and normal noise."""
        return self.beta in (0, 1, 2)

    def as_squares(self) -> Loss | None:
        return PoissonScaled() if self.counts else None

    def reference(self, data: Arrangement) -> float:
        data = data.matrix
        entries = data.entries(dense=self.beta != 1)
        n, m = entries.shape
        one = np.ones((m, 1))
        totals = entries.dot(entries.x, one)
        mean = totals / or_one(entries.everywhere(one))
        # No divergence is negative: what rounding leaves below zero is an exact fit.
        return max(self.misfit(data, [mean, one]), 0.0) or float(totals.sum())

    def subproblem(self, data: Arrangement, factors: Sequence[np.ndarray], mode: int) -> Ratio:
        entries, Z = data.entries_for(factors, mode, dense=self.beta != 1)
        return self.makes(entries, Z, factors[mode], self.beta)

    def touching(self, data: Arrangement, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        r"""Return the square of the slope :math:`v^{\beta-2}(v - x)` and a curvature that is no smaller than its own.

        .. math:: w = v^{\beta-2} \max\bigl(1,\ \max(\beta - 1, 0) + \max(2 - \beta, 0)\,x / v\bigr)
        """
        beta, E = self.beta, factors[mode]
        entries, Z = data.entries_for(factors, mode, dense=True)
        (n, m), k = entries.shape, Z.shape[1]
        floor = TOUCHING_FLOOR * max(float(np.mean(entries.x)), 1e-300)
        i, j = np.triu_indices(k)
        products = Z[:, i] * Z[:, j]
        G, slope = np.empty((n, k, k)), np.empty((n, k))
        for rows in row_blocks(n, m):
            weights = None if entries.weights is None else entries.weights[rows]
            part = DenseEntries(entries.x[rows], weights)
            V = np.maximum(part.model(E[rows], Z), floor)
            outer = V ** (beta - 2)
            bend = max(beta - 1, 0.0) + max(2 - beta, 0.0) * part.x / V
            slope[rows] = part.dot(outer * (V - part.x), Z)
            packed = part.dot(outer * np.maximum(bend, 1.0), products)
            block = G[rows]
            block[:, i, j] = block[:, j, i] = packed
        return Quadratic(G, times_gram(E, G) - slope, -np.inf, np.inf)

    def misfit(
        self,
        data: Arrangement,
        factors: Sequence[np.ndarray],
        mode: int = 0,
        subproblem: Any = None,
    ) -> float:
        entries, Z = data.entries_for(factors, 0, dense=self.beta != 1)
        F = factors[0]
        x, beta, floor = entries.x, self.beta, floor_of(entries)
        if beta == 1:
            return entries.deviance(F, Z, floor) + entries.total(F, Z)
        v, weights = np.maximum(entries.model(F, Z), floor), entries.weights
        if beta == 0:
            terms = x / v - np.log(x / v) - 1
        else:
            powers = x**beta + (beta - 1) * v**beta - beta * x * v ** (beta - 1)
            terms = powers / (beta * (beta - 1))
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
    >>> from endmember.factor.data.in_memory import Dense
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
