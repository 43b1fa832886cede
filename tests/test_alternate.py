"""The loop: monotone, scale-free, honest about where it stands."""

import numpy as np
import pytest

from endmember.factor.data.axis import Grid
from endmember.factor.data.in_memory import Dense
from endmember.factor.loop.alternate import alternate
from endmember.factor.loop.fit import Fit
from endmember.factor.loop.problem import Problem
from endmember.factor.loop.starts import (
    STARTS,
    nndsvd,
    pure_pixels,
    random,
    random_pixels,
    successive_projection,
)
from endmember.factor.losses import SquaredError
from endmember.factor.penalties import Free, NonNegative
from endmember.factor.solvers import ANLS, HALS

RNG = np.random.default_rng(0)
TRUE_C, TRUE_S = RNG.dirichlet(np.ones(3) * 0.3, 200), RNG.random((50, 3)) ** 3
NOISY = TRUE_C @ TRUE_S.T + 0.02 * RNG.normal(size=(200, 50))
PENALTIES = [[NonNegative()], [NonNegative()]]
GRIDS = [Grid((200,)), Grid((50,))]


def start(X, k=3, seed=0):
    return random(Dense(X), k, np.random.default_rng(seed))


def run(X, solver, k=3, tol=1e-6, max_iter=2000, penalties=PENALTIES):
    problem = Problem(Dense(X), SquaredError(), penalties, GRIDS)
    return problem, alternate(
        problem, Fit(start(X, k)), [solver, solver], max_iter=max_iter, tol=tol
    )


@pytest.mark.parametrize("solver", [ANLS(), HALS(), HALS(inner=1)], ids=repr)
def test_objective_never_rises_and_is_the_misfit(solver):
    problem, fit = run(NOISY, solver)
    steps = np.diff(fit.objective)
    assert (steps <= 1e-13 * fit.objective[0]).all()
    residual = NOISY - fit.factors[0] @ fit.factors[1].T
    assert fit.objective[-1] == pytest.approx(0.5 * np.sum(residual**2), rel=1e-9)
    assert fit.converged and problem.optimality(fit.factors) < 1e-3


def test_a_tight_tolerance_reaches_a_stationary_point():
    problem, fit = run(NOISY, ANLS(), tol=1e-9, max_iter=5000)
    assert fit.converged and problem.optimality(fit.factors) < 1e-5


@pytest.mark.parametrize("solver", [ANLS(), HALS()], ids=repr)
@pytest.mark.parametrize(("scale", "slack"), [(2.0**-27, 0), (2.0**27, 0), (1e-8, 1), (1e8, 1)])
def test_scaling_the_data_changes_nothing(solver, scale, slack):
    _, plain = run(NOISY, solver)
    _, scaled = run(NOISY * scale, solver)
    assert abs(len(plain.objective) - len(scaled.objective)) <= slack
    tolerance = 1e-12 if slack == 0 else 1e-4
    np.testing.assert_allclose(
        scaled.factors[0] / scale, plain.factors[0], rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(scaled.factors[1], plain.factors[1], rtol=tolerance, atol=tolerance)


def test_exact_data_are_fitted_exactly_and_the_misfit_says_so():
    _, fit = run(TRUE_C @ TRUE_S.T, ANLS(), tol=0.0, max_iter=20000)
    assert fit.converged
    reference = 0.5 * np.sum((TRUE_C @ TRUE_S.T) ** 2)
    assert 0 < fit.objective[-1] <= 1e-14 * reference


def test_one_component_is_the_leading_singular_pair():
    X = np.abs(NOISY)
    _, fit = run(X, HALS(), k=1, tol=1e-15)
    U, s, Vt = np.linalg.svd(X)
    product = fit.factors[0] @ fit.factors[1].T
    np.testing.assert_allclose(product, s[0] * np.outer(U[:, 0], Vt[0]), atol=1e-8)


def test_free_factors_reach_the_truncated_svd():
    _, fit = run(NOISY, ANLS(), penalties=[[Free()], [Free()]], tol=1e-12)
    tail = np.linalg.svd(NOISY, compute_uv=False)[3:]
    assert fit.objective[-1] == pytest.approx(0.5 * np.sum(tail**2), rel=1e-8)


def test_all_but_the_first_factor_have_unit_columns():
    _, fit = run(NOISY, HALS())
    np.testing.assert_allclose(np.linalg.norm(fit.factors[1], axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("solver", [ANLS(), HALS()], ids=repr)
def test_a_dead_component_is_revived(solver):
    problem = Problem(Dense(NOISY), SquaredError(), PENALTIES, GRIDS)
    C, S = start(NOISY)
    C[:, 2], S[:, 2] = 0.0, 0.0
    fit = alternate(problem, Fit([C, S]), [solver, solver], max_iter=300, tol=0.0)
    _, healthy = run(NOISY, solver)
    assert np.linalg.norm(fit.factors[0], axis=0).min() > 0
    assert fit.objective[-1] == pytest.approx(healthy.objective[-1], rel=1e-3)


def test_the_callback_hears_every_sweep_and_can_stop():
    heard = []

    def listen(progress):
        heard.append(progress)
        return progress.sweep == 7

    problem = Problem(Dense(NOISY), SquaredError(), PENALTIES, GRIDS)
    fit = alternate(
        problem,
        Fit(start(NOISY)),
        [HALS(), HALS()],
        max_iter=50,
        tol=0,
        callback=listen,
        stage="fit",
    )
    assert fit.stopped and not fit.converged
    assert [p.sweep for p in heard] == list(range(1, 8))
    assert [p.objective for p in heard] == fit.objective


@pytest.mark.parametrize("name", STARTS)
def test_starts_scale_with_the_data_and_repeat(name):
    X = np.abs(NOISY)
    C, S = STARTS[name](Dense(X), 3, np.random.default_rng(5))
    again = STARTS[name](Dense(X), 3, np.random.default_rng(5))
    np.testing.assert_array_equal(C, again[0])
    scaled = STARTS[name](Dense(X * 2.0**20), 3, np.random.default_rng(5))
    np.testing.assert_allclose(
        scaled[0] @ scaled[1].T, 2.0**20 * (C @ S.T), rtol=1e-9, atol=1e-9 * 2.0**20
    )
    assert (C >= 0).all() and (S >= 0).all()


def test_random_start_has_the_scale_that_fits_best():
    X = np.abs(NOISY)
    C, S = random(Dense(X), 3, np.random.default_rng(0))
    misfit = [np.sum((X - a * C @ S.T) ** 2) for a in (0.99, 1.0, 1.01)]
    assert np.argmin(misfit) == 1


def test_random_pixels_never_start_from_an_empty_pixel():
    X = np.zeros((400, 20))
    X[::10] = RNG.random((40, 20))
    _, S = random_pixels(Dense(X), 4, np.random.default_rng(1))
    assert (np.linalg.norm(S, axis=0) > 0).all()


def test_nndsvd_of_a_non_negative_rank_one_matrix_is_exact():
    X = np.outer(RNG.random(30), RNG.random(20))
    C, S = nndsvd(Dense(X), 1, np.random.default_rng(0))
    np.testing.assert_allclose(C @ S.T, X, rtol=1e-10)


def test_pure_pixels_solve_separable_data_at_once():
    rng = np.random.default_rng(3)
    C = np.vstack([rng.dirichlet(np.ones(4), 80), np.eye(4)]) * rng.uniform(0.3, 3, (84, 1))
    S = rng.random((30, 4))
    X = C @ S.T
    assert set(successive_projection(Dense(X), 4)) == {80, 81, 82, 83}
    assert set(successive_projection(Dense(1e9 * X), 4)) == {80, 81, 82, 83}
    factors = pure_pixels(Dense(X), 4, rng)
    assert Dense(X).misfit(factors) <= 1e-20 * np.sum(X**2)
