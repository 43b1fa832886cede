"""Losses, penalties on maps and on spectra, and solvers, and what each combination of them must hold."""

import warnings
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product

import numpy as np

import endmember as em
from endmember.factor.data.axis import Grid
from endmember.factor.data.in_memory import Dense
from endmember.factor.loop import merging as moves
from endmember.factor.loop.alternate import alternate
from endmember.factor.loop.compatibility import check_combination, default_solvers
from endmember.factor.loop.fit import Fit, certified
from endmember.factor.loop.problem import Problem
from endmember.factor.loop.starts import multistart, start, various
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty, check_together, resolve
from endmember.factor.solvers import Solver
from test_penalties import CASES, K, counts

TOL = 1e-6
#: Objectives this much above the best count as the same minimum; a start at the best may lose so much.
NEAR, STAYS = 1e-2, 1e-6


def public(base):
    """Return all public classes of a kind."""
    found = [getattr(em, name) for name in em.__all__ if name[0].isupper()]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, base)]


def examples(base, given):
    """Return the examples of every public class of a kind; without parameters where none is given."""
    kinds = {type(example) for example in given}
    return [*given, *(kind() for kind in public(base) if kind not in kinds)]


LOSSES = examples(Loss, [em.BetaDivergence(0.5), em.BetaDivergence(1.5)])
SOLVERS = examples(Solver, [])
_MAPS = [case.penalty for case in CASES if case.domain == "image"]
_SPECTRA = [case.penalty for case in CASES if case.domain == "line"]
LINES = [
    em.Basis(np.eye(2)),
    em.XRayLines(),
    em.CoreLossEdges(["O_K"]),
]  # with data of their own: test_basis.py
_LEFT = [
    p
    for p in examples(Penalty, [*_MAPS, *_SPECTRA, *LINES])
    if p not in [*_MAPS, *_SPECTRA, *LINES]
]
MAPS = [None, *_MAPS, *_LEFT, em.SoftOrthogonal(0.1, "penalty")]
SPECTRA = [None, *_SPECTRA, *_LEFT]
ALL = (LOSSES, MAPS, SPECTRA, SOLVERS)


@dataclass
class Outcome:
    """What came of one combination."""

    objective: float
    converged: bool
    optimality: float
    fit: Fit | None = None


def everything():
    """Return all combinations, by their numbers."""
    return list(product(*(range(len(some)) for some in ALL)))


def every_pair(rows):
    """Return few of the rows in which every pair of entries occurs that occurs in all of them."""
    pairs = [{(a, row[a], b, row[b]) for a, b in combinations(range(len(row)), 2)} for row in rows]
    left, chosen = set().union(*pairs), []
    while left:
        n = max(range(len(rows)), key=lambda n: len(pairs[n] & left))
        left -= pairs[n]
        chosen.append(rows[n])
    return chosen


@cache
def stated(loss, maps, spectra):
    """Return the problem of one loss and two penalties, by their numbers, or the sentence that refuses it."""
    loss, penalties = LOSSES[loss], {"maps": MAPS[maps], "spectra": SPECTRA[spectra]}
    penalties = {name: resolve(penalty, name) for name, penalty in penalties.items()}
    try:
        check_together(penalties, K)
        data = loss.prepare(Dense(counts().reshape(20, 12)))
        problem = Problem(data, loss, list(penalties.values()), [Grid((5, 4)), Grid((12,))])
        if problem.chooses:
            problem = replace(problem, noise=moves.measure_noise(data, loss, K))
    except ValueError as refused:
        return str(refused)
    return problem


@cache
def problem_of(loss, maps, spectra):
    """Return the problem of a loss and penalties that go together, as it is at its first start."""
    problem = stated(loss, maps, spectra)
    return problem.settled(start(problem, "nndsvd", K, np.random.default_rng(0), []))


def refusal(loss, maps, spectra, solver):
    """Return the sentence that refuses a combination, or None."""
    problem = stated(loss, maps, spectra)
    if isinstance(problem, str):
        return problem
    try:
        solvers = [SOLVERS[solver]] * 2
        check_combination(problem.loss, solvers, problem.penalties, ("maps", "spectra"))
    except ValueError as refused:
        return str(refused)
    return None


def solved(problem, solver, n_starts=10, max_iter=1000):
    """Return the best of some starts, continued to its end."""
    solvers = [solver] * 2 if solver else default_solvers(problem.loss, problem.penalties, K)
    seeds = np.random.default_rng(1).spawn(n_starts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = start(problem, "nndsvd", K, seeds[0], solvers)
        starts = [("nndsvd", first), *various(problem, K, solvers, seeds[1:])]
        problem = problem.settled(first)
        fit, _ = multistart(problem, starts, solvers, n_starts=n_starts, tol=TOL, max_iter=max_iter)
        return ended(problem, solvers, fit, max_iter)


def ended(problem, solvers, fit, max_iter):
    """Return what becomes of a fit that goes on."""
    further = alternate(problem, fit, solvers, max_iter=max_iter, tol=TOL)
    optimality = problem.optimality(further.factors)
    converged = further.converged and optimality <= certified(TOL)
    return Outcome(further.objective[-1], converged, optimality, further)


def stays(problem, solver, best):
    """Return by what fraction a solver started at the best answer leaves it uphill."""
    again = ended(problem, [solver] * 2, best.fit, 12)
    return (again.objective - best.objective) / max(abs(best.objective), 1e-300)


def table(every=1, n_starts=10, max_iter=1000):
    """Return what each solver came to, for every so-manieth problem that is not refused, as text for the docs."""
    from joblib import Parallel, delayed

    accepted = [row for row in everything() if refusal(*row) is None]
    problems = sorted({row[:3] for row in accepted})[::every]
    solvers = {problem: [row[3] for row in accepted if row[:3] == problem] for problem in problems}
    judgements = Parallel(n_jobs=-1)(
        delayed(judged)(problem, solvers[problem], n_starts, max_iter) for problem in problems
    )
    found = [judgement for some in judgements for judgement in some]
    names = {repr(solver): [j for j in found if j.solver == repr(solver)] for solver in SOLVERS}
    share = f"every {every}th problem" if every > 1 else "all"
    n, met = len(everything()), sum(not judgement.lies_above for judgement in found)
    return "\n".join(
        [
            "# Which combinations keep their word",
            "",
            f"Written by `make test-combinations{f' EVERY={every}' if every > 1 else ''}`. A loss, a penalty on the",
            "maps, a penalty on the spectra and a solver",
            f"make {n:,} combinations. {n - len(accepted):,} are refused before the first sweep with the way out, and",
            f"{len(accepted):,} run. {len(found):,} of these ({share}) ran on 20 pixels of 12 channels from {n_starts}",
            f"starts of at most {max_iter:,} sweeps. A solver's best answer lay within 1 % of the best of all solvers",
            f"in {met:,} of them ({met / len(found):.1%}).",
            "",
            "| solver | ran | more than 1 % above the best | of these converged | left the best answer uphill |",
            "|---|---|---|---|---|",
            *(
                f"| `{name}` | {len(own)} | {sum(j.lies_above for j in own)} | "
                f"{sum(j.lies_above and j.converged for j in own)} | {sum(j.leaves for j in own)} |"
                for name, own in names.items()
            ),
            "",
            "Those that lay above, or left:",
            "",
            "| loss | maps | spectra | solver | found |",
            "|---|---|---|---|---|",
            *(judgement.line for judgement in found if judgement.lies_above or judgement.leaves),
            "",
        ]
    )


@dataclass(frozen=True)
class Judgement:
    """What one solver came to in one problem, against the best of all solvers."""

    names: tuple[str, ...]
    solver: str
    above: float
    away: float
    converged: bool

    @property
    def lies_above(self):
        return self.above > NEAR

    @property
    def leaves(self):
        return self.away > STAYS

    @property
    def line(self):
        said = [f"{self.above:.1%} above the best"] * self.lies_above
        said += [f"leaves the best uphill by {self.away:.0e}"] * self.leaves
        end = "" if self.converged else " (not converged, and says so)"
        return f"| {' | '.join(f'`{n}`' for n in [*self.names, self.solver])} | {', '.join(said)}{end} |"


def judged(problem, solvers, n_starts, max_iter):
    """Return what every solver came to in one problem; a mere rule has no best answer to be held to."""
    names = tuple(repr(some[i])[:40] for some, i in zip(ALL, problem, strict=False))
    problem = problem_of(*problem)
    if problem.ruled:
        return []
    found = {i: solved(problem, SOLVERS[i], n_starts, max_iter) for i in solvers}
    best = min(found.values(), key=lambda one: one.objective)
    size = max(abs(best.objective), 1e-300)
    return [
        Judgement(
            names, repr(SOLVERS[i]), (own.objective - best.objective) / size,
            stays(problem, SOLVERS[i], best), own.converged,
        )
        for i, own in found.items()
    ]  # fmt: skip


if __name__ == "__main__":
    import sys
    from pathlib import Path

    import combinations as here  # by its name, so that other processes find it

    Path(sys.argv[1]).write_text(here.table(int((sys.argv[2:] or ["1"])[0])), encoding="utf-8")
