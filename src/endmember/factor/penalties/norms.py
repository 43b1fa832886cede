"""The norm of a whole factor: it decides whether the factor is needed at all."""

from __future__ import annotations

import numpy as np

from endmember.factor.penalties.base import Penalty
from endmember.factor.subproblem import Quadratic, Setting


class Norm(Penalty):
    r"""A small Frobenius norm, not squared: :math:`\gamma\,\sqrt\tau\,\|X\|\,\|F\|`.

    The last term of equation (14) of Muto & Shiga as printed: a group lasso on the whole factor,
    which is exactly zero above a threshold, where :class:`em.Ridge` only shrinks it.
    :math:`\tau` is the curvature of the misfit and :math:`\|X\|` the length of the data, so that
    scaling the data changes nothing. Solved exactly by :class:`em.ANLS`.

    Parameters
    ----------
    gamma : float
        At 1 and above the factor is sure to be empty where it is alone in its term.

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
    in_words = "of small norm (gamma = {gamma:g})"
    references = ("M. Yuan and Y. Lin, J. R. Stat. Soc. B 68 (2006) 49.",)

    def __init__(self, gamma: float = 0.01) -> None:
        self.gamma = gamma

    def norm(self, subproblem: Quadratic) -> float:
        """Return what a factor of unit length costs."""
        return self.gamma * _unit(subproblem.setting)

    def slope(self, subproblem: Quadratic, F: np.ndarray) -> np.ndarray:
        """Return the slope of the norm at ``F``; at zero the one nearest to balancing the misfit."""
        size = np.linalg.norm(F)
        if size > 0:
            return self.norm(subproblem) * F / size
        pull = subproblem.pull()
        return pull * min(1.0, self.norm(subproblem) / max(float(np.linalg.norm(pull)), 1e-300))

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        return self.gamma * _unit(setting) * float(np.linalg.norm(F))

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"em.Norm(gamma={self.gamma!r}) needs a weight of at least 0")


def _unit(setting: Setting | None) -> float:
    return float(np.sqrt(setting.curvature) * setting.size) if setting else 1.0
