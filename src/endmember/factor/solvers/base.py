"""What a solver is, and how it refuses what it cannot do."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from endmember.factor.subproblems import Quadratic, Subproblem

#: Bounds count as met, and multipliers as zero, within this fraction of the largest entry.
TOLERANCE = 1e-12

#: What a solver keeps of one factor from one sweep to the next.
Memory = dict[str, Any]


class Solver(BaseEstimator):
    """Improves one factor of a subproblem; it knows neither data nor loss nor model.

    A subclass implements :meth:`improve` and says in its class attributes what it can work with.
    """

    #: The kinds of subproblem it solves.
    solves: tuple[type[Subproblem], ...] = (Quadratic,)
    #: What penalties may ask of it besides ``add`` and ``bounds``: "basis", "column", "prox", "project".
    obeys: tuple[str, ...] = ()
    #: Whether the objective never rises; if it may, the best iterate is kept.
    monotone = True
    #: Whether entries keep their sign and stay at zero once they are there: starts must have none.
    keeps_signs = False
    #: Sweeps that a short run from one start takes (a sweep of ANLS does more than one of HALS).
    short_sweeps = 50
    #: The solver in words, for reports; may name parameters in braces.
    in_words = ""
    references: tuple[str, ...] = ()

    def can_solve(self, kind: type[Subproblem]) -> bool:
        """Tell whether it works on a kind of subproblem."""
        return issubclass(kind, self.solves)

    @abstractmethod
    def improve(
        self,
        subproblem: Any,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        """Return a better ``F``.

        Parameters
        ----------
        subproblem : Subproblem
        F : ndarray, (n, k)
            Never changed.
        n_others : int
            The number of entries that each row was made from.
        penalties : sequence of Penalty
            Those of this factor, for what they offer beyond the subproblem.
        memory : dict, optional
            Kept by the caller from sweep to sweep.
        """
