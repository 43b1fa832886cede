"""Rules about whole columns of a factor."""

from __future__ import annotations

import numpy as np

from endmember.factor.penalties.base import Penalty
from endmember.factor.subproblem import Setting


class UnitColumns(Penalty):
    r"""Columns of unit length, found at the present scale: :math:`f = [h]_+ / \|[h]_+\|`.

    Equation (12) of Muto & Shiga: the exact minimiser on the sphere. It takes the place of moving
    the scale to another factor wherever a penalty would charge for that. If nothing of ``h`` is
    positive, the best unit vector is the one at its largest entry.

    Parameters
    ----------
    row_weights : ndarray, (n,), optional
        Weights of the rows in the length.

    Examples
    --------
    >>> UnitColumns().column(np.array([3.0, 4.0, -1.0]), 1.0, np.zeros((3, 1)), 0, None)
    array([0.6, 0.8, 0. ])
    """

    in_words = "of unit length"

    def __init__(self, row_weights: np.ndarray | None = None) -> None:
        self.row_weights = row_weights

    def column(
        self, h: np.ndarray, d: np.ndarray | float, F: np.ndarray, j: int, setting: Setting | None
    ) -> np.ndarray:
        weights = np.ones(len(h)) if self.row_weights is None else self.row_weights
        direction = np.maximum(h, 0.0)
        if not direction.any():
            direction = np.zeros_like(h)
            direction[int(np.argmax(h))] = 1.0
        return direction / np.sqrt(weights @ direction**2)
