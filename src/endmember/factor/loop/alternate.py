"""The loop that improves the factors of a model in turn, and what it has to say at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from endmember.factor.columns import lengths
from endmember.factor.data.grid import Grid
from endmember.factor.data.matrix import Data
from endmember.factor.loop.acceleration import SWEEPS, can_leap, leap
from endmember.factor.loop.clock import WINDOW, Clock
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty, bounds_of, offers, steers_columns
from endmember.factor.scale.carriers import Carriers, Scales, charged_factors, pinned_columns
from endmember.factor.solvers import HALS, Memory, Solver
from endmember.factor.subproblems.base import Noise, Setting, Subproblem
from endmember.factor.subproblems.quadratic import Quadratic

#: Sweeps over which progress is measured where the objective may rise in between.
PATIENCE = 20
#: Sweeps that bring less than this fraction of the objective are slow: where more is asked, leaps take their place,
SLOW = 1e-6
#: and progress is measured over so many of them.
LEAPS = 3
#: In a valley a sweep stands still that brings less than so many times the tolerance, in units of the noise's variance.
NOTICED = 1e3
#: Ten sweeps of a rule count as standing still below this many times the tolerance.
STILL = 10
#: Where sweeps stand still and the certificate fails, progress counts that is so many times smaller,
FINER = 10.0
#: down to this fraction of the tolerance.
FINEST = 2e-3
#: A fit whose misfit is below this fraction of the reference is exact.
EXACT = 1e-14
#: A component is dead when its share of the data's norm is below this.
DEAD = 1e-14
#: A cost below this fraction of the data's square is none.
FLED = 1e-9
#: Rounds in which scale is shared between factors that are charged, before the first sweep.
SHARING = 30
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

    def then(self, further: Fit) -> Fit:
        """Return where a run that went on from here has come to, with the sweeps of both."""
        return replace(
            further,
            objective=self.objective + further.objective,
            misfit=self.misfit + further.misfit,
        )


@dataclass(frozen=True)
class Problem:
    """Data, loss and the penalties of every factor: all that defines the optimum.

    ``penalties[mode]`` are the wishes about factor number ``mode``, ``grids[mode]`` says where its
    rows lie, ``settings[mode]`` what a weight of 1 is worth for it. ``noise`` is measured where a
    penalty decides how many components there are. ``valleys`` says that the data open valleys along
    which the objective hardly falls, as terms that share factors do.
    """

    data: Data
    loss: Loss
    penalties: Sequence[Sequence[Penalty]]
    grids: Sequence[Grid]
    settings: Sequence[Setting] | None = None
    noise: Noise | None = None
    valleys: bool = False

    @property
    def chooses(self) -> str:
        """By which rule the number of components is decided; "" where it is given."""
        return next((p.chooses for wishes in self.penalties for p in wishes if p.chooses), "")

    def settled(self, factors: Sequence[np.ndarray]) -> Problem:
        """Return the problem with the size of every weight fixed, measured at ``factors``.

        Raises
        ------
        ValueError
            If a wish makes no sense for its factor.
        """
        factors = self.scales(factors[-1].shape[1]).balanced(factors)
        settings = []
        for mode, F in enumerate(factors):
            plain = self.plain(factors, mode)
            curvature, size = plain.curvature(F), lengths(F, self.data.row_weights(mode))
            settings.append(
                Setting(
                    curvature, plain.peak(F), self.grids[mode],
                    self.noise, self._typical(mode, F.shape[1]),
                    float(np.sqrt(2 * self.loss.reference(self.data))),
                    curvature * float(np.mean(size**2)),
                )
            )  # fmt: skip
            for penalty in self.penalties[mode]:
                penalty.check(F.shape, settings[mode])
        return replace(self, settings=settings)

    def _typical(self, mode: int, k: int) -> float:
        """Return the mean entry of a factor if its ``k`` components were alike, and the others flat."""
        if self.noise is None:
            return 1.0
        m = self.data.shape[-1]
        mean = float(np.mean(self.data.dot(np.ones((m, 1))))) / m
        flat = [
            lengths(np.ones((size, 1)), self.data.row_weights(other))[0]
            for other, size in enumerate(self.data.shape)
            if other != mode
        ]
        return abs(mean) * float(np.prod(flat)) / k

    @property
    def creeps(self) -> bool:
        """Whether the floor of the objective is noise, above which a valley is too low to be seen."""
        return self.valleys or any(p.creeps for wishes in self.penalties for p in wishes)

    def level(self, misfit: float, factors: Sequence[np.ndarray]) -> float:
        """Return the variance of the noise, in units of the misfit: twice what is left for each entry that is free."""
        unknowns = sum(F.size for F in factors)
        return 2.0 * misfit / max(self.data.size - unknowns, 1)

    def scales(self, k: int) -> Carriers:
        """Return who carries the scale of each of ``k`` components."""
        if k not in self._scales:
            own, weights = (
                self.data.own_scales(),
                map(self.data.row_weights, range(len(self.grids))),
            )
            self._scales[k] = own or Scales(
                self.penalties,
                pinned_columns(self.penalties, self.data.shape, self.grids, k),
                row_weights=list(weights),
            )
        return self._scales[k]

    @cached_property
    def _scales(self) -> dict[int, Carriers]:
        return {}

    @cached_property
    def _charged(self) -> list[int]:
        return np.flatnonzero(charged_factors(self.penalties)).tolist()

    def spent(self, factors: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Return for every factor that is charged by how much that rises with the logarithm of each length, (k,)."""
        return {
            mode: np.sum([p.spent(factors[mode], self._setting(mode)) for p in own], axis=0)
            for mode, own in enumerate(self.penalties)
            if mode in self._charged
        }

    def balanced(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the same model with all scale where it is carried, and shared at the least cost."""
        scales = self.scales(factors[-1].shape[1])
        factors = scales.balanced(factors)
        for _ in range(SHARING if self.shares else 0):
            self.share(factors)
        return factors

    def share(self, factors: list[np.ndarray]) -> None:
        """Move scale between factors that are charged towards where they cost least together, in place."""
        size = self.settings[0].size if self.settings else 0.0
        spent = self.spent(factors)
        self.scales(factors[-1].shape[1]).share(factors, spent, FLED * size**2)

    @property
    def shares(self) -> bool:
        """Whether several factors are charged, so that costs decide how they share the scale."""
        return len(self._charged) > 1

    def _setting(self, mode: int) -> Setting | None:
        return self.settings[mode] if self.settings else None

    def plain(self, factors: Sequence[np.ndarray], mode: int) -> Subproblem:
        """Return what the data alone ask of factor number ``mode``."""
        return self.loss.subproblem(self.data, factors, mode)

    def wished(self, plain: Subproblem, mode: int, factors: Sequence[np.ndarray]) -> Subproblem:
        """Return the subproblem of a factor with everything that the penalties of all put into it at ``factors``."""
        F = factors[mode]
        subproblem = plain if not isinstance(plain, Quadratic) else replace(plain)
        lower, subproblem.upper = bounds_of(
            self.penalties[mode], subproblem.shape, self.grids[mode]
        )
        held = np.ndim(plain.lower) > 0  # a sum that must not fall below zero
        subproblem.lower = np.maximum(lower, plain.lower) if held else lower
        subproblem.setting = self._setting(mode)
        for penalty in self.penalties[mode]:
            if "add" in offers(penalty):
                penalty.add(subproblem, F)
        if self._charged:
            burden = self.scales(factors[-1].shape[1]).burden(self.spent(factors), mode)
            subproblem.add_burden(burden, F)
        return subproblem

    def penalty(self, factors: Sequence[np.ndarray]) -> float:
        """Return what all penalties add to the objective."""
        return sum(
            penalty.value(F, self._setting(mode))
            for mode, (wishes, F) in enumerate(zip(self.penalties, factors, strict=True))
            for penalty in wishes
        )

    def optimality(self, factors: Sequence[np.ndarray]) -> float:
        """Return the largest unit-free KKT residual of all factors (two products with the data).

        Where a rule without an objective takes part, how far one more sweep would move the maps.
        """
        if self.ruled:
            return self._unrest(factors)
        residuals = []
        for mode, F in enumerate(factors):
            subproblem = self.wished(self.plain(factors, mode), mode, factors)
            for penalty in self.penalties[mode]:
                if "norm" in offers(penalty):
                    subproblem.add_linear(penalty.slope(subproblem, F))
            steps = [p.prox for p in self.penalties[mode] if "prox" in offers(p)]  # type: ignore[attr-defined]
            residuals.append(subproblem.optimality(F, steps))
        return max(residuals)

    @property
    def ruled(self) -> bool:
        """Whether a rule without an objective takes part."""
        return any(not penalty.has_objective for wishes in self.penalties for penalty in wishes)

    def _unrest(self, factors: Sequence[np.ndarray]) -> float:
        """Return how far one more sweep moves the first factor, relative to its length."""
        run = _Run(self, factors, [HALS() for _ in factors])
        before = run.factors[0]
        run.sweep()
        size = np.linalg.norm(before)
        return float(np.linalg.norm(run.factors[0] - before) / size) if size > 0 else 0.0


def certified(tol: float) -> float:
    """Return the Karush-Kuhn-Tucker residual at or below which factors count as a minimum."""
    return max(1e-5, 10.0 * tol ** (2.0 / 3.0))


def alternate(
    problem: Problem,
    factors: Sequence[np.ndarray],
    solvers: Sequence[Solver],
    *,
    max_iter: int,
    tol: float,
    callback: Callback | None = None,
    stage: str = "fit",
    first_sweep: int = 0,
    goes_on: bool = False,
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
    factors : sequence of ndarray
        Where to start.
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
    goes_on : bool
        Whether the factors are those of a fit, which a worse one must not replace. A mere start may
        break constraints and is no iterate yet.
    exact : float
        The fraction of the trivial misfit below which a fit counts as exact.
    """
    run = _Run(problem, factors, solvers)
    fit, best = Fit(list(run.factors)), np.inf
    kept = np.inf
    if not run.monotone and goes_on:
        kept = problem.loss.misfit(problem.data, run.factors)
        best = kept + problem.penalty(run.factors)
    clock, least = Clock(max_iter, tol), tol
    reference = problem.loss.reference(problem.data)
    for sweep in range(1, max_iter + 1):
        plain, misfit = run.sweep()
        objective = misfit + problem.penalty(run.factors)
        if run.leaping and objective > best:
            plain, misfit = run.sweep_again(fit.factors)
            objective = misfit + problem.penalty(run.factors)
        if run.ruled or objective <= best:
            best, kept, fit.factors = objective, misfit, list(run.factors)
        fit.misfit.append(kept)
        fit.objective.append(best)
        goal = max(abs(best), exact * reference)
        if problem.creeps:
            goal = min(goal, NOTICED * problem.level(kept, run.factors))
        if callback is not None:
            left = clock.seconds_left(fit.objective, goal)
            fit.stopped = bool(callback(Progress(stage, first_sweep + sweep, best, left)))
        window = LEAPS if run.leaping else WINDOW if run.monotone else PATIENCE
        if run.ruled:
            fit.converged = sweep % WINDOW == 0 and run.stands_still(STILL * tol)
        else:
            fit.converged = _has_converged(fit.objective, exact * reference, least * goal, window)
            if fit.converged and best > exact * reference and least > FINEST * tol:
                # Slow sweeps are no minimum yet: as long as they bring anything, they go on.
                fit.converged = problem.optimality(fit.factors) <= certified(tol)
                least /= FINER
        if fit.converged or fit.stopped:
            break
        if sweep % REVIVE_EVERY == 0 and problem.loss.needs == "products" and not problem.chooses:
            _revive(problem, run.factors)
        if (
            run.leaping
            or run.may_leap
            and _has_converged(fit.objective, 0.0, SLOW * abs(best), WINDOW)
        ):
            run.leap(tol)
    return fit


class _Run:
    """The state of one run: factors, what every solver remembers, who carries the scale."""

    def __init__(
        self, problem: Problem, factors: Sequence[np.ndarray], solvers: Sequence[Solver]
    ) -> None:
        self.problem, self.solvers = problem, solvers
        self.scales = problem.scales(factors[-1].shape[1])
        self.factors = problem.balanced(factors)
        self.memory: list[Memory] = [{"mode": mode} for mode in range(len(factors))]
        steered = any(map(steers_columns, problem.penalties)) and not problem.loss.makes.squares
        self.monotone = all(s.monotone for s in solvers) and not steered and not problem.shares
        self.ruled = problem.ruled
        self.before = self.factors[0]
        self.may_leap, self.leaping = can_leap(problem, solvers), False
        self.length = SWEEPS

    def sweep(self) -> tuple[Subproblem, float]:
        """Improve every factor once; return the data's side of the last subproblem, and the misfit."""
        problem = self.problem
        for mode in reversed(range(len(self.factors))):
            plain = problem.plain(self.factors, mode)
            self.factors[mode] = self.solvers[mode].improve(
                problem.wished(plain, mode, self.factors), self.factors[mode],
                problem.data.n_others(mode),
                penalties=problem.penalties[mode], memory=self.memory[mode],
            )  # fmt: skip
            if mode == 0:
                misfit = problem.loss.misfit(problem.data, self.factors, 0, plain)
            self.scales.balance(self.factors, mode)
        if problem.shares:
            problem.share(self.factors)
        return plain, misfit

    def leap(self, tol: float) -> None:
        """Go many sweeps ahead with the zeros of the maps held."""
        self.leaping = True
        ahead = leap(self.problem, self.factors, self.solvers[1], self.length, tol)
        self.factors = self.problem.balanced(ahead)
        self.length = min(2 * self.length, SWEEPS)

    def sweep_again(self, factors: Sequence[np.ndarray]) -> tuple[Subproblem, float]:
        """Take a leap back, make the next one shorter, and sweep from where it began."""
        self.length = max(self.length // 4, 1)
        self.factors = list(factors)
        return self.sweep()

    def stands_still(self, tolerance: float) -> bool:
        """Tell whether the first factor has hardly moved since this was last asked."""
        now, before = self.factors[0], self.before
        self.before = now
        return bool(np.linalg.norm(now - before) <= tolerance * np.linalg.norm(now))


def _has_converged(objective: list[float], floor: float, least: float, window: int) -> bool:
    """Tell whether the objective is at its floor, or a sweep of the window brings less than the least that counts."""
    if objective[-1] <= floor:
        return True
    if len(objective) <= window:
        return False
    return objective[-1 - window] - objective[-1] <= least * window


def _revive(problem: Problem, factors: list[np.ndarray]) -> None:
    """Give dead components the part of the data that is explained worst.

    A dead column of the last factor becomes the positive part of the row with the largest residual,
    those of the others are one at its place and zero elsewhere.
    """
    if not problem.data.componentwise:
        return
    strength = np.prod([np.linalg.norm(F, axis=0) for F in factors], axis=0)
    dead = np.flatnonzero(strength <= DEAD * np.sqrt(problem.data.squared_norm))
    if len(dead) == 0 or problem.data.weighted:
        return
    data, (C, S) = problem.data.matrix, problem.data.folded(factors)
    plain = problem.loss.subproblem(data, [C, S], 0)
    explained = np.einsum("ik,ik->i", C, 2 * plain.H - C @ plain.G)
    weights = 1.0 if plain.row_weights is None else plain.row_weights
    unexplained = data.squared_row_norms - weights * explained
    last = len(factors) - 1
    lower, upper = bounds_of(problem.penalties[last], S.shape, problem.grids[last])
    for k, row in zip(dead, np.argsort(-unexplained), strict=False):
        spectrum = data.rows(np.array([row]))[0] - C[row] @ S.T
        revived = S.copy()
        revived[:, k] = np.maximum(spectrum, 0.0)
        revived = np.clip(revived, lower, upper)
        size = np.linalg.norm(revived[:, k])
        if size > 0:
            factors[last][:, k] = revived[:, k] / size
            for mode, index in enumerate(problem.data.place(int(row))):
                factors[mode][:, k] = 0.0
                factors[mode][index, k] = size if mode == 0 else 1.0
