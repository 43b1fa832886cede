"""A loss as a square that touches it: the way counts take part in a sum of squares.

The square that a loss says (:meth:`Loss.touching`) bends no less than the loss does at the present model. Further
away it may, so :class:`Cautious` bends it more until it lies above the loss where the step ends: the objective never
rises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from endmember.factor.penalties import offers
from endmember.factor.solvers import Solver
from endmember.factor.solvers.base import Memory
from endmember.factor.subproblem import Quadratic, times_gram

#: A square is made steeper by this factor until it lies above the divergence, so often at most.
STEEPER, TRIALS = 4.0, 20
#: What penalties do beside adding to the square.
STEPS = {"column", "prox", "project", "norm"}
#: Differences below this fraction of the misfit are rounding.
ROUNDING = 1e-13


@dataclass
class Local(Quadratic):
    """A quadratic problem that stands in for another near one point.

    Attributes
    ----------
    own_G, own_H : ndarray
        The square as the data made it, before penalties added to it.
    misfit : callable
        The misfit itself, of any ``F``.
    """

    own_G: Any = None
    own_H: Any = None
    misfit: Callable[[np.ndarray], float] = lambda F: 0.0

    def steeper(self, F: np.ndarray, times: float) -> Local:
        """Return the problem with the square bent ``times`` as much, about the same point and slope."""
        more = (times - 1.0) * self.own_G
        return replace(self, G=self.G + more, H=self.H + times_gram(F, more))

    def is_above(self, F: np.ndarray, new: np.ndarray, times: float, start: float) -> bool:
        """Tell whether the square, bent ``times`` as much, is no lower than the misfit at ``new``."""
        step = new - F
        slope = np.sum(step * (times_gram(F, self.own_G) - self.own_H))
        bend = 0.5 * np.sum(step * times_gram(step, self.own_G))
        allowed = start + slope + times * bend
        return bool(self.misfit(new) <= allowed + ROUNDING * abs(start))


class Cautious(Solver):
    """A solver whose step counts only where the square it minimised lies above the misfit.

    Parameters
    ----------
    solver : Solver
        What minimises the squares.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.obeys, self.monotone = solver.obeys, solver.monotone

    def improve(
        self,
        subproblem: Any,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        """Return a better ``F``, or the same where every step made it worse."""
        if not isinstance(subproblem, Local):
            return self.solver.improve(subproblem, F, n_others, penalties=penalties, memory=memory)
        memory = {} if memory is None else memory
        start, times = subproblem.misfit(F), max(1.0, memory.get("times", 1.0) / STEEPER)
        for _ in range(TRIALS):
            bent = subproblem.steeper(F, times)
            new = self.solver.improve(bent, F, n_others, penalties=penalties, memory=memory)
            # Where penalties act by steps of their own, the square alone need not fall.
            falls = any(offers(p) & STEPS for p in penalties) or bent.value(new) <= bent.value(F)
            if falls and subproblem.is_above(F, new, times, start):
                memory["times"] = times
                return new
            times *= STEEPER
        return F
