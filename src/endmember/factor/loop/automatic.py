r"""Weights of penalties that the data choose: those with which a model is expected to predict best.

Stein's estimate of how far a model is from the data without their noise needs no other data. In units of the noise,
up to a constant,

.. math:: R(w) = \frac{\|X - \hat X_w\|^2}{\sigma^2} + 2\sum_F \frac{\langle\varepsilon, \hat F_w(H + \varepsilon)
          - \hat F_w(H)\rangle}{\sigma^2}

with the sum over the factors, each with the others as they are, and :math:`\varepsilon` the noise that the data
leave in what they are contracted to. Amounts that are clipped at zero cost half of what free ones do, so that it sees
a cone of spectra that is wider than the noise asks for as well as maps that are rougher.

Stein, Ann. Stat. 9 (1981) 1135; the sum by one perturbation: Ramani, Blu & Unser, IEEE Trans. Image Process. 17
(2008) 1540.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from endmember.factor.columns import lengths
from endmember.factor.loop.absence import excess_of
from endmember.factor.loop.alternate import best_factor
from endmember.factor.loop.compatibility import default_solvers
from endmember.factor.loop.fit import Fit
from endmember.factor.loop.problem import Problem
from endmember.factor.losses import SquaredError
from endmember.factor.penalties.base import Automatic, Penalty
from endmember.factor.subproblems import Quadratic, times_gram

#: Weights are tried in these steps, in quarters of a decade, and so many of each at most.
STEPS, MOST = (2, -2, 1, -1), 4
#: What is added to the data to see how the model follows, in standard deviations of the noise.
NUDGE = 0.3
#: A factor stands still when a step moves it by less than this fraction; so many steps at most.
STILL, ROUNDS = 1e-4, 100
#: No weight may widen the cone of spectra: amounts that noise makes negative keep this much of their mean square,
KEPT = 0.9
#: or of this, where it was larger: a cone as narrow as that is none that clipped noise has widened.
NARROW = 0.5
#: None may narrow it so far that this mean square exceeds that of noise.
BORNE = 1.0

#: Returns what a problem makes of factors.
Improve = Callable[[Problem, Sequence[np.ndarray]], Fit]
#: A penalty and the number of the factor that it is on.
Placed = tuple[int, Penalty]


def set_aside(problem: Problem) -> tuple[Problem, list[Placed]]:
    """Return the problem without the penalties whose weights the data choose, and these."""
    aside = [
        (mode, penalty)
        for mode, own in enumerate(problem.penalties)
        for penalty in own
        if isinstance(getattr(penalty, "weight", None), Automatic)
    ]
    rest = [
        [p for p in own if (mode, p) not in aside] for mode, own in enumerate(problem.penalties)
    ]
    return replace(problem, penalties=rest), aside


def weighed(problem: Problem, aside: Sequence[Placed], weights: Sequence[float]) -> Problem:
    """Return the problem with the first of the penalties that were set aside at these weights; 0 leaves one out."""
    penalties = [list(own) for own in problem.penalties]
    for (mode, penalty), weight in zip(aside, weights, strict=False):
        if weight > 0:
            penalties[mode].insert(0, penalty.weighing(weight))
    return replace(problem, penalties=penalties)


def choose(
    problem: Problem, fit: Fit, aside: Sequence[Placed], improve: Improve
) -> tuple[list[float], Fit]:
    """Return the weights that the data choose, one after the other, and the fit with them.

    Parameters
    ----------
    problem : Problem
        Without the penalties that were set aside.
    fit : Fit
        Of that problem.
    aside : sequence of (int, Penalty)
    improve : callable
        ``improve(problem, factors)`` goes on from factors.
    """
    weights: list[float] = []
    variance = problem.noise_left(fit.factors)
    for number in range(len(aside)):
        known = problem, aside[: number + 1], weights, fit, variance, improve
        weight, fit = _least(*known) if variance > 0 else (0.0, fit)
        weights.append(weight)
    return weights, fit


def _least(
    problem: Problem,
    aside: Sequence[Placed],
    weights: Sequence[float],
    without: Fit,
    variance: float,
    improve: Improve,
) -> tuple[float, Fit]:
    """Return the weight of the least risk that harms no component, and the fit with it; 0 and that without.

    It is that of the last penalty, beside those of others. Weights are numbered in quarters of decades from the one
    to begin with.
    """
    penalty, C = aside[-1][1], without.factors[0]
    strongest = np.argmax(C * lengths(without.factors[-1]), axis=1)
    groups = (strongest == np.arange(C.shape[1])[:, None]).astype(float)
    least, most = risk(weighed(problem, aside, weights), without.factors, variance, groups)
    width_without = _width(problem, without.factors, variance)
    found: dict[int, tuple[float, Fit, bool]] = {}

    def weight(number: int) -> float:
        return float(min(float(penalty.weight) * 10 ** (number / 4), penalty.heaviest))

    def ask(number: int, near: int | None) -> float:
        """Return the risk at a weight, with a fit that goes on from that at another one, or from that without."""
        if number not in found:
            this = weighed(problem, aside, [*weights, weight(number)])
            fit = improve(this, (found[near][1] if near in found else without).factors)
            value, parts = risk(this, fit.factors, variance, groups)
            width = _width(problem, fit.factors, variance)
            wide = width < KEPT * np.minimum(width_without, NARROW)
            narrow = width > np.maximum(width_without / KEPT, BORNE)
            found[number] = value, fit, not np.any((parts > most) | wide | narrow)
        return found[number][0]

    best = 0
    for step in STEPS:
        for _ in range(MOST):
            if ask(best + step, best) >= ask(best, best):
                break
            best += step
    lightest = min(found)
    while lightest > -2 * MOST and not any(fair for *_, fair in found.values()):
        lightest -= 2
        ask(lightest, None)
    fair = [(value, number) for number, (value, _, fair) in found.items() if fair]
    value, number = min(fair, default=(np.inf, 0))
    return (weight(number), found[number][1]) if value < least else (0.0, without)


def risk(
    problem: Problem, factors: Sequence[np.ndarray], variance: float, groups: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return how far a fit is expected to be from the data without their noise, up to a constant, in its variance.

    In all, and what the rows of the first factor add to it in each of the groups (groups, n), (groups,).
    """
    solvers = default_solvers(SquaredError(), problem.penalties, factors[-1].shape[1])
    total = problem.loss.misfit(problem.data, factors)
    for mode, solver in enumerate(solvers):
        plain = problem.touching(factors, mode)
        nudge, weights = _noise(plain, NUDGE * variance**0.5, np.random.default_rng(mode))
        moved = replace(plain, H=plain.H + nudge)
        before = best_factor(problem, factors, mode, solver, plain, STILL, ROUNDS)
        here = [*factors[:mode], before, *factors[mode + 1 :]]
        after = best_factor(problem, here, mode, solver, moved, STILL, ROUNDS)
        follows = np.sum(weights * nudge * (after - before), axis=1) / NUDGE**2
        total += follows.sum()
        if mode == 0:
            F = factors[0]
            rows = np.sum(weights * F * (0.5 * times_gram(F, plain.G) - plain.H), axis=1)
            parts = groups @ (rows + follows)
    return 2 * float(total) / variance, 2 * parts / variance


def _noise(
    plain: Quadratic, deviation: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return noise of the data as it is in what they are contracted to, (n, k), and the weight of every row, (n, 1)."""
    size, axes = np.linalg.eigh(plain.G)
    root = axes * np.sqrt(np.maximum(size, 0.0))[..., None, :]
    drawn = rng.standard_normal(plain.shape)
    return deviation * (root @ drawn[..., None])[..., 0] / np.sqrt(plain.weights), plain.weights


def _width(problem: Problem, factors: Sequence[np.ndarray], variance: float) -> np.ndarray:
    """Return the mean square of negative amounts that were tested: the less, the wider the cone of spectra."""
    return excess_of(problem, factors, {0: factors[0] <= 0}, variance)
