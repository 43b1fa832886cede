"""What a penalty is, and how several of them become one set of bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.base import BaseEstimator

from endmember.factor.subproblem import Bound


class Penalty(BaseEstimator):
    """A wish about one factor ``F`` (n, k). A subclass overrides what it has to offer, nothing else.

    ``bounds`` keeps entries in a box. Its ``value`` is what it adds to the objective.
    """

    #: The wish in words, for reports; may name parameters in braces.
    in_words = ""
    references: tuple[str, ...] = ()

    def bounds(self, shape: tuple[int, int]) -> tuple[Bound, Bound]:
        """Return the lower and the upper bound of a factor of this shape."""
        return -np.inf, np.inf

    def value(self, F: np.ndarray) -> float:
        """Return what the penalty adds to the objective at ``F``."""
        return 0.0


def resolve(wishes: Penalty | Iterable[Penalty] | None, name: str) -> list[Penalty]:
    """Return the penalties of one factor as a list, with non-negativity unless ``Free()`` is among them.

    Raises
    ------
    TypeError
        If something given is not a penalty.
    """
    from endmember.factor.penalties.elementwise import Free, NonNegative

    if wishes is None:
        given: list[Penalty] = []
    elif isinstance(wishes, Penalty):
        given = [wishes]
    elif isinstance(wishes, Iterable) and not isinstance(wishes, str):
        given = list(wishes)
    else:
        given = [wishes]  # refused below, with its sentence
    for penalty in given:
        if not isinstance(penalty, Penalty):
            raise TypeError(
                f"{name}={penalty!r} is not a penalty; give one such as em.Free(), a list of "
                "them, or None"
            )
    if not any(isinstance(penalty, Free | NonNegative) for penalty in given):
        given.insert(0, NonNegative())
    return given


def bounds_of(penalties: Sequence[Penalty], shape: tuple[int, int]) -> tuple[Bound, Bound]:
    """Return the box in which all penalties' boxes overlap."""
    lower: Bound = -np.inf
    upper: Bound = np.inf
    for penalty in penalties:
        low, high = penalty.bounds(shape)
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    return lower, upper
