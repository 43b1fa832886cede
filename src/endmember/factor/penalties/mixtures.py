"""Penalties that tie the components to each other: shares that sum to one, little volume, little overlap."""

import logging
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from endmember.errors import Argument, Words, check_known, refuse_if
from endmember.factor.columns import or_one, unit_columns
from endmember.factor.penalties.base import Penalty, worded
from endmember.factor.penalties.elementwise import Free, NonNegative, Sparse, curvature_of
from endmember.factor.subproblems import STEEP, Setting, Subproblem

logger = logging.getLogger("endmember")


class SumToOne(Penalty):
    r"""Closure: the components of every pixel sum to a given total.

    Parameters
    ----------
    total : float
        What every pixel sums to, above zero.
    mode : "hard" or "scale"
        "hard" holds every row at the total: the maps are fractions, and the spectra are in the
        unit of the data. "scale" only chooses the scale of each component at the end, such that
        the sums are as near to the total as they can be, and leaves the fit as it is: choose it where
        the thickness varies.

    References
    ----------
    Heinz & Chang, IEEE Trans. Geosci. Remote Sens. 39 (2001) 529. Duchi, Shalev-Shwartz, Singer &
    Chandra, ICML (2008) 272, for the projection. Tauler, Chemom. Intell. Lab. Syst. 30 (1995) 133, for the scale.

    Examples
    --------
    >>> SumToOne().prox(np.array([[0.5, 1.5], [0.2, 0.2]]), 1.0, None)
    array([[0. , 1. ],
           [0.5, 0.5]])
    """

    in_words = "summing to {total:g} in every pixel ({mode})"
    references = (
        "D. C. Heinz and C.-I Chang, IEEE Trans. Geosci. Remote Sens. 39 (2001) 529.",
        "J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, ICML (2008) 272.",
    )

    def __init__(self, total: float = 1.0, mode: str = "hard") -> None:
        self.total, self.mode = total, mode

    @property
    def row_sum(self) -> float | None:  # type: ignore[override]
        """The total, where every row is held at it."""
        return self.total if self.mode == "hard" else None

    def offers(self) -> set[str]:
        """Return what it offers to solvers: a proximal step, or nothing where only the scale is chosen."""
        return {"prox"} if self.mode == "hard" else set()

    def oversize(self, F: np.ndarray) -> float:
        mean = float(np.mean(F.sum(axis=1)))
        return mean / self.total if self.mode == "hard" and mean > 0 else 1.0

    def fixes_scale(self, k: int) -> np.ndarray:
        return np.full(k, self.mode == "hard")

    def prox(self, F: np.ndarray, step: float, setting: Setting | None) -> np.ndarray:
        """Return the nearest non-negative rows that sum to the total; in "scale" mode ``F`` itself."""
        return onto_simplex(F, self.total) if self.mode == "hard" else F.copy()

    def finish(self, factors: Sequence[np.ndarray], mode: int) -> list[np.ndarray]:
        """Return the factors of a finished fit, closed by their scales if that is the mode.

        Parameters
        ----------
        factors : sequence of ndarray, (n, k), (m, k)
        mode : int
            Which of two factors the penalty is on.
        """
        factors = list(factors)
        if self.mode == "scale":
            factors[mode], factors[1 - mode] = close(factors[mode], factors[1 - mode], self.total)
        return factors

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        refuse_if(
            not isinstance(self.total, Real) or not 0 < self.total < np.inf,
            f"total={self.total!r} must be a number above zero, such as 1.0",
        )

    def conflict(
        self, own: Sequence[Penalty], others: Sequence[Sequence[Penalty]], k: int
    ) -> str | Words | None:
        if self.mode not in ("hard", "scale"):
            return f'mode={self.mode!r} is not known; allowed: "hard", "scale"'
        everything = [penalty for penalties in [own, *others] for penalty in penalties]
        sums, scales = _against_sums(own), _against_scales(everything, k)
        hard = self.mode == "hard"
        reason, refused = (sums, scales) if hard else (scales, sums)
        other = Argument("", says=f"use mode={'scale' if hard else 'hard'!r}, or ")
        return reason and (*reason, "; ", "" if refused else other, "leave one of them out")


class MinimumVolume(Penalty):
    r"""Columns that span little volume: :math:`\tfrac{w}{2}\sigma\ln\det(I + \bar F^\top\bar F/\delta)`.

    Where no pixel is pure, many sets of spectra fit as well, and of these the tightest around the data is
    closest to the truth; where every spectrum has channels of its own, the same holds for the maps.
    :math:`\sigma` is the mean squared length of a component in the data, at the start. Columns are measured at unit
    length, so that nothing is gained by shrinking them: pixels need not sum to
    one, and the thickness may vary.

    Parameters
    ----------
    weight : float or "auto"
        ``w``; too much draws the columns into the data, and the right one is the smaller the better the counts. With
        "auto", which :class:`NMF` alone can do, the data choose.
    delta : float
        :math:`\delta`: below about this squared sine of an angle, columns count as alike.

    Notes
    -----
    With :math:`D` the lengths of the columns, the log-determinant is :math:`\ln\det(D^2 + F^\top F/\delta)` less
    :math:`\ln\det D^2`. Solvers get the tangent of the first term, a quadratic that lies above it, and for the second
    one that does wherever no column shrinks to a fraction of its length in one step.

    References
    ----------
    Leplat, Ang & Gillis, ICASSP (2019) 3402. Fu, Huang, Yang, Ma & Sidiropoulos, IEEE Trans. Signal
    Process. 64 (2016) 6254.

    Examples
    --------
    >>> apart, close = np.eye(3, 2), np.array([[1.0, 0.8], [0.0, 0.6], [0.0, 0.0]])
    >>> MinimumVolume(1).value(close, None) < MinimumVolume(1).value(apart, None)
    True
    """

    creeps = True
    first = 0.001
    in_words = "of minimum volume (w = {weight})"
    references = (
        "V. Leplat, A. M. S. Ang and N. Gillis, ICASSP (2019) 3402.",
        "X. Fu et al., IEEE Trans. Signal Process. 64 (2016) 6254.",
    )

    def __init__(self, weight: Any = "auto", delta: float = 0.1) -> None:
        self.weight, self.delta = weight, delta

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        mu = self.weight * (subproblem.setting.strength if subproblem.setting else 1.0)
        squares = _squares(F)
        W = np.linalg.inv(self.delta * np.diag(squares) + F.T @ F)
        subproblem.add_quadratic(mu * (W + np.diag(self.delta * np.diag(W) + STEEP / squares)))
        subproblem.add_linear(-mu * (1.0 + STEEP) * F / squares)

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        mu = self.weight * (setting.strength if setting else 1.0)
        F = F / np.sqrt(_squares(F))
        return 0.5 * mu * float(np.linalg.slogdet(np.eye(F.shape[1]) + F.T @ F / self.delta)[1])

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        refuse_if(not self.delta > 0, f"delta={self.delta!r} must be above zero, such as 0.1")


def _squares(F: np.ndarray) -> np.ndarray:
    """Return the squared length of every column, (k,); 1 where it is none."""
    return or_one(np.sum(F**2, axis=0))


def _against_sums(own: Sequence[Penalty]) -> Words | None:
    """Return why rows of a factor with other penalties cannot be held at a sum; None if they can."""
    for penalty in own:
        name = worded(penalty)
        if isinstance(penalty, Free):
            return "shares of a total are not negative, as ", name, " allows"
        if isinstance(penalty, Sparse):
            return (
                worded(penalty, repr(penalty)), " charges for the sum of each pixel, which is given (use ",
                Argument("smooth", says="em.TotalVariation or em.Smooth"), " instead)",
            )  # fmt: skip
        if not isinstance(penalty, SumToOne | NonNegative) and not penalty.has_scale:
            return name, " and the sum cannot both be held exactly"
    return None


def _against_scales(penalties: Sequence[Penalty], k: int) -> Words | None:
    """Return why the scales of components cannot be chosen after a fit with other penalties; None if they can."""
    for penalty in penalties:
        if penalty.has_scale or (
            penalty.fixes_scale(k).any() and not isinstance(penalty, SumToOne)
        ):
            anew = Argument("the sum would choose anew", says="mode='scale' would choose anew")
            return worded(penalty), " decides on the scale already, which ", anew
    return None


def onto_simplex(F: np.ndarray, total: float = 1.0) -> np.ndarray:
    r"""Return for every row of ``F`` (n, k) the nearest non-negative row that sums to ``total``.

    :math:`[f - \theta]_+` with the one :math:`\theta` that gives the sum, found by sorting.
    """
    k = F.shape[1]
    descending = -np.sort(-F, axis=1)
    thresholds = (np.cumsum(descending, axis=1) - total) / np.arange(1, k + 1)
    n_positive = np.count_nonzero(descending > thresholds, axis=1)
    return np.maximum(F - np.take_along_axis(thresholds, n_positive[:, None] - 1, axis=1), 0.0)


def close(C: np.ndarray, S: np.ndarray, total: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    r"""Scale components so that rows of ``C`` sum to ``total`` as nearly as can be; ``C Sᵀ`` stays.

    :math:`d = \arg\min_{d \ge 0} \|C d - t\|`, :math:`C \leftarrow C\,{\rm diag}(d)`, :math:`S \leftarrow S\,{\rm
    diag}(1/d)`. A component that would have to vanish for it keeps its scale, and a warning says so.

    Parameters
    ----------
    C : ndarray, (n, k)
    S : ndarray, (m, k)
    total : float

    Examples
    --------
    >>> C, S = close(np.array([[2.0, 0.0], [1.0, 2.0]]), np.eye(2))
    >>> C
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    from scipy.optimize import nnls

    size = or_one(np.linalg.norm(C, axis=0))
    d, _ = nnls(C / size, np.full(len(C), float(total)))
    d = d / size
    lost = np.flatnonzero(d == 0)
    if len(lost):
        logger.warning(
            "closure: components %s would have to vanish for the sum to be %g and keep their scale; the "
            "data are not closed, or there are too many components",
            ", ".join(map(str, lost)),
            total,
        )
        d[lost] = 1.0
    return C * d, S / d


class SoftOrthogonal(Penalty):
    r"""Maps that overlap little: each is pushed away from the sum of all others (article eq. 13).

    With :math:`u = \sum_{j\ne k} f_j` and the multiplier :math:`\xi_k` that makes :math:`u^\top f_k = 0`,

    .. math:: f_k \leftarrow \left[(h - \tfrac{w}{2}\xi_k u)/d\right]_+,\qquad
              \xi_k = 2\,\frac{\sum_i u_i h_i / d_i}{\sum_i u_i^2 / d_i}

    For a divergence h and d are those of the weighted squares that stand in for it, with weights
    :math:`V^{\beta-2}`. A rule, not a penalty with an objective: the multiplier is found anew at
    every step. The others count at unit length, so that no component is pushed more for being stronger.
    The fit stops when the maps stand still.

    Parameters
    ----------
    weight : float
        0 to 1: none to full orthogonality. 0.01 suits phases in separate places.
    mode : "shiga", "exact" or "penalty"
        "shiga" is the published rule; clipping keeps maps from being as far apart as asked for.
        "exact" finds the multiplier by which the *clipped* map has
        :math:`u^\top f_k = (1 - w)\,u^\top [h/d]_+`: with w = 1 supports are disjoint to the last
        bit, and the start is the answer of the published rule. "penalty" adds
        :math:`w\tau\sum_{j<k} f_j^\top f_k`: it has an objective that never rises.

    References
    ----------
    Kimura, Tanaka & Kudo, PMLR 39 (2014) 129. Kimura, Kudo & Tanaka, Mach. Learn. 103 (2016)
    285. Shiga et al., Ultramicroscopy 170 (2016) 43.

    Examples
    --------
    >>> F = np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> SoftOrthogonal(1.0, "exact").column(np.array([1.0, 3.0]), 1.0, F, 1, None)
    array([0., 0.])
    >>> SoftOrthogonal(1.0).column(np.array([1.0, 3.0]), 1.0, F, 1, None)
    array([0., 1.])
    """

    references = (
        "K. Kimura, Y. Tanaka and M. Kudo, Proc. Mach. Learn. Res. 39 (2014) 129.",
        "M. Shiga, K. Tatsumi, S. Muto, K. Tsuda, Y. Yamamoto, T. Mori and T. Tanji, "
        "Ultramicroscopy 170 (2016) 43.",
    )
    in_words = "softly orthogonal (w = {weight}, {mode})"

    def __init__(self, weight: float = 0.01, mode: str = "shiga") -> None:
        self.weight, self.mode = weight, mode

    @property
    def heaviest(self) -> float:  # type: ignore[override]
        """The largest weight that makes sense: full orthogonality, but for the penalty."""
        return np.inf if self.mode == "penalty" else 1.0

    @property
    def has_objective(self) -> bool:  # type: ignore[override]
        """Whether the objective means anything: only as a penalty."""
        return self.mode == "penalty" or self.weight == 0

    @property
    def has_scale(self) -> bool:  # type: ignore[override]
        """Whether a larger factor costs more: only as a penalty."""
        return self.mode == "penalty" and self.weight > 0

    def offers(self) -> set[str]:
        """Return what it offers to solvers: what the penalty adds, or a rule for columns."""
        return {"add"} if self.has_objective else {"column"}

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_known("mode", self.mode, "shiga", "exact", "penalty")
        refuse_if(
            not 0 <= self.weight <= self.heaviest,
            worded(self, f"weight={self.weight} of em.SoftOrthogonal", self.weight),
            " must lie between 0 and 1",
        )

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        if self.mode == "penalty":
            k = F.shape[1]
            strength = self.weight * curvature_of(subproblem, F)
            # Less the squares of the columns themselves, by their tangent: solvers get what bends upwards.
            subproblem.add_quadratic(strength * np.ones((k, k)))
            subproblem.add_linear(-strength * F)

    def column(
        self, h: np.ndarray, d: np.ndarray | float, F: np.ndarray, j: int, setting: Setting | None
    ) -> np.ndarray:
        target = h / d
        unit = unit_columns(F)
        others = unit.sum(axis=1) - unit[:, j]
        if self.has_objective or not np.any(others > 0):
            return target
        push = others / d
        if self.mode == "shiga":
            multiplier = (others @ target) / (others @ push)
            return np.maximum(target - self.weight * multiplier * push, 0.0)
        return _exactly_apart(np.maximum(target, 0.0), others, push, 1.0 - self.weight)

    def gentler(self) -> Penalty:
        """Return the published rule instead of full orthogonality, under which no pixel changes hands."""
        return SoftOrthogonal(self.weight) if self._is_full else self

    def begin(self, F: np.ndarray) -> np.ndarray:
        """Leave every pixel to the component that is strongest there, where supports must be disjoint."""
        if not self._is_full:
            return F
        return np.where(
            np.arange(F.shape[1]) == np.argmax(unit_columns(F), axis=1)[:, None], F, 0.0
        )

    @property
    def _is_full(self) -> bool:
        return self.mode == "exact" and self.weight == 1

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        """Return the overlap: the penalty itself, or for the rules what ranks starts."""
        if self.mode == "penalty":
            strength = self.weight * (setting.curvature if setting else 1.0)
            return 0.5 * strength * (float(np.sum(F.sum(axis=1) ** 2)) - float(np.vdot(F, F)))
        unit, strength = unit_columns(F), self.weight * (setting.strength if setting else 1.0)
        return 0.25 * strength * float(np.sum(unit.sum(axis=1) ** 2) - np.vdot(unit, unit))


def _exactly_apart(
    target: np.ndarray, others: np.ndarray, push: np.ndarray, share: float
) -> np.ndarray:
    r"""Return ``[target − ξ push]_+`` with ``others · f = share · (others · target)``.

    The overlap falls piecewise linearly with ξ, so the root lies between two of the sorted places
    where an entry reaches zero.
    """
    touching = (others > 0) & (target > 0)
    if share <= 0:
        return np.where(others > 0, 0.0, target)
    ends = target[touching] / push[touching]
    order = np.argsort(ends)[::-1]
    overlap = np.cumsum((others * target)[touching][order])
    slope = np.cumsum((others * push)[touching][order])
    goal = share * (overlap[-1] if len(overlap) else 0.0)
    multipliers = (overlap - goal) / np.where(slope > 0, slope, 1.0)
    lower = np.append(ends[order][1:], 0.0)
    valid = np.flatnonzero((multipliers >= lower - 1e-15 * ends.max(initial=0.0)) & (slope > 0))
    return (
        target
        if len(valid) == 0
        else np.maximum(target - max(multipliers[valid[0]], 0.0) * push, 0.0)
    )
