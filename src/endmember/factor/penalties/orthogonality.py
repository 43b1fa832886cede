"""Components that keep out of each other's way."""

from __future__ import annotations

import numpy as np

from endmember.factor.penalties.base import Penalty
from endmember.factor.penalties.elementwise import curvature_of
from endmember.factor.subproblem import Setting, Subproblem

MODES = ("shiga", "exact", "penalty")


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
    in_words = "softly orthogonal (w = {weight:g}, {mode})"

    def __init__(self, weight: float = 0.01, mode: str = "shiga") -> None:
        self.weight = weight
        self.mode = mode

    @property
    def has_objective(self) -> bool:  # type: ignore[override]
        """Whether the objective means anything: only as a penalty."""
        return self.mode == "penalty" or self.weight == 0

    @property
    def has_scale(self) -> bool:  # type: ignore[override]
        """Whether a larger factor costs more: only as a penalty."""
        return self.mode == "penalty" and self.weight > 0

    @property
    def _rules(self) -> bool:
        """Whether columns are steered by a rule."""
        return self.mode != "penalty" and self.weight > 0

    def offers(self) -> set[str]:
        """Return what it offers to solvers: what the penalty adds, or a rule for columns."""
        return {"column"} if self._rules else {"add"}

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r} is not known; allowed: {', '.join(MODES)}")
        if not 0 <= self.weight <= 1 and self.mode != "penalty":
            raise ValueError(f"weight={self.weight} of em.SoftOrthogonal must lie between 0 and 1")

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
        unit = _unit(F)
        others = unit.sum(axis=1) - unit[:, j]
        if not self._rules or not np.any(others > 0):
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
        strongest = np.argmax(_unit(F), axis=1)
        return np.where(np.arange(F.shape[1]) == strongest[:, None], F, 0.0)

    @property
    def _is_full(self) -> bool:
        return self.mode == "exact" and self.weight == 1

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        """Return the overlap: the penalty itself, or for the rules what ranks starts."""
        if self.mode == "penalty":
            strength = self.weight * (setting.curvature if setting else 1.0)
            return 0.5 * strength * (float(np.sum(F.sum(axis=1) ** 2)) - float(np.vdot(F, F)))
        unit, strength = _unit(F), self.weight * (setting.strength if setting else 1.0)
        return 0.25 * strength * float(np.sum(unit.sum(axis=1) ** 2) - np.vdot(unit, unit))


def _unit(F: np.ndarray) -> np.ndarray:
    """Return the columns at unit length; what is zero stays."""
    length = np.linalg.norm(F, axis=0)
    return F / np.where(length > 0, length, 1.0)


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
    if len(valid) == 0:
        return target
    return np.maximum(target - max(multipliers[valid[0]], 0.0) * push, 0.0)
