"""The loop that improves the factors of a model in turn, and what it has to say at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from endmember.factor.data import Data
from endmember.factor.losses import SquaredError
from endmember.factor.penalties import Penalty, bounds_of
from endmember.factor.solvers import Solver
from endmember.factor.subproblem import Quadratic

#: Sweeps over which progress is measured.
WINDOW = 10
#: A fit whose misfit is below this fraction of the reference is exact.
EXACT = 1e-14
#: A component is dead when its share of the data's norm is below this.
DEAD = 1e-14
#: Dead components are revived this often, in sweeps.
REVIVE_EVERY = 20


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


@dataclass(frozen=True)
class Problem:
    """Data, loss and the penalties of every factor: all that defines the optimum.

    ``penalties[mode]`` are the wishes about factor number ``mode``.
    """

    data: Data
    loss: SquaredError
    penalties: Sequence[Sequence[Penalty]]

    def plain(self, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        """Return what the data alone ask of factor number ``mode``."""
        return self.loss.subproblem(self.data, factors, mode)

    def wished(self, plain: Quadratic, mode: int) -> Quadratic:
        """Return the subproblem with the bounds that the penalties put on it."""
        lower, upper = bounds_of(self.penalties[mode], plain.H.shape)
        return Quadratic(plain.G, plain.H, lower, upper)

    def penalty(self, factors: Sequence[np.ndarray]) -> float:
        """Return what all penalties add to the objective."""
        pairs = zip(self.penalties, factors, strict=True)
        return sum(penalty.value(F) for wishes, F in pairs for penalty in wishes)

    def optimality(self, factors: Sequence[np.ndarray]) -> float:
        """Return the largest unit-free KKT residual of all factors (two products with the data)."""
        residuals = []
        for mode, F in enumerate(factors):
            subproblem = self.wished(self.plain(factors, mode), mode)
            residuals.append(subproblem.optimality(F))
        return max(residuals)


def alternate(
    problem: Problem,
    factors: Sequence[np.ndarray],
    solver: Solver,
    *,
    max_iter: int,
    tol: float,
    callback: Callback | None = None,
    stage: str = "fit",
    first_sweep: int = 0,
) -> Fit:
    """Improve the factors in turn, the first one last, until progress ends.

    Stops when the objective falls by less than ``tol`` of itself per sweep, averaged over ten
    sweeps, when the fit is exact, after ``max_iter`` sweeps, or when the callback returns True.
    Every rule is a ratio, so that scaling the data changes nothing.

    Parameters
    ----------
    problem : Problem
    factors : sequence of ndarray
        Where to start.
    solver : Solver
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
    """
    fit = Fit([np.array(F, dtype=np.float64) for F in factors])
    clock = _Clock(max_iter, tol)
    reference = problem.loss.reference(problem.data)
    for sweep in range(1, max_iter + 1):
        plain = _sweep(problem, fit.factors, solver)
        misfit = problem.loss.misfit(problem.data, fit.factors, 0, plain)
        fit.misfit.append(misfit)
        fit.objective.append(misfit + problem.penalty(fit.factors))
        if callback is not None:
            left = clock.seconds_left(fit.objective)
            told = Progress(stage, first_sweep + sweep, fit.objective[-1], left)
            fit.stopped = bool(callback(told))
        fit.converged = _has_converged(fit.objective, reference, tol)
        if fit.converged or fit.stopped:
            break
        if sweep % REVIVE_EVERY == 0:
            _revive(problem, fit.factors, plain)
    return fit


def _sweep(problem: Problem, factors: list[np.ndarray], solver: Solver) -> Quadratic:
    """Improve every factor once, in place; return the data's side of the last subproblem."""
    for mode in reversed(range(len(factors))):
        plain = problem.plain(factors, mode)
        n_others = problem.data.shape[1 - mode]
        factors[mode] = solver.improve(problem.wished(plain, mode), factors[mode], n_others)
        if mode > 0:
            _balance(factors, mode)
    return plain


def _balance(factors: list[np.ndarray], mode: int) -> None:
    """Give the columns of a factor unit length and their scale to the first factor; the product stays."""
    scale = np.linalg.norm(factors[mode], axis=0)
    scale[scale == 0] = 1.0
    factors[mode] = factors[mode] / scale
    factors[0] = factors[0] * scale


def _has_converged(objective: list[float], reference: float, tol: float) -> bool:
    floor = EXACT * reference
    if objective[-1] <= floor:
        return True
    if len(objective) <= WINDOW:
        return False
    progress = objective[-1 - WINDOW] - objective[-1]
    return progress <= tol * WINDOW * max(objective[-1], floor)


def _revive(problem: Problem, factors: list[np.ndarray], plain: Quadratic) -> None:
    """Give dead components the part of the data that is explained worst.

    A dead column of the last factor becomes the positive part of the row with the largest
    residual; the first factor follows in the next sweep.
    """
    C, S = factors
    strength = np.linalg.norm(C, axis=0) * np.linalg.norm(S, axis=0)
    dead = np.flatnonzero(strength <= DEAD * np.sqrt(problem.data.squared_norm))
    if len(dead) == 0 or plain.G.ndim == 3:
        return
    unexplained = problem.data.squared_row_norms - np.einsum(
        "ik,ik->i", C, 2 * plain.H - C @ plain.G
    )
    for k, row in zip(dead, np.argsort(-unexplained), strict=False):
        spectrum = problem.data.rows(np.array([row]))[0] - C[row] @ S.T
        spectrum = np.maximum(spectrum, 0.0)
        size = np.linalg.norm(spectrum)
        if size > 0:
            S[:, k] = spectrum / size
            C[:, k] = 0.0
            C[row, k] = size


class _Clock:
    """Foretells how long a run still takes, from its pace and from how fast its progress fades."""

    def __init__(self, max_iter: int, tol: float) -> None:
        self.start, self.max_iter, self.tol = time.monotonic(), max_iter, tol

    def seconds_left(self, objective: list[float]) -> float | None:
        """Return the seconds that are left, or None while it is too early to say."""
        done = len(objective)
        if done <= 2 * WINDOW:
            return None
        pace = (time.monotonic() - self.start) / done
        now, before, earlier = objective[-1], objective[-1 - WINDOW], objective[-1 - 2 * WINDOW]
        late, early = before - now, earlier - before
        goal = self.tol * WINDOW * abs(now)
        sweeps = float(self.max_iter - done)
        if 0 < goal < late < early:
            sweeps = min(sweeps, WINDOW * np.log(late / goal) / np.log(early / late))
        elif late <= goal:
            sweeps = 0.0
        return pace * sweeps
