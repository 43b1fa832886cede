"""What a penalty is, and how several of them become one set of bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from endmember.errors import Argument, EndmemberError, EndmemberTypeError, Words
from endmember.factor.data.grid import Grid
from endmember.factor.subproblems.base import Bound, Setting
from endmember.factor.subproblems.quadratic import Quadratic

#: Lengths are changed by this fraction to see what that costs.
NUDGE = 1e-4


class Penalty(BaseEstimator):
    """A wish about one factor ``F`` (n, k). A subclass defines what it has to offer, nothing else.

    ``add(subproblem, F)``
        Adds to the subproblem, by a quadratic that touches the penalty at ``F`` and lies above it.
    ``bounds(shape, grid)``
        Returns the lower and upper bound of a factor of that shape, whose rows lie on that grid.
    ``column(h, d, F, j, setting)``
        Returns column ``j`` that is best for ``½ d f² − h f``, one column at a time.
    ``prox(F, step, setting)``
        Returns the point that is best for the penalty plus ``½‖· − F‖² / step``.
    ``norm`` and ``slope(subproblem, F)``
        Says how much an unsquared norm costs, and its slope at ``F``.
    ``value(F, setting)``
        Returns what the penalty adds to the objective; nothing for constraints.

    Weights are dimensionless: ``setting`` says what a weight of 1 is worth.
    """

    #: Whether a larger factor costs more, so that the scale must not flee to the other factors.
    has_scale: bool = False
    #: Whether it has an objective; a mere rule has none, and the fit stops when it stands still.
    has_objective: bool = True
    #: Whether it opens valleys along which the objective hardly falls, so that progress is held against the noise.
    creeps = False
    #: Whether it speaks of neighbours in an image, so that a mere list of pixels will not do.
    spatial = False
    #: Whether it only makes sense where this factor carries the scale, whatever others cost.
    carries_scale = False
    #: By which rule of `endmember.factor.loop.merging` it decides how many components are kept; "" where it does not.
    chooses = ""
    #: The sum at which it holds every row exactly; None where it does not.
    row_sum: float | None = None
    #: The wish in words, for reports; may name parameters in braces.
    in_words = ""
    references: tuple[str, ...] = ()

    def offers(self) -> set[str]:
        """Return what it offers to solvers, of "add", "bounds", "column", "norm" and "prox"."""
        return {name for name in ("add", "bounds", "column", "norm", "prox") if hasattr(self, name)}

    def fixes_scale(self, k: int) -> np.ndarray:
        """Return for each component whether its scale in this factor is given, (k,) bool."""
        return np.zeros(k, dtype=bool)

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        """Return what the penalty adds to the objective at ``F``."""
        return 0.0

    def spent(self, F: np.ndarray, setting: Setting | None) -> np.ndarray:
        """Return by how much the value rises with the logarithm of the length of each column, (k,)."""
        k = F.shape[1]
        if hasattr(self, "add"):
            # What it adds to a subproblem touches its value at F.
            empty = Quadratic(np.zeros((k, k)), np.zeros(F.shape), setting=setting)
            self.add(empty, F)
            return np.sum(F * empty.gradient(F), axis=0)
        grown = 1.0 + NUDGE * np.eye(k)
        rises = [self.value(F * g, setting) - self.value(F * (2.0 - g), setting) for g in grown]
        return np.array(rises) / (2.0 * NUDGE)

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        """Refuse a factor (n, k) on which the wish makes no sense, before the first sweep."""

    def oversize(self, F: np.ndarray) -> float:
        """Return how many times too large a start is for a constraint that fixes its size; 1 if none does."""
        return 1.0

    def gentler(self) -> Penalty:
        """Return the wish for finding a start, where this one leaves no way from one solution to another."""
        return self

    def begin(self, F: np.ndarray) -> np.ndarray:
        """Return a factor near ``F``, found with the gentler wish, from which this one can be followed."""
        return F

    def finish(self, factors: Sequence[np.ndarray], mode: int) -> list[np.ndarray]:
        """Return the factors of a finished fit, of which number ``mode`` is this one, at their last scale."""
        return list(factors)

    def conflict(
        self, own: Sequence[Penalty], others: Sequence[Sequence[Penalty]], k: int
    ) -> str | Words | None:
        """Return in one sentence why the wish cannot stand beside others, and the way out; or None.

        ``own`` are all wishes about this factor, ``others`` those about each of the other factors.
        """
        return None


def offers(penalty: Penalty) -> set[str]:
    """Return what a penalty offers to solvers, of "add", "bounds", "column" and "prox"."""
    return penalty.offers()


def steers_columns(wishes: Iterable[Penalty]) -> bool:
    """Tell whether one of the wishes about a factor has a rule for columns."""
    return any("column" in penalty.offers() for penalty in wishes)


def resolve(wishes: Penalty | Iterable[Penalty] | None, name: str) -> list[Penalty]:
    """Return the penalties of one factor as a list, with non-negativity unless ``Free()`` is among them.

    Raises
    ------
    TypeError
        If something given is not a penalty.
    ValueError
        If the weight of one is no number of at least 0.
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
            raise EndmemberTypeError(
                f"{name}={penalty!r} is not a penalty; give one such as em.Smooth(), a list of "
                "them, or None"
            )
        weight = getattr(penalty, "weight", 0)
        if not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
            raise EndmemberError(
                the_wish(
                    penalty,
                    f"weight={weight!r} of em.{type(penalty).__name__} on the {name}",
                    weight,
                ),
                " must be a number of at least 0, such as 0.01",
            )
    if not any(isinstance(penalty, Free | NonNegative) for penalty in given):
        given.insert(0, NonNegative())
    # What must hold exactly has the last word.
    return sorted(given, key=lambda penalty: "prox" in offers(penalty) and not penalty.has_scale)


def is_free(penalties: Sequence[Penalty]) -> bool:
    """Tell whether a factor with these penalties may have any sign."""
    from endmember.factor.penalties.elementwise import Free

    return any(isinstance(penalty, Free) for penalty in penalties)


def check_together(wishes: Mapping[str, Sequence[Penalty]], k: int) -> None:
    """Refuse wishes about the factors of a model, by name, that cannot all be granted.

    Raises
    ------
    ValueError
        With the sentence of the first penalty that is in conflict.
    """
    for name, own in wishes.items():
        others = [penalties for other, penalties in wishes.items() if other != name]
        for penalty in own:
            reason = penalty.conflict(own, others, k)
            if reason:
                words = (reason,) if isinstance(reason, str) else reason
                wish = the_wish(penalty, f"{type(penalty).__name__} on the {name}")
                raise EndmemberError(wish, ": ", *words)


def the_wish(penalty: Penalty, says: str | None = None, value: Any = "") -> Argument:
    """Return a penalty as a word of a sentence, such as ``em.SoftOrthogonal`` unless it is said otherwise."""
    kind = type(penalty).__name__
    return Argument(re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower(), value, says or f"em.{kind}")


def bounds_of(
    penalties: Sequence[Penalty], shape: tuple[int, int], grid: Grid | None = None
) -> tuple[Bound, Bound]:
    """Return the box in which all penalties' boxes overlap.

    Parameters
    ----------
    penalties : sequence of Penalty
    shape : (int, int)
        Of the factor, (n, k).
    grid : Grid, optional
        Says which pixels or channels are the rows of the factor; all of them unless given.

    Raises
    ------
    ValueError
        If the boxes do not overlap.
    """
    lower: Bound = -np.inf
    upper: Bound = np.inf
    for penalty in penalties:
        if not hasattr(penalty, "bounds"):
            continue
        low, high = penalty.bounds(shape, grid)
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    crossed = np.count_nonzero(np.greater(lower, upper))
    if crossed:
        names = " and ".join(type(p).__name__ for p in penalties if hasattr(p, "bounds"))
        raise EndmemberError(
            f"{names} contradict each other in {crossed} entries of the factor: a given value below "
            "zero needs em.Free() beside it, and an entry that must be absent cannot be given"
        )
    return lower, upper
