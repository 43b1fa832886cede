"""What a penalty is."""

import re
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from endmember.errors import Argument, Words
from endmember.factor.subproblems import Quadratic, Setting

#: Lengths are changed by this fraction to see what that costs.
NUDGE = 1e-4


class Automatic(float):
    """A weight that the data choose: the one they chose, or that of the penalty's default to begin with."""

    def __format__(self, spec: str) -> str:
        return f"{float(self):{spec or '.3g'}}, chosen by the data"


class Penalty(BaseEstimator):
    """A demand on one factor ``F`` (n, k). A subclass defines what it has to offer, nothing else.

    ``add(subproblem, F)``
        Adds to the subproblem, by a quadratic that touches the penalty at ``F`` and lies above it.
    ``bounds(shape, grid)``
        Returns the lower and upper bound of a factor of that shape, whose rows lie on that grid.
    ``column(h, d, F, j, setting)``
        Returns column ``j`` that is best for ``½ d f² − h f``, one column at a time.
    ``prox(F, step, setting)``
        Returns the point that is best for the penalty plus ``½‖· − F‖² / step``.
    ``basis(grid)``
        Returns the known columns (n, p) that every column of the factor is a non-negative combination of.
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
    #: Whether the data decide where it holds, by `endmember.factor.loop.absence`.
    tested = False
    #: The largest weight that makes sense.
    heaviest = np.inf
    #: The sum at which it holds every row exactly; None where it does not.
    row_sum: float | None = None
    #: The penalty in words, for reports; may name parameters in braces.
    in_words = ""
    references: tuple[str, ...] = ()

    def offers(self) -> set[str]:
        """Return what it offers to solvers, of "add", "basis", "bounds", "column", "norm" and "prox"."""
        hooks = "add", "basis", "bounds", "column", "norm", "prox"
        return {name for name in hooks if hasattr(self, name)}

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

    def weighing(self, weight: float) -> Self:
        """Return the same penalty with another weight."""
        return clone(self).set_params(weight=weight)

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        """Refuse a factor (n, k) on which the penalty makes no sense, before the first sweep."""

    def oversize(self, F: np.ndarray) -> float:
        """Return how many times too large a start is for a constraint that fixes its size; 1 if none does."""
        return 1.0

    def gentler(self) -> "Penalty":
        """Return the penalty for finding a start, where this one leaves no way from one solution to another."""
        return self

    def begin(self, F: np.ndarray) -> np.ndarray:
        """Return a factor near ``F``, found with the gentler penalty, from which this one can be followed."""
        return F

    def finish(self, factors: Sequence[np.ndarray], mode: int) -> list[np.ndarray]:
        """Return the factors of a finished fit, of which number ``mode`` is this one, at their last scale."""
        return list(factors)

    def conflict(
        self, own: "Sequence[Penalty]", others: "Sequence[Sequence[Penalty]]", k: int
    ) -> str | Words | None:
        """Return in one sentence why the penalty cannot stand beside others, and the way out; or None.

        ``own`` are all penalties on this factor, ``others`` those on each of the other factors.
        """
        return None


def worded(penalty: Penalty, says: str | None = None, value: Any = "") -> Argument:
    """Return a penalty as a word of a sentence, such as ``em.SoftOrthogonal`` unless it is said otherwise."""
    kind = type(penalty).__name__
    return Argument(re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower(), value, says or f"em.{kind}")
