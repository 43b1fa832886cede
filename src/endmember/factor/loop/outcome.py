"""How a fit ended, and what to try where that is not a minimum with all its components."""

from __future__ import annotations

import warnings
from dataclasses import replace
from enum import Enum
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from endmember.errors import Argument, Sentence
from endmember.factor.loop.alternate import DEAD
from endmember.factor.loop.fit import Fit
from endmember.factor.loop.problem import Problem
from endmember.factor.loop.stopping import certified


class Outcome(Enum):
    """How a fit ended, with the sentence that says what to try."""

    CONVERGED = ()
    EMPTY = (
        "nothing is left of component {empty}: lower the weights of the penalties, or ask for fewer components",
    )
    UNFINISHED = (
        "not converged after {sweeps} sweeps (KKT residual {optimality:.1e}): raise ",
        Argument("max_iter", says="max_iter"),
        ", accept more progress per sweep with a larger ",
        Argument("tol", says="tol"),
        ", or ask for fewer components",
    )
    NO_MINIMUM = (
        "the sweeps stand still away from a minimum (KKT residual {optimality:.1e}): leave the solver to be chosen",
        Argument("", says=" (solver=None)"),
        " or lower the weights of the penalties",
        Argument("", says=", or fit data as they are (compress=False)"),
    )

    def sentence(self, **facts: Any) -> Sentence:
        """Return it, with what is known of the fit."""
        return Sentence(*(w.format(**facts) if isinstance(w, str) else w for w in self.value))


def concluded(
    problem: Problem, fit: Fit, tol: float, optimality: float | None = None, stacklevel: int = 4
) -> tuple[Fit, float]:
    """Return a finished fit that calls itself converged only at a minimum where every component is there.

    Parameters
    ----------
    problem : Problem
    fit : Fit
    tol : float
        Relative progress per sweep that counts as none.
    optimality : float, optional
        Of the fit; measured unless given.
    stacklevel : int
        Of the warning.

    Returns
    -------
    fit : Fit
    optimality : float
        The unit-free Karush-Kuhn-Tucker residual.

    Warns
    -----
    ConvergenceWarning
        That says what to try, where the fit did not converge and nobody asked it to stop.
    """
    optimality = problem.optimality(fit.factors) if optimality is None else optimality
    empty = np.flatnonzero(problem.data.shares(fit.factors) <= DEAD)
    if len(empty):
        outcome = Outcome.EMPTY
    elif not fit.converged:
        outcome = Outcome.UNFINISHED
    else:
        outcome = Outcome.CONVERGED if optimality <= certified(tol) else Outcome.NO_MINIMUM
    if outcome is not Outcome.CONVERGED and not fit.stopped:
        reason = outcome.sentence(
            empty=", ".join(map(str, empty)), sweeps=len(fit.objective), optimality=optimality
        )
        warnings.warn(reason, ConvergenceWarning, stacklevel=stacklevel)
    return replace(fit, converged=outcome is Outcome.CONVERGED), optimality
