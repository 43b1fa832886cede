"""Every pair out of loss, penalty on maps, penalty on spectra and solver: refused with the way out, or right."""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from combinations import (  # fmt: skip
    ALL,
    LINES,
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
from test_penalties import K, counts

REFUSED = {row: refusal(*row) for row in everything()}
PAIRS = every_pair([row for row, sentence in REFUSED.items() if sentence is None])


def named(combination):
    return "-".join(repr(some[i])[:24] for some, i in zip(ALL, combination, strict=True))


def test_every_public_class_takes_part():
    for base, examples in ((Loss, LOSSES), (Penalty, [*MAPS, *SPECTRA, *LINES]), (Solver, SOLVERS)):
        assert set(public(base)) <= {type(example) for example in examples}


def test_every_refusal_names_the_way_out():
    for sentence in {sentence for sentence in REFUSED.values() if sentence}:
        assert re.search(r"use |leave |give |must lie|instead", sentence), sentence


def test_every_solver_that_a_refusal_names_is_accepted():
    refused = [row for row, sentence in REFUSED.items() if sentence and "solver=" in sentence]
    for row in every_pair(refused):
        loss, maps, spectra, _ = (some[i] for some, i in zip(ALL, row, strict=True))
        loss = em.SquaredError() if "em.SquaredError() with" in REFUSED[row] else loss
        for solver in re.findall(r"solver=(em\.\w+\(\)|None)", REFUSED[row]):
            model = em.NMF(K, loss=loss, maps=maps, spectra=spectra, solver=eval(solver))
            model._check_parameters()  # raises what the fit would


def test_what_no_solver_can_cure_is_refused_before_the_solver():
    for maps, spectra in ((em.Free(), None), (None, em.Free())):
        model = em.NMF(K, loss=em.Poisson(), maps=maps, spectra=spectra, solver=em.ANLS())
        with pytest.raises(ValueError, match=r"without negative values.* with solver=em\.ANLS"):
            model._check_parameters()


@pytest.mark.parametrize("combination", PAIRS, ids=named)
def test_no_solver_leaves_the_best_answer_uphill(combination):
    problem, solver = problem_of(*combination[:3]), SOLVERS[combination[3]]
    if problem.ruled:
        pytest.skip("a mere rule has no objective that could be compared")
    found = solved(problem, solver, 1, 6), solved(problem, None, 1, 6)
    assert stays(problem, solver, min(found, key=lambda one: one.objective)) <= STAYS


@pytest.mark.parametrize("combination", PAIRS[::7], ids=named)
def test_converged_means_a_minimum_with_every_component_in_it(combination):
    loss, maps, spectra, solver = (some[i] for some, i in zip(ALL, combination, strict=True))
    model = em.NMF(
        K, loss=loss, maps=maps, spectra=spectra, solver=solver, n_starts=1, max_iter=200,
        normalise=None, compress=False, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(counts())
    assert model.converged_ != any(issubclass(one.category, ConvergenceWarning) for one in said)
    if model.converged_ and not problem_of(*combination[:3]).chooses:
        size = np.linalg.norm(model.maps_.reshape(-1, K), axis=0)
        assert model.optimality_ <= 1e-3
        assert (size * np.linalg.norm(model.components_, axis=1) > 0).all()
