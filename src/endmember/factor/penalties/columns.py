"""Rules about whole columns of a factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endmember.factor.penalties.base import Penalty
from endmember.factor.subproblem import Setting

#: Curvatures that differ by less than this, in the unit of the slope, are the same.
FLAT = 1e-12


class UnitColumns(Penalty):
    r"""Columns of unit length, found at the present scale: :math:`f_i = [h_i]_+ / (d_i + \lambda r_i)`.

    :math:`\lambda` makes the length 1. Where the curvature ``d`` is the same for all rows (in units of
    their weights ``r``) this is :math:`[h]_+ / \|[h]_+\|`, equation (12) of Muto & Shiga: the exact
    minimiser on the sphere. It takes the place of moving
    the scale to another factor wherever a penalty would charge for that. If nothing of ``h`` is
    positive, the best unit vector is the one at its largest entry.

    Parameters
    ----------
    row_weights : ndarray, (n,), optional
        Weights of the rows in the length.
    columns : sequence of int, optional
        The components it is wished for, counted from 0; all unless given.

    Examples
    --------
    >>> UnitColumns().column(np.array([3.0, 4.0, -1.0]), 1.0, np.zeros((3, 1)), 0, None)
    array([0.6, 0.8, 0. ])
    """

    in_words = "of unit length"

    def __init__(
        self, row_weights: np.ndarray | None = None, columns: Sequence[int] | None = None
    ) -> None:
        self.row_weights, self.columns = row_weights, columns

    def column(
        self, h: np.ndarray, d: np.ndarray | float, F: np.ndarray, j: int, setting: Setting | None
    ) -> np.ndarray:
        if self.columns is not None and j not in self.columns:
            return h / d
        weights = np.ones(len(h)) if self.row_weights is None else self.row_weights
        curvature, pull = d / weights, h / weights
        f = np.zeros(len(h))
        up = pull > 0
        if up.any():
            lift = (curvature - np.min(curvature[up]))[up] if np.ndim(d) else np.zeros(up.sum())
            f[up] = _of_unit_length(pull[up], lift, weights[up])
        else:
            f[int(np.argmin(0.5 * curvature - pull * np.sqrt(weights)))] = 1.0
        return f / np.sqrt(weights @ f**2)


def _of_unit_length(pull: np.ndarray, lift: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""Return :math:`p / (l + \mu)` with the one :math:`\mu > 0` that gives it unit length."""
    from scipy.optimize import brentq

    size = float(np.sqrt(weights @ pull**2))
    if np.ptp(lift) <= FLAT * size:
        return pull / size
    # Too long at the one end, too short at the other.
    lowest = float(np.max(np.where(lift == 0, np.sqrt(weights) * pull, 0.0))) / size

    def too_long(mu: float) -> float:
        return float(weights @ (pull / size / (lift / size + mu)) ** 2) - 1.0

    mu = brentq(too_long, 0.5 * lowest, 2.0, xtol=0.5 * FLAT * lowest)
    return pull / size / (lift / size + mu)
