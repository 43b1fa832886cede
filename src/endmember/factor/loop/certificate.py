"""What a fit may say of itself at its end: that it stands at a minimum, or what to try."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from endmember.factor.loop.alternate import DEAD, Fit, Problem, certified


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
        reason = (
            f"nothing is left of component {', '.join(map(str, empty))}: lower the weights of the penalties, or ask "
            "for fewer components"
        )
    elif not fit.converged:
        reason = (
            f"not converged after {len(fit.objective)} sweeps (KKT residual {optimality:.1e}): raise max_iter, "
            "accept more progress per sweep with a larger tol, or ask for fewer components"
        )
    elif optimality > certified(tol):
        reason = (
            f"the sweeps stand still away from a minimum (KKT residual {optimality:.1e}): leave the solver to be "
            "chosen (solver=None), lower the weights of the penalties, or fit data as they are (compress=False)"
        )
    else:
        return fit, optimality
    if not fit.stopped:
        warnings.warn(reason, ConvergenceWarning, stacklevel=stacklevel)
    return replace(fit, converged=False), optimality
