"""Penalties on single entries of a factor."""

from __future__ import annotations

import numpy as np

from endmember.factor.penalties.base import Penalty
from endmember.factor.subproblem import Bound


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
