"""Penalties on single entries of a factor."""

from __future__ import annotations

import numpy as np

from endmember.factor.penalties.base import Penalty
from endmember.factor.subproblem import Bound, Setting, Subproblem


class NonNegative(Penalty):
    """No entry below zero. On for every factor unless :class:`Free` is given.

    Examples
    --------
    >>> NonNegative().bounds((3, 2))
    (0.0, inf)
    """

    in_words = "non-negative"

    def bounds(self, shape: tuple[int, int]) -> tuple[Bound, Bound]:
        return 0.0, np.inf


class Free(Penalty):
    """Entries of any sign: switches off the non-negativity that every factor has by default.

    Examples
    --------
    >>> Free().bounds((3, 2))
    (-inf, inf)
    """

    in_words = "of any sign"

    def bounds(self, shape: tuple[int, int]) -> tuple[Bound, Bound]:
        return -np.inf, np.inf


class Ridge(Penalty):
    r"""Small entries: :math:`\tfrac{w}{2}\tau\|F\|^2`, with :math:`\tau` the curvature of the misfit.

    Parameters
    ----------
    weight : float
        1 shrinks a component that overlaps with no other to half.

    Examples
    --------
    >>> from endmember.factor.subproblem import Quadratic
    >>> sub = Quadratic(np.eye(1), np.array([[3.0]]))
    >>> Ridge(2.0).add(sub, np.zeros((1, 1)))
    >>> sub.G
    array([[3.]])
    """

    has_scale = True
    in_words = "small (ridge, w = {weight:g})"

    def __init__(self, weight: float = 0.1) -> None:
        self.weight = weight

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        subproblem.add_quadratic(self.weight * curvature_of(subproblem, F))

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        return 0.5 * self.weight * (setting.curvature if setting else 1.0) * float(np.vdot(F, F))


class Sparse(Penalty):
    r"""Few entries above zero: :math:`w\,\alpha\sum F`, with :math:`\alpha` the largest slope of the misfit.

    Parameters
    ----------
    weight : float
        The threshold as a fraction of the largest entry; 1 empties the factor.

    Examples
    --------
    >>> from endmember.factor.subproblem import Quadratic
    >>> sub = Quadratic(np.eye(1), np.array([[4.0], [1.0]]))
    >>> Sparse(0.5).add(sub, np.zeros((2, 1)))
    >>> sub.H
    array([[ 2.],
           [-1.]])
    """

    has_scale = True
    in_words = "sparse (w = {weight:g})"

    def __init__(self, weight: float = 0.01) -> None:
        self.weight = weight

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        peak = subproblem.setting.peak if subproblem.setting else subproblem.peak(F)
        subproblem.add_linear(self.weight * peak)

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        return self.weight * (setting.peak if setting else 1.0) * float(np.sum(F))


def curvature_of(subproblem: Subproblem, F: np.ndarray) -> float:
    """Return the curvature that a weight of 1 stands for."""
    return subproblem.setting.curvature if subproblem.setting else subproblem.curvature(F)
