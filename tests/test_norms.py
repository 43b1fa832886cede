"""The unsquared norm: exactly zero above a threshold, the minimiser below it."""

import numpy as np
import pytest
from scipy.optimize import minimize

import endmember as em
from endmember.factor.data.axis import Grid
from endmember.factor.subproblems import Quadratic, Setting, square_of_costs


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    Z = rng.random((20, 3))
    sub = Quadratic(Z.T @ Z, rng.standard_normal((5, 3)) * 3, lower=-rng.random((5, 3)))
    sub.setting = Setting(1.0, 1.0, Grid((5,)))
    return sub


def test_minimiser_agrees_with_a_general_optimiser(problem):
    F = em.ANLS().improve(problem, np.zeros((5, 3)), 20, penalties=[em.Norm(2.0)])

    def objective(f):
        return problem.value(f.reshape(5, 3)) + 2.0 * np.linalg.norm(f)

    bounds = [(low, None) for low in problem.lower.ravel()]
    found = minimize(objective, np.ones(15), bounds=bounds, method="L-BFGS-B", tol=1e-14)
    assert objective(F.ravel()) <= found.fun + 1e-9
    np.testing.assert_allclose(F.ravel(), found.x, atol=1e-4)


def test_threshold_is_the_pull_into_the_box(problem):
    threshold = np.linalg.norm(problem.slope_into_box())
    for factor, is_empty in ((0.999, False), (1.001, True)):
        F = em.ANLS().improve(problem, np.ones((5, 3)), 20, penalties=[em.Norm(factor * threshold)])
        assert (not F.any()) == is_empty


def test_upper_bounds_of_zero_do_not_pull():
    sub = Quadratic(np.eye(2), np.array([[3.0, -5.0]]), lower=0.0, upper=np.array([[np.inf, 0.0]]))
    np.testing.assert_array_equal(sub.slope_into_box(), [[3.0, 0.0]])


def test_costs_of_columns_that_have_vanished_are_numbers():
    assert all(
        np.isfinite(one).all() for one in square_of_costs(np.array([2e2, -3.0]), np.full(2, 1e-160))
    )
