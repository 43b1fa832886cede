"""Every pair out of loss, wish about maps, wish about spectra and solver: refused with the way out, or right."""

import re

import pytest

from combinations import (  # fmt: skip
    ALL,
    LOSSES,
    MAPS,
    SOLVERS,
    SPECTRA,
    STAYS,
    every_pair,
    everything,
    problem_of,
    public,
    refusal,
    solved,
    stays,
)
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty
from endmember.factor.solvers import Solver

REFUSED = {row: refusal(*row) for row in everything()}
PAIRS = every_pair([row for row, sentence in REFUSED.items() if sentence is None])


def named(combination):
    return "-".join(repr(some[i])[:24] for some, i in zip(ALL, combination, strict=True))


def test_every_public_class_takes_part():
    for base, examples in ((Loss, LOSSES), (Penalty, [*MAPS, *SPECTRA]), (Solver, SOLVERS)):
        assert set(public(base)) <= {type(example) for example in examples}


def test_every_refusal_names_the_way_out():
    for sentence in {sentence for sentence in REFUSED.values() if sentence}:
        assert re.search(r"use |leave |give |wish it|must lie|instead", sentence), sentence


@pytest.mark.parametrize("combination", PAIRS, ids=named)
def test_no_solver_leaves_the_best_answer_uphill(combination):
    problem, solver = problem_of(*combination[:3]), SOLVERS[combination[3]]
    if problem.ruled:
        pytest.skip("a mere rule has no objective that could be compared")
    found = solved(problem, solver, 1, 6), solved(problem, None, 1, 6)
    assert stays(problem, solver, min(found, key=lambda one: one.objective)) <= STAYS
