"""Penalties that decide what is needed at all: a whole factor by its norm, or its components by their relevance."""

from collections.abc import Sequence
from numbers import Real

import numpy as np
from scipy.special import gammaln

from endmember.errors import Argument, Words, check_known, refuse_if
from endmember.factor.penalties.base import Penalty
from endmember.factor.penalties.elementwise import Absent, Known
from endmember.factor.subproblems import Quadratic, Setting, Subproblem

#: How often noise alone may overcome the norm of a factor.
BY_CHANCE = 0.01


class Relevance(Penalty):
    r"""Few components: give more than are there, and only those that the data need are kept.

    The entries of map k have an exponential prior of mean :math:`\lambda_k`, which itself has an
    inverse-gamma prior of shape a and scale b. With the best :math:`\lambda_k` and noise of
    variance :math:`\sigma^2`, n pixels, spectra of unit length,

    .. math:: \sigma^2 (n + a + 1)\sum_k\ln\Big(b + \sum_i c_{ik}\Big),\qquad
              \lambda_k = \frac{b + \sum_i c_{ik}}{n + a + 1},\qquad
              c_k \leftarrow [h_k - \sigma^2/\lambda_k]_+

    and :math:`b = (a - 1)\,\bar x\sqrt m / K` lets the prior have the mean of the data.

    Parameters
    ----------
    shape : float
        a, above 1: how firmly the prior holds :math:`\lambda_k`.
    prior : "exponential" or "half-normal"
        Of the entries of a map. The half-normal shrinks bright and faint entries alike.
    mode : "guarded" or "published"
        Who decides how many are kept. "guarded": noise. There are never more components than singular
        values of the data above the largest that noise reaches, and two are merged, or one deleted, as
        long as the squared error rises by less than that singular value squared: what pure noise can
        explain. "published": the posterior, as its authors do; two components whose spectra have a
        cosine of 0.99 are merged, and those that have shrunk to nothing are dropped.

    References
    ----------
    Shiga et al., Ultramicroscopy 170 (2016) 43. Tan & Févotte, IEEE TPAMI 35 (2013) 1592. The noise: Hong,
    Sheng & Dobriban, arXiv:2012.02985 (2020).

    Examples
    --------
    >>> Relevance(shape=2.0).levels(np.array([[1.0, 0.0], [3.0, 0.0]]), scale=2.0)
    array([1.2, 0.4])
    """

    has_scale = True
    carries_scale = True
    in_words = "relevance determination ({prior} prior, {mode})"
    references = (
        "M. Shiga, K. Tatsumi, S. Muto, K. Tsuda, Y. Yamamoto, T. Mori and T. Tanji, "
        "Ultramicroscopy 170 (2016) 43.",
        "V. Y. F. Tan and C. Févotte, IEEE Trans. Pattern Anal. Mach. Intell. 35 (2013) 1592.",
    )

    def __init__(
        self, shape: float = 2.0, prior: str = "exponential", mode: str = "guarded"
    ) -> None:
        self.shape, self.prior, self.mode = shape, prior, mode

    @property
    def chooses(self) -> str:  # type: ignore[override]
        """Who decides how many components are kept: "guarded" or "published"."""
        return self.mode

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_known("prior", self.prior, "exponential", "half-normal")
        check_known("mode", self.mode, "guarded", "published")
        refuse_if(
            not self.shape > 1,
            f"shape={self.shape} of em.Relevance must be above 1, so that the prior has a mean; "
            "2 is a good choice",
        )

    def conflict(
        self, own: Sequence[Penalty], others: Sequence[Sequence[Penalty]], k: int
    ) -> str | Words | None:
        everything = [*own, *(penalty for each in others for penalty in each)]
        if any(isinstance(p, Absent | Known) for p in everything):
            return (
                "components given by number cannot be merged; leave ",
                Argument("known", says="em.Known and em.Absent"),
                " out",
            )
        return (
            "one factor carries the scale; give em.Relevance() for the maps only"
            if any(isinstance(p, Relevance) for each in others for p in each)
            else None
        )

    def scale(self, setting: Setting) -> float:
        """Return b, which gives the model of the prior the mean of the data, in units of ``F`` or its square."""
        if self.prior == "exponential":
            return (self.shape - 1) * setting.typical
        ratio = np.exp(gammaln(self.shape) - gammaln(self.shape - 0.5))
        return 0.5 * np.pi * (setting.typical * float(ratio)) ** 2

    def levels(self, F: np.ndarray, scale: float) -> np.ndarray:
        r"""Return the best :math:`\lambda_k` for a factor (n, k), (k,)."""
        return (self._use(F) + scale) / self._count(len(F))

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        setting = subproblem.setting
        if setting is None or setting.noise is None:
            return
        slope = setting.noise.variance / self.levels(F, self.scale(setting))
        if self.prior == "exponential":
            subproblem.add_linear(slope * np.ones(F.shape))
        else:
            subproblem.add_quadratic(np.diag(slope))

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        if setting is None or setting.noise is None:
            return 0.0
        nats = self._count(len(F)) * np.log1p(self._use(F) / self.scale(setting)).sum()
        return float(setting.noise.variance * nats)

    def _use(self, F: np.ndarray) -> np.ndarray:
        return F.sum(axis=0) if self.prior == "exponential" else 0.5 * np.sum(F**2, axis=0)

    def _count(self, n: int) -> float:
        return (n if self.prior == "exponential" else 0.5 * n) + self.shape + 1


class Norm(Penalty):
    r"""A small Frobenius norm, not squared: :math:`\gamma\,\sqrt\tau\,\|X\|\,\|F\|`.

    The last term of equation (14) of Muto & Shiga as printed: a group lasso on the whole factor,
    which is exactly zero above a threshold, where :class:`em.Ridge` only shrinks it.
    :math:`\tau` is the curvature of the misfit and :math:`\|X\|` the length of the data, so that
    scaling the data changes nothing. Solved exactly by :class:`em.ANLS`.

    Parameters
    ----------
    gamma : float or "auto"
        At 1 and above the factor is sure to be empty where it is alone in its term. "auto" is the least at which noise
        alone leaves the factor empty, in 99 of 100 cases, where terms have the weights of their noise: the default,
        :math:`\gamma\,\|X\| = \sqrt{nk} + \sqrt{2\ln 100}`.

    References
    ----------
    Yuan & Lin, J. R. Stat. Soc. B 68 (2006) 49. Muto & Shiga, Microscopy 69 (2020) 110, eq. (14).

    Examples
    --------
    >>> sub = Quadratic(np.eye(2), np.array([[3.0, 4.0]]))
    >>> Norm(1.0).norm(sub), Norm(1.0).slope(sub, np.array([[0.6, 0.8]]))
    (1.0, array([[0.6, 0.8]]))
    """

    has_scale = True
    in_words = "of small norm (gamma = {gamma})"
    references = ("M. Yuan and Y. Lin, J. R. Stat. Soc. B 68 (2006) 49.",)

    def __init__(self, gamma: float | str = "auto") -> None:
        self.gamma = gamma

    @staticmethod
    def level(shape: tuple[int, int]) -> float:
        """Return the length that noise gives the slope at an empty factor (n, k) of unit curvature, at most."""
        return float(np.sqrt(np.prod(shape)) + np.sqrt(2 * np.log(1 / BY_CHANCE)))

    def norm(self, subproblem: Quadratic) -> float:
        """Return what a factor of unit length costs."""
        return self._cost(subproblem.shape, subproblem.setting)

    def _cost(self, shape: tuple[int, int], setting: Setting | None) -> float:
        root, size = (np.sqrt(setting.curvature), setting.size) if setting else (1.0, 1.0)
        return float(
            root * (self.level(shape) if self.gamma == "auto" else float(self.gamma) * size)
        )

    def slope(self, subproblem: Quadratic, F: np.ndarray) -> np.ndarray:
        """Return the slope of the norm at ``F``; at zero the one nearest to balancing the misfit."""
        size = np.linalg.norm(F)
        if size > 0:
            return self.norm(subproblem) * F / size
        slope = subproblem.slope_into_box()
        return slope * min(1.0, self.norm(subproblem) / max(float(np.linalg.norm(slope)), 1e-300))

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        return self._cost((F.shape[0], F.shape[1]), setting) * float(np.linalg.norm(F))

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        refuse_if(
            self.gamma != "auto" and not (isinstance(self.gamma, Real) and float(self.gamma) >= 0),
            f'em.Norm(gamma={self.gamma!r}) needs a weight of at least 0, or "auto"',
        )
