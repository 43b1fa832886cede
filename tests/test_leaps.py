"""Leaps: the same problem, its minimum sooner."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from endmember.factor.loop import acceleration as loop
from endmember.factor.loop.acceleration import Mixing, can_leap, leap
from endmember.factor.sketch.low_rank import LowRank, compress
from endmember.factor.solvers import ANLS
from endmember.methods.nmf import NMF

PHANTOM = em.synthetic.mixed_phases(shape=(40, 40), channels=200, k=3, dose=200, seed=1)
COUNTS = np.asarray(PHANTOM.data, dtype=float)


def problem_of(model: NMF):
    """Return the compressed problem of a model, settled at a start, and the start."""
    scaling = "poisson" if model.loss is not None else None
    data = compress(COUNTS, 13, scaling=scaling)
    problem = replace(model._problem(data.origin), data=data)
    rng = np.random.default_rng(2)
    C, S = rng.random((data.shape[0], 3)), rng.random((data.shape[1], 3))
    C[rng.random(C.shape) < 0.3] = 0.0
    return problem.settled([C, S]), [C, S]


@pytest.mark.parametrize("loss", [None, em.PoissonScaled()])
def test_held_maps_are_the_best_with_those_zeros(loss):
    problem, (C, S) = problem_of(NMF(3, loss=loss))
    ahead, same = leap(problem, [C, S], ANLS(), 1, 0.0)  # one sweep: maps of the spectra it found
    plain = problem.plain([C, same], 0)
    for i in (0, 7, 100, 1111):
        free = C[i] > 0
        best = np.zeros(3)
        best[free] = np.linalg.solve(plain.G[np.ix_(free, free)], plain.H[i, free])
        np.testing.assert_allclose(ahead[i], np.maximum(best, 0.0), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("loss", [None, em.PoissonScaled()])
def test_sweeps_of_a_leap_are_sweeps_over_all_pixels(loss):
    problem, (C, S) = problem_of(NMF(3, loss=loss))
    _, found = leap(problem, [np.ones_like(C), S], ANLS(), 1, 0.0)  # no pixel has a zero
    plain = problem.plain([C, S], 0)
    maps = np.linalg.solve(plain.G, plain.H.T).T
    exact = ANLS().improve(problem.penalised(problem.plain([maps, S], 1), 1, [maps, S]), S, 1)
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-10 * exact.max())


def fit(**options):
    return em.NMF(3, random_state=0, n_starts=3, **options).fit(COUNTS)


def test_the_default_tolerance_takes_no_leap(monkeypatch):
    with_leaps = fit()
    monkeypatch.setattr(loop, "can_leap", lambda problem, solvers: False)
    np.testing.assert_array_equal(with_leaps.components_, fit().components_)


@pytest.mark.parametrize(
    "options", [{}, {"loss": em.PoissonScaled()}, {"spectra": em.ZeroOutside(40, 180)}]
)
def test_a_fine_tolerance_reaches_the_minimum_in_few_sweeps(options, monkeypatch):
    leapt = fit(tol=1e-9, **options)
    assert leapt.converged_
    assert leapt.optimality_ < 1e-5
    assert (np.diff(leapt.objective_) <= 1e-9 * leapt.objective_[0]).all()
    monkeypatch.setattr(loop, "can_leap", lambda problem, solvers: False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = fit(tol=0.0, max_iter=5 * leapt.n_iter_, **options)
    assert leapt.objective_[-1] < plain.objective_[-1] * (1 + 1e-9)


def test_known_spectra_stay_what_they_are():
    known = PHANTOM.spectra[1]
    model = fit(tol=1e-8, spectra=em.Known({0: known}))
    angle = em.spectral_angle(model.components_[:1], known[None])
    assert angle[0] < 1e-5


def test_leaps_do_not_feel_the_unit():
    one, other = (
        fit(tol=1e-8),
        em.NMF(3, random_state=0, n_starts=3, tol=1e-8).fit(COUNTS * 2.0**-27),
    )
    np.testing.assert_allclose(other.components_, one.components_, atol=1e-7)  # of unit length
    assert other.n_iter_ == one.n_iter_


@pytest.mark.parametrize(
    "model",
    [
        em.NMF(3, maps=em.Sparse(0.1)),
        em.NMF(3, maps=em.SoftOrthogonal(0.01)),
        em.NMF(3, solver=em.HALS()),
        em.NMF(3, loss=em.Poisson()),
    ],
)
def test_what_bears_no_leap_takes_none(model):
    problem, _ = problem_of(NMF(3))
    other = replace(model._problem(problem.data.origin), data=problem.data)
    assert can_leap(problem, [ANLS(), ANLS()])
    assert isinstance(problem.data, LowRank)
    assert not can_leap(other, model._solvers(other.loss, other.penalties, 3))


def test_mixing_solves_a_linear_iteration_in_as_many_steps_as_it_has_unknowns():
    rng = np.random.default_rng(4)
    A = np.diag([0.99, 0.9, 0.5]) + 0.01 * rng.random((3, 3))
    b = rng.random(3)
    mixing, x = Mixing(), np.zeros(3)
    for _ in range(6):
        x = mixing.after(x, A @ x + b)
    np.testing.assert_allclose(x, np.linalg.solve(np.eye(3) - A, b), rtol=1e-5)
