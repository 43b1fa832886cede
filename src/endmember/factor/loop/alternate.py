"""The loop that improves the factors of a model in turn."""

from collections.abc import Sequence

import numpy as np

from endmember.factor.columns import lengths
from endmember.factor.loop.acceleration import Leaps
from endmember.factor.loop.fit import (
    DEAD,
    PATIENCE,
    WINDOW,
    Callback,
    Fit,
    Progress,
    Standstill,
)
from endmember.factor.loop.problem import Problem
from endmember.factor.penalties import bounds_of, steers_columns
from endmember.factor.solvers import Memory, Solver
from endmember.factor.subproblems import Subproblem

#: A fit whose misfit is below this fraction of the reference is exact.
EXACT = 1e-14
#: Dead components are revived this often, in sweeps.
REVIVE_EVERY = 20


def alternate(
    problem: Problem,
    fit: Fit,
    solvers: Sequence[Solver],
    *,
    max_iter: int,
    tol: float,
    callback: Callback | None = None,
    stage: str = "fit",
    first_sweep: int = 0,
    exact: float = EXACT,
) -> Fit:
    """Improve the factors in turn, the first one last, until progress ends.

    Stops when the objective falls by less than ``tol`` of itself per sweep, averaged over ten
    sweeps (and, where a problem creeps along valleys, by less than ``1000 tol`` of the noise's
    variance), and the certificate (:func:`certified`) holds or finer sweeps bring nothing either;
    when the fit is exact, after ``max_iter`` sweeps, or when the callback returns True;
    where a rule without an objective takes part, when ten sweeps move the first factor by less than
    ``10 tol`` of its length. Once sweeps are slow and a finer tolerance asks for more, each is
    preceded by a leap where that is possible (``factor/loop/acceleration.py``). Every rule is a ratio, so that
    scaling the data changes nothing. Where a solver may let the objective rise, the best iterate is
    kept, and the average is taken over twenty sweeps.

    Parameters
    ----------
    problem : Problem
    fit : Fit
        Where to start: factors alone, or with what they came to so far, which nothing worse must replace. A mere
        start may break constraints and is no iterate yet.
    solvers : sequence of Solver
        One a factor.
    max_iter : int
        Sweeps at most.
    tol : float
        Relative progress per sweep that counts as none.
    callback : callable, optional
        Called with a :class:`Progress` after every sweep; returning True stops.
    stage : str
        The name of this run in ``Progress``.
    first_sweep : int
        Sweeps done before, for ``Progress``.
    exact : float
        The fraction of the trivial misfit below which a fit counts as exact.

    Returns
    -------
    Fit
        With the sweeps of the one given and its own.
    """
    factors = problem.balanced(fit.factors)
    memory: list[Memory] = [{"mode": mode} for mode in range(len(factors))]
    run, best, kept, monotone = Fit(list(factors)), np.inf, np.inf, _is_monotone(problem, solvers)
    if fit.objective and not monotone:
        kept = problem.loss.misfit(problem.data, factors)
        best = kept + problem.penalty(factors)
    ending = Standstill(problem, factors, tol, exact, WINDOW if monotone else PATIENCE)
    leaps = Leaps(problem, solvers, tol)
    for sweep in range(1, max_iter + 1):
        objective, misfit = problem.sweep(factors, solvers, memory)
        if leaps.begun and objective > best:
            factors = leaps.taken_back(run)
            objective, misfit = problem.sweep(factors, solvers, memory)
        if problem.ruled or objective <= best:
            best, kept, run.factors = objective, misfit, list(factors)
        run.misfit.append(kept)
        run.objective.append(best)
        if callback is not None:
            left = ending.seconds_left(run, max_iter)
            run.stopped = bool(callback(Progress(stage, first_sweep + sweep, best, left)))
        run.converged = ending.is_met(run, factors, leaps.window)
        if run.converged or run.stopped:
            break
        if sweep % REVIVE_EVERY == 0:
            _revive(problem, factors)
        if leaps.are_due(run):
            factors = problem.balanced(leaps.ahead(factors))
    return fit.then(run)


def best_factor(
    problem: Problem,
    factors: Sequence[np.ndarray],
    mode: int,
    solver: Solver,
    plain: Subproblem | None = None,
    tol: float = 1e-10,
    most: int = 200,
) -> np.ndarray:
    """Return the factor that is best for the others as they are, until a step moves it by less than ``tol`` of itself.

    ``plain`` is what is asked of it in place of what the data ask; ``most`` are the steps at most.
    """
    here, memory, solver = list(factors), Memory(mode=mode), problem.behind(mode, solver)
    for _ in range(most):
        before = here[mode]
        subproblem = problem.penalised(plain or problem.plain(here, mode), mode, here)
        here[mode] = subproblem.improved_by(
            solver, before, problem.data.n_others(mode),
            penalties=problem.penalties[mode], memory=memory,
        )  # fmt: skip
        if np.linalg.norm(here[mode] - before) <= tol * np.linalg.norm(here[mode]):
            break
    return here[mode]


def _is_monotone(problem: Problem, solvers: Sequence[Solver]) -> bool:
    """Tell whether no sweep can let the objective rise."""
    steered = any(map(steers_columns, problem.penalties)) and not problem.loss.makes.squares
    return all(s.monotone for s in solvers) and not steered and not problem.shares_scale


def _revive(problem: Problem, factors: list[np.ndarray]) -> None:
    """Give dead components the part of the data that is explained worst.

    A dead column of the last factor becomes the positive part of the row with the largest residual,
    those of the others are one at its place and zero elsewhere.
    """
    if problem.chooses or problem.loss.needs != "products" or not problem.data.componentwise:
        return
    strength = np.prod([lengths(F) for F in factors], axis=0)
    dead = np.flatnonzero(strength <= DEAD * np.sqrt(problem.data.squared_norm))
    if len(dead) == 0 or problem.data.weighted:
        return
    data, (C, S) = problem.data.matrix, problem.data.folded(factors)
    plain = problem.loss.subproblem(data, [C, S], 0)
    explained = np.einsum("ik,ik->i", C, 2 * plain.H - C @ plain.G)
    weights = 1.0 if plain.row_weights is None else plain.row_weights
    unexplained = data.squared_row_norms - weights * explained
    lower, upper = (
        np.broadcast_to(bound, S.shape)
        for bound in bounds_of(problem.penalties[-1], S.shape, problem.grids[-1])
    )
    for k, row in zip(dead, np.argsort(-unexplained), strict=False):
        spectrum = data.rows(np.array([row]))[0] - C[row] @ S.T
        revived = np.clip(np.maximum(spectrum, 0.0), lower[:, k], upper[:, k])
        size = np.linalg.norm(revived)
        if size > 0:
            factors[-1][:, k] = revived / size
            for mode, index in enumerate(problem.data.place(int(row))):
                factors[mode][:, k] = 0.0
                factors[mode][index, k] = size if mode == 0 else 1.0
    if problem.known:
        factors[-1] = problem.clip(factors[-1], len(factors) - 1)
