"""A fit under way: its factors and what a callback hears of it; when it has come to its end, and what it says then."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from endmember.errors import Argument, Sentence
from endmember.factor.loop.problem import Problem


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

    def then(self, further: "Fit") -> "Fit":
        """Return where a run that went on from here has come to, with the sweeps of both."""
        return replace(
            further,
            objective=self.objective + further.objective,
            misfit=self.misfit + further.misfit,
        )


#: Sweeps over which progress is measured,
WINDOW = 10
#: and where the objective may rise in between.
PATIENCE = 20
#: In a valley a sweep stands still that brings less than so many times the tolerance, in units of the noise's variance.
NOTICED = 1e3
#: Ten sweeps of a rule count as standing still below this many times the tolerance.
STILL = 10
#: Where sweeps stand still and the certificate fails, progress counts that is so many times smaller,
FINER = 10.0
#: down to this fraction of the tolerance.
FINEST = 2e-3
#: A component is dead when its share of the data's norm is below this.
DEAD = 1e-14


def certified(tol: float) -> float:
    """Return the Karush-Kuhn-Tucker residual at or below which factors count as a minimum."""
    return max(1e-5, 10.0 * tol ** (2.0 / 3.0))


def stands_still(objective: Sequence[float], floor: float, least: float, window: int) -> bool:
    """Tell whether the objective is at its floor, or a sweep of the window brings less than the least that counts."""
    return objective[-1] <= floor or (
        len(objective) > window and objective[-1 - window] - objective[-1] <= least * window
    )


class Standstill:
    """The end of a run where sweeps bring nothing: at a minimum, or where finer sweeps bring nothing either.

    Parameters
    ----------
    problem : Problem
    factors : sequence of ndarray
        Where the run starts.
    tol : float
        Relative progress per sweep that counts as none.
    exact : float
        The fraction of the trivial misfit below which a fit counts as exact.
    window : int
        Sweeps over which progress is measured.
    """

    def __init__(
        self, problem: Problem, factors: Sequence[np.ndarray], tol: float, exact: float, window: int
    ) -> None:
        self.problem, self.tol, self.window = problem, tol, window
        self.least, self.before, self.begun = tol, factors[0], time.monotonic()
        self.floor = exact * problem.loss.reference(problem.data)

    def scale(self, fit: Fit) -> float:
        """Return of what the tolerance is a fraction."""
        whole = max(abs(fit.objective[-1]), self.floor)
        noticed = NOTICED * self.problem.level(fit.misfit[-1], fit.factors)
        return min(whole, noticed) if self.problem.creeps else whole

    def is_met(self, fit: Fit, factors: Sequence[np.ndarray], window: int | None = None) -> bool:
        """Tell whether a run of which ``fit`` is the best iterate, now at ``factors``, is at its end.

        Where a rule without an objective takes part, that is where ten sweeps hardly move the first factor.
        """
        if self.problem.ruled and len(fit.objective) % WINDOW:
            return False
        if self.problem.ruled:
            now, before, self.before = factors[0], self.before, factors[0]
            return bool(np.linalg.norm(now - before) <= STILL * self.tol * np.linalg.norm(now))
        ends = stands_still(
            fit.objective, self.floor, self.least * self.scale(fit), window or self.window
        )
        if ends and fit.objective[-1] > self.floor and self.least > FINEST * self.tol:
            # Slow sweeps are no minimum yet: as long as they bring anything, they go on.
            self.least /= FINER
            return self.problem.optimality(fit.factors) <= certified(self.tol)
        return ends

    def seconds_left(self, fit: Fit, max_iter: int) -> float | None:
        """Foretell how long a run still takes, from its pace and from how fast its progress fades; None at first."""
        done = len(fit.objective)
        if done <= 2 * WINDOW:
            return None
        pace = (time.monotonic() - self.begun) / done
        now, before, earlier = fit.objective[::-WINDOW][:3]
        late, early = before - now, earlier - before
        goal = self.tol * WINDOW * self.scale(fit)
        sweeps = float(max_iter - done)
        if 0 < goal < late < early:
            sweeps = min(sweeps, WINDOW * np.log(late / goal) / np.log(early / late))
        elif late <= goal:
            sweeps = 0.0
        return pace * sweeps


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
    cases = (
        (len(empty), Outcome.EMPTY),
        (not fit.converged, Outcome.UNFINISHED),
        (optimality <= certified(tol), Outcome.CONVERGED),
        (True, Outcome.NO_MINIMUM),
    )
    outcome = next(outcome for holds, outcome in cases if holds)
    if outcome is not Outcome.CONVERGED and not fit.stopped:
        reason = outcome.sentence(
            empty=", ".join(map(str, empty)), sweeps=len(fit.objective), optimality=optimality
        )
        warnings.warn(reason, ConvergenceWarning, stacklevel=stacklevel)
    return replace(fit, converged=outcome is Outcome.CONVERGED), optimality
