"""What models share whose factors are improved in turn: starts, the best of them, and how the fit goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.errors import refuse_if
from endmember.factor.columns import placed
from endmember.factor.data import Observed
from endmember.factor.loop import (
    EXACT,
    Fit,
    Placed,
    Problem,
    StartReport,
    alternate,
    choose,
    concluded,
    default_solvers,
    fill,
    multistart,
    on_the_scale_of,
    start,
    start_maps,
    various,
    weighed,
)
from endmember.factor.losses import Loss
from endmember.factor.penalties import Basis, Penalty
from endmember.factor.sketch.low_rank import some_pixels
from endmember.factor.solvers import Solver
from endmember.methods.estimator import SpectralEstimator

#: Sweeps at most with a weight that is tried.
TRIED = 200
#: Pixels of compressed data on which starts of few and of many components are compared, and for every pair of those.
START_PIXELS, FOR_EACH_PAIR = (1024, 4096), 64
#: The best of them is continued on so many times as many, until all take part.
MORE = 16


class Alternating(SpectralEstimator):
    """A model whose factors are improved in turn, from the best of several starts."""

    init: Any
    #: A fit whose misfit is below this fraction of that of nothing is exact.
    exact = EXACT

    def _solvers(self, loss: Loss, penalties: Sequence[Sequence[Penalty]], k: int) -> list[Solver]:
        """Return the solver of each factor: the one given, or the one that measures best."""
        return (
            [self.solver] * len(penalties) if self.solver else default_solvers(loss, penalties, k)
        )

    def _run(self, problem: Problem, fit: Fit, **options: Any) -> Fit:
        """Return the factors improved in turn."""
        solvers = self._solvers(problem.loss, problem.penalties, fit.factors[0].shape[1])
        return alternate(problem, fit, solvers, tol=self.tol, **options)

    def _start(
        self,
        problem: Problem,
        k: int,
        given: Any,
        rng: np.random.Generator,
        callback: Any,
        n_starts: int | None = None,
    ) -> tuple[Problem, Fit, list[StartReport]]:
        """Return the problem with the size of its weights fixed, where to continue from, and how starts ended."""
        solvers = self._solvers(problem.loss, problem.penalties, k)
        if given is None:
            name = "nndsvd" if self.init == "multistart" else self.init
            given = start(problem, name, k, rng, solvers)
        problem = problem.settled(given)
        if self.init != "multistart":
            return problem, Fit(given), []
        few, n_starts = few_pixels(problem, rng, start_pixels(k)), n_starts or self.n_starts
        first = given if few is problem else start(few, "nndsvd", k, rng, solvers)
        others = various(few, k, solvers, rng.spawn(n_starts)[1:])
        fit, starts = multistart(
            few, chain([("nndsvd", first)], others), solvers,
            n_starts=n_starts, tol=self.tol, max_iter=self.max_iter, callback=callback,
        )  # fmt: skip
        while few is not problem:
            fit = self._continue(few, fit, callback, "some of the pixels")
            few = few_pixels(problem, rng, MORE * few.data.shape[0])
            fit = self._begun(few, start_maps(few, fit.factors[1]), fit.stopped)
        return problem, fit, starts

    def _start_beside(
        self, other: Problem, problem: Problem, k: int, rng: np.random.Generator, callback: Any
    ) -> tuple[Problem, Fit, list[StartReport]]:
        """Return the same as :meth:`_start`, found by another problem on compressed data."""
        beside = clone(self).set_params(solver=None)
        other, fit, starts = beside._start(other, k, None, rng, callback)
        fit = beside._continue(other, fit, callback, "compressed data")
        factors = fill(problem, fit.factors)
        problem = problem.settled(factors)
        starts = on_the_scale_of(problem, factors, starts)
        return problem, self._begun(problem, factors, fit.stopped), starts

    def _begun(self, problem: Problem, factors: list[np.ndarray], stopped: bool) -> Fit:
        """Return where a fit begins; one that was asked to stop has had a sweep."""
        if not stopped:
            return Fit(factors)
        fit = self._run(problem, Fit(factors), max_iter=1)
        fit.stopped = True
        return fit

    def _continue(self, problem: Problem, fit: Fit, callback: Any, stage: str) -> Fit:
        """Go on from where a fit stands; its sweeps count."""
        done = len(fit.objective)
        if fit.stopped or done >= self.max_iter:
            return fit
        return self._run(
            problem, fit, max_iter=self.max_iter - done, callback=callback, stage=stage,
            first_sweep=done, exact=self.exact,
        )  # fmt: skip

    def _weigh(
        self, full: Problem, quick: Problem, judged: Problem, fit: Fit, aside: Sequence[Placed], callback: Any
    ) -> tuple[Problem, Problem, Fit]:  # fmt: skip
        """Return the problems with the penalties that were set aside, at the weights that data choose, and the fit.

        They choose on ``judged``, whose loss knows what the noise is.
        """

        def improve(problem: Problem, factors: Sequence[np.ndarray]) -> Fit:
            return self._run(problem, Fit(list(factors)), max_iter=min(TRIED, self.max_iter))

        if judged is not quick:
            fit = improve(judged, fit.factors)
        weights, fit = choose(judged, fit, aside, improve)
        self.penalty_weights_ = np.array(weights)
        full, quick = (weighed(problem, aside, weights) for problem in (full, quick))
        return full, quick, self._continue(quick, Fit(fit.factors), callback, "weights")

    def _conclude(
        self, problem: Problem, fit: Fit, optimality: float | None = None, stacklevel: int = 5
    ) -> Fit:
        """Learn how the fit went, and return it."""
        fit, self.optimality_ = concluded(problem, fit, self.tol, optimality, stacklevel)
        self.objective_, self.n_iter_ = np.array(fit.objective), len(fit.objective)
        self.converged_ = fit.converged
        return fit


def learned_columns(penalties: Sequence[Penalty], observed: Observed) -> dict[str, Any]:
    """Return what is learned of the columns that spectra are put together from; nothing where they are not."""
    for penalty in penalties:
        if isinstance(penalty, Basis):
            total = placed(observed.data.totals()[1], observed.columns, observed.n_channels)
            return penalty.learned_from(total, observed.axis)
    return {}


def holding(
    penalties: Mapping[str, list[Penalty]], columns: np.ndarray
) -> dict[str, list[Penalty]]:
    """Return the penalties of every factor with the columns (p, channels) that a fit has learned."""
    return {
        name: [p.holding(columns) if isinstance(p, Basis) else p for p in own]
        for name, own in penalties.items()
    }


def start_pixels(k: int) -> int:
    """Return how many pixels are enough to compare starts of ``k`` components."""
    return int(np.clip(FOR_EACH_PAIR * k**2, *START_PIXELS))


def few_pixels(problem: Problem, rng: np.random.Generator, most: int) -> Problem:
    """Return the problem of some of the pixels of compressed data."""
    n = problem.data.shape[0]
    if n <= most or problem.data.halves() is None or any(p.spatial for p in problem.penalties[0]):
        return problem
    rows = np.sort(rng.choice(n, most, replace=False))
    data = some_pixels(problem.data.matrix, rows)
    grids = [problem.grids[0].take(rows), problem.grids[1]]
    settings = problem.settings and [
        replace(setting, grid=grid) for setting, grid in zip(problem.settings, grids, strict=True)
    ]
    return replace(problem, data=data, grids=grids, settings=settings)


def fitted_start(model: Any, problem: Problem, observed: Observed, k: int) -> list[np.ndarray]:
    """Return what another model finds in the data, without negative values and between the bounds."""
    model = clone(model)
    if model.n_components is None:
        model.set_params(n_components=k)
    refuse_if(
        model.n_components != k,
        f"init={model!r} finds {model.n_components} components and the model has {k}; ask both for "
        "as many",
    )
    model._check_parameters()
    model._fit(observed, np.arange(observed.n_channels, dtype=float), None)
    factors = given_start((model.maps_, model.components_), observed, k)
    return [problem.clip(np.maximum(F, 0.0), mode) for mode, F in enumerate(factors)]


def given_start(init: Any, observed: Observed, k: int) -> list[np.ndarray]:
    """Return the user's ``(maps, spectra)`` for the pixels and channels that take part."""
    n_pixels = int(np.prod(observed.domain))
    try:
        maps, spectra = (np.array(F, dtype=np.float64) for F in init)
        maps = maps.reshape(-1, maps.shape[-1])
        fits = maps.shape == (n_pixels, k) and spectra.shape == (k, observed.n_channels)
    except (TypeError, ValueError, IndexError):
        fits = False
    refuse_if(
        not fits,
        "init must be the name of a start or (maps, spectra) of shapes "
        f"{(*observed.domain, k)} and "
        f"{(k, observed.n_channels)}",
    )
    C, S = maps[observed.rows], spectra.T[observed.columns]
    refuse_if(
        not (np.isfinite(C).all() and np.isfinite(S).all()),
        "init holds NaN or infinite values at pixels or channels that take part in the fit",
    )
    return [C, S]
