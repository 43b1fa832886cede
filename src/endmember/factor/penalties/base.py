"""What a penalty is, and how several of them become one set of bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.base import BaseEstimator

from endmember.factor.subproblem import Bound, Setting


class Penalty(BaseEstimator):
    """A wish about one factor ``F`` (n, k). A subclass defines what it has to offer, nothing else.

    ``add(subproblem, F)``
        Adds to the subproblem, by a quadratic that touches the penalty at ``F`` and lies above it.
    ``bounds(shape)``
        Returns the lower and upper bound of a factor of that shape.
    ``column(h, d, F, j, setting)``
        Returns column ``j`` that is best for ``½ d f² − h f``, one column at a time.
    ``prox(F, step, setting)``
        Returns the point that is best for the penalty plus ``½‖· − F‖² / step``.
    ``value(F, setting)``
        Returns what the penalty adds to the objective; nothing for constraints.

    Weights are dimensionless: ``setting`` says what a weight of 1 is worth.
    """

    #: Whether a larger factor costs more, so that the scale must not flee to the other factors.
    has_scale = False
    #: Whether it speaks of neighbours in an image, so that a mere list of pixels will not do.
    spatial = False
    #: The wish in words, for reports; may name parameters in braces.
    in_words = ""
    references: tuple[str, ...] = ()

    def fixes_scale(self, k: int) -> np.ndarray:
        """Return for each component whether its scale in this factor is given, (k,) bool."""
        return np.zeros(k, dtype=bool)

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        """Return what the penalty adds to the objective at ``F``."""
        return 0.0

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        """Refuse a factor (n, k) on which the wish makes no sense, before the first sweep."""


def offers(penalty: Penalty) -> set[str]:
    """Return what a penalty offers to solvers, of "add", "bounds", "column" and "prox"."""
    return {name for name in ("add", "bounds", "column", "prox") if hasattr(penalty, name)}


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
        if not hasattr(penalty, "bounds"):
            continue
        low, high = penalty.bounds(shape)
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    return lower, upper
