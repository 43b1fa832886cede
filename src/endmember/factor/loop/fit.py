"""A fit under way: its factors, how they were reached, and what a callback hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Progress:
    """What a callback is told after every sweep."""

    stage: str
    sweep: int
    objective: float
    seconds_left: float | None = None


Callback = Callable[[Progress], "bool | None"]


@dataclass
class Fit:
    """Factors and how they were reached.

    Attributes
    ----------
    factors : list of ndarray, (n, k), (m, k)
        All but the first have columns of unit length.
    objective, misfit : list of float
        The penalised objective and the plain loss, one value a sweep.
    converged : bool
        Whether the progress per sweep fell below the tolerance.
    stopped : bool
        Whether the callback asked to stop.
    """

    factors: list[np.ndarray]
    objective: list[float] = field(default_factory=list)
    misfit: list[float] = field(default_factory=list)
    converged: bool = False
    stopped: bool = False

    def then(self, further: Fit) -> Fit:
        """Return where a run that went on from here has come to, with the sweeps of both."""
        return replace(
            further,
            objective=self.objective + further.objective,
            misfit=self.misfit + further.misfit,
        )
