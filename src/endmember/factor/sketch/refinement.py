"""The end of a fit to compressed data: factors of a sketch become those of the full data, a pass a round."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from endmember.factor.data.matrix import Data
from endmember.factor.loop.fit import FINEST, Fit, certified
from endmember.factor.loop.problem import Problem
from endmember.factor.sketch.low_rank import LowRank, Refined
from endmember.factor.sketch.passes import Seen, examined

logger = logging.getLogger("endmember")

#: Passes after those of the sketch, at most.
ROUNDS = 24

#: Improves a fit of a problem in memory until it stands still.
GoOn = Callable[[Problem, Fit], Fit]
#: Returns the maps that are best for the spectra as they are.
BestMaps = Callable[[Problem, list[np.ndarray]], np.ndarray]


def finish(
    problem: Problem, sketch: Data, fit: Fit, tol: float, go_on: GoOn, best_maps: BestMaps
) -> tuple[Fit, float, Seen]:
    r"""Improve a fit of a sketch until it is one of the full data, and certify it.

    A round is one pass: it measures the misfit and the Karush-Kuhn-Tucker residual :math:`\kappa` of the factors
    on the full data. Below :math:`10\,{\rm tol}^{2/3}` (1e-3 at the default, 1e-5 at 1e-9), or
    where a round brings as good as nothing, they are the answer; else the sketch, now
    exact for them, is fitted further.

    Parameters
    ----------
    problem : Problem
        Of the full data.
    sketch : LowRank, or the same with weights
    fit : Fit
        Of the sketch.
    tol : float
        Relative progress per sweep that counts as none.
    go_on : callable
        ``go_on(problem, fit)`` continues a fit.
    best_maps : callable
        ``best_maps(problem, factors)``: the last word belongs to the maps, whose products are exact.

    Returns
    -------
    fit : Fit
        Objectives are on the scale of the full data; the last one is that of its factors, measured on them.
    optimality : float
        Of the full data.
    seen : Seen
        What the last pass says of the factors.
    """
    low = sketch.scaled
    assert isinstance(low, LowRank)
    refined = Refined(low.Z, low.V, low.squared_norm, low.dtype)
    data = problem.data.matrix
    here = replace(problem, data=data.with_scaled(refined))
    goal = certified(tol)
    before = optimality = np.inf
    for round_ in range(1, ROUNDS + 1):
        seen = examined(data, fit.factors[0], fit.factors[1])
        C, S = (scale * F for scale, F in zip(data.scales, fit.factors, strict=True))
        refined.learn(C, S, seen.right, seen.left)
        fit, optimality = _measured(fit, seen), here.optimality(fit.factors)
        logger.debug(
            "full data, round %d: misfit %.9g, optimality %.1e", round_, float(seen.misfit), optimality
        )  # fmt: skip
        objective = float(seen.misfit) + problem.penalty(fit.factors)
        still = optimality <= goal or before - objective <= FINEST * tol * abs(objective)
        if still or fit.stopped or round_ == ROUNDS:
            break
        before, fit = objective, go_on(here, fit)
    fit, optimality, seen = _with_best_maps(here, fit, optimality, seen, best_maps)
    return replace(fit, converged=fit.converged and still), optimality, seen


def _with_best_maps(
    problem: Problem, fit: Fit, optimality: float, seen: Seen, best_maps: BestMaps
) -> tuple[Fit, float, Seen]:
    """Return the fit with the maps that its spectra ask of the full data, where they carry the scale."""
    C, S = fit.factors
    if problem.scales(S.shape[1]).unit[0].any():
        return fit, optimality, seen
    factors = [best_maps(problem, [C, S]), S]
    misfit = problem.loss.misfit(problem.data, factors, 0, problem.plain(factors, 0))
    objective = misfit + problem.penalty(factors)
    if not objective <= fit.objective[-1]:
        return fit, optimality, seen
    fit = replace(
        fit, factors=factors,
        objective=[*fit.objective[:-1], objective], misfit=[*fit.misfit[:-1], misfit],
    )  # fmt: skip
    return fit, problem.optimality(factors), seen.moved(C, factors[0], S)


def _measured(fit: Fit, seen: Seen) -> Fit:
    """Return the fit with its objectives moved to the scale of the full data."""
    shift = float(seen.misfit) - (fit.misfit[-1] if fit.misfit else 0.0)
    return replace(
        fit,
        objective=[value + shift for value in fit.objective],
        misfit=[value + shift for value in fit.misfit],
    )
