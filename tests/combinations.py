"""Losses, wishes about maps and about spectra, and solvers, and what each combination of them must hold."""

import warnings
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product

import numpy as np

import endmember as em
from endmember.factor import moves
from endmember.factor.alternate import Fit, Problem, alternate, certified
from endmember.factor.compatibility import check_combination, default_solvers
from endmember.factor.data import Dense
from endmember.factor.initialise import multistart, start
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty, check_together, resolve
from endmember.factor.solvers import Solver
from endmember.factor.subproblem import Grid
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
_LEFT = [p for p in examples(Penalty, [*_MAPS, *_SPECTRA]) if p not in [*_MAPS, *_SPECTRA]]
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
def problem_of(loss, maps, spectra):
    """Return the problem of one loss and two wishes, by their numbers, or the sentence that refuses it."""
    loss, wishes = LOSSES[loss], {"maps": MAPS[maps], "spectra": SPECTRA[spectra]}
    wishes = {name: resolve(wish, name) for name, wish in wishes.items()}
    try:
        check_together(wishes, K)
        data = loss.prepare(Dense(counts().reshape(20, 12)))
        problem = Problem(data, loss, list(wishes.values()), [Grid((5, 4)), Grid((12,))])
        if problem.chooses:
            problem = replace(problem, noise=moves.measure_noise(data, loss, K))
        first = start(problem, "nndsvd", K, np.random.default_rng(0), [])
        return problem.settled(first)
    except ValueError as refused:
        return str(refused)


def refusal(loss, maps, spectra, solver):
    """Return the sentence that refuses a combination, or None."""
    problem = problem_of(loss, maps, spectra)
    if isinstance(problem, str):
        return problem
    try:
        for name, wishes in zip(("maps", "spectra"), problem.penalties, strict=True):
            check_combination(problem.loss, SOLVERS[solver], wishes, name)
    except ValueError as refused:
        return str(refused)
    return None


def solved(problem, solver, n_starts=10, max_iter=1000):
    """Return the best of some starts, continued to its end."""
    solvers = [solver] * 2 if solver else default_solvers(problem.loss, problem.penalties, K)
    seeds = np.random.default_rng(1).spawn(n_starts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit, _ = multistart(
            problem, K, solvers, n_starts=n_starts, tol=TOL, max_iter=max_iter, seeds=seeds
        )
        return ended(problem, solvers, fit, max_iter)


def ended(problem, solvers, fit, max_iter):
    """Return what becomes of a fit that goes on."""
    further = alternate(
        problem, fit.factors, solvers, max_iter=max_iter, tol=TOL, goes_on=True
    )  # fmt: skip
    optimality = problem.optimality(further.factors)
    converged = further.converged and optimality <= certified(TOL)
    return Outcome(further.objective[-1], converged, optimality, further)


def stays(problem, solver, best):
    """Return by what fraction a solver started at the best answer leaves it uphill."""
    again = ended(problem, [solver] * 2, best.fit, 12)
    return (again.objective - best.objective) / max(abs(best.objective), 1e-300)


def table(n_starts=10, max_iter=1000):
    """Return for every problem that is not refused what each solver came to, as text for the documentation."""
    from joblib import Parallel, delayed

    accepted = [row for row in everything() if refusal(*row) is None]
    problems = sorted({row[:3] for row in accepted})
    solvers = {problem: [row[3] for row in accepted if row[:3] == problem] for problem in problems}
    found = Parallel(n_jobs=-1)(
        delayed(judged)(problem, solvers[problem], n_starts, max_iter) for problem in problems
    )
    lost = [line for lines in found for line in lines]
    n, tried = len(everything()), len(accepted)
    missed = [line for line in lost if "above" in line]
    return "\n".join(
        [
            "# Which combinations keep their word",
            "",
            "Written by `make test-combinations`. A loss, a wish about the maps, a wish about the spectra and a solver",
            f"make {n:,} combinations. {n - tried:,} are refused before the first sweep with the way out, and",
            f"{tried:,} run on 20 pixels of 12 channels from {n_starts} starts. A solver's best answer lies within",
            f"1 % of the best of all solvers in {tried - len(missed):,} of them ({1 - len(missed) / tried:.1%}); none",
            "may leave the best answer uphill, and `converged_` means `optimality_` of at most 1e-3.",
            "",
            "The others:",
            "",
            "| loss | maps | spectra | solver | found |",
            "|---|---|---|---|---|",
            *lost,
            "",
        ]
    )


def judged(problem, solvers, n_starts, max_iter):
    """Return a line of the table for every solver of one problem that does not keep its word."""
    names = [repr(some[i])[:40] for some, i in zip(ALL, problem, strict=False)]
    problem = problem_of(*problem)
    found = {i: solved(problem, SOLVERS[i], n_starts, max_iter) for i in solvers}
    best = min(found.values(), key=lambda one: one.objective)
    lines = []
    for i, own in found.items():
        above = (own.objective - best.objective) / max(abs(best.objective), 1e-300)
        away = 0.0 if problem.ruled else stays(problem, SOLVERS[i], best)
        said = [f"{above:.1%} above the best"] if above > NEAR and not problem.ruled else []
        said += [f"leaves the best uphill by {away:.0e}"] if away > STAYS else []
        if said:
            end = "" if own.converged else " (not converged, and says so)"
            lines.append(
                f"| {' | '.join(f'`{n}`' for n in [*names, repr(SOLVERS[i])])} | {', '.join(said)}{end} |"
            )
    return lines


if __name__ == "__main__":
    import sys
    from pathlib import Path

    Path(sys.argv[1]).write_text(table(), encoding="utf-8")
