"""Solvers against closed forms, SciPy row by row, and scikit-learn's coordinate descent."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear, nnls
from sklearn.decomposition._nmf import _update_coordinate_descent
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from endmember.factor.solvers import ANLS, HALS, pivoting
from endmember.factor.subproblems import Quadratic

SOLVERS = [ANLS(), HALS(), HALS(inner=1)]


def problem(k, n=120, m=60, seed=0, skew=5.0):
    rng = np.random.default_rng(seed)
    Z = rng.random((m, k)) * np.linspace(1, skew, k)
    X = rng.normal(0.2, 1.0, (n, m))
    return X, Z, Quadratic(Z.T @ Z, X @ Z)


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_anls_equals_nnls_row_by_row(k):
    X, Z, sub = problem(k)
    expected = np.array([nnls(Z, x)[0] for x in X])
    for start in (np.zeros_like(expected), np.ones_like(expected)):
        np.testing.assert_allclose(ANLS().improve(sub, start, 60), expected, atol=1e-10)


def test_anls_with_entrywise_weights_equals_weighted_nnls():
    X, Z, _ = problem(4)
    rng = np.random.default_rng(1)
    W = rng.random(X.shape) * (rng.random(X.shape) > 0.3)
    W[5] = 0.0  # a pixel of which nothing is known
    sub = Quadratic(np.einsum("ij,jk,jl->ikl", W, Z, Z), (W * X) @ Z)
    root = np.sqrt(W)
    expected = np.array([nnls(r[:, None] * Z, r * x)[0] for r, x in zip(root, X, strict=True)])
    np.testing.assert_allclose(ANLS().improve(sub, np.zeros((120, 4)), 60), expected, atol=1e-10)


def test_anls_between_any_bounds_equals_bounded_least_squares():
    X, Z, sub = problem(4)
    rng = np.random.default_rng(2)
    lower, upper = -0.05 * rng.random((120, 4)), 0.05 * rng.random((120, 4))
    lower[:, 1] = -np.inf
    upper[:, 2] = np.inf
    lower[:7, 0] = upper[:7, 0] = 0.02
    F = ANLS().improve(Quadratic(sub.G, sub.H, lower, upper), np.zeros((120, 4)), 60)
    assert (F[:7, 0] == 0.02).all()
    for i in range(7, 120):
        expected = lsq_linear(Z, X[i], (lower[i], upper[i]), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(F[i], expected, atol=1e-9)


def test_anls_without_bounds_is_least_squares():
    X, Z, sub = problem(3)
    F = ANLS().improve(Quadratic(sub.G, sub.H, -np.inf, np.inf), np.zeros((120, 3)), 60)
    np.testing.assert_allclose(F, np.linalg.lstsq(Z, X.T, rcond=None)[0].T, atol=1e-10)


def test_anls_with_equal_components_reaches_the_optimum():
    X, Z, _ = problem(3)
    Z = np.column_stack([Z, Z[:, 0], np.zeros(60)])
    sub = Quadratic(Z.T @ Z, X @ Z)
    F = ANLS().improve(sub, np.zeros((120, 5)), 60)
    best = sum(nnls(Z, x)[1] ** 2 for x in X)
    assert np.isfinite(F).all() and (F >= 0).all()
    assert np.sum((X - F @ Z.T) ** 2) == pytest.approx(best, rel=1e-10)


def test_settling_what_pivoting_left_over_gives_the_same_minimiser():
    X, Z, sub = problem(5)
    rough = [pivoting._settled(sub.G, h, np.zeros(5), np.full(5, np.inf)) for h in sub.H]
    np.testing.assert_allclose(rough, ANLS().improve(sub, np.zeros((120, 5)), 60), atol=1e-7)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_compiled_pivoting_is_what_its_python_says(k, monkeypatch):
    _, Z, sub = problem(k, n=40)
    rng = np.random.default_rng(6)
    lower, upper = -0.05 * rng.random((40, k)), 0.05 * rng.random((40, k))
    lower[:, 0], upper[5:9] = -np.inf, lower[5:9]
    boxed = Quadratic(sub.G, sub.H, lower, upper)
    compiled = [ANLS().improve(given, np.zeros((40, k)), 60) for given in (sub, boxed)]
    monkeypatch.setattr(pivoting, "loops", lambda: vars(pivoting))
    for given, F in zip((sub, boxed), compiled, strict=True):
        np.testing.assert_allclose(ANLS().improve(given, F, 60), F, rtol=1e-12, atol=1e-14)


def test_the_bits_of_rows_depend_neither_on_threads_nor_on_their_shares(monkeypatch):
    _, _, sub = problem(9)
    F = ANLS().improve(sub, np.ones((120, 9)), 60)
    monkeypatch.setattr(pivoting, "CHUNK", 7)
    for threads in ("1", "3"):
        monkeypatch.setenv("ENDMEMBER_THREADS", threads)
        np.testing.assert_array_equal(ANLS().improve(sub, np.ones((120, 9)), 60), F)


def test_more_components_than_patterns_have_numbers_are_solved():
    X, Z, sub = problem(70, m=90)
    expected = np.array([nnls(Z, x)[0] for x in X])
    F = ANLS().improve(sub, np.zeros(expected.shape), 90)
    np.testing.assert_allclose(F, expected, atol=1e-8)


def test_one_hals_column_equals_the_closed_form():
    X, Z, sub = problem(1)
    closed = np.maximum(X @ Z / (Z.T @ Z), 0)
    np.testing.assert_allclose(
        HALS(inner=1).improve(sub, np.zeros((120, 1)), 60), closed, atol=1e-14
    )


def test_hals_column_without_the_others_equals_the_closed_form():
    X, Z, sub = problem(3)
    F = np.abs(np.random.default_rng(3).normal(size=(120, 3)))
    rest = X - F[:, 1:] @ Z[:, 1:].T
    closed = np.maximum(rest @ Z[:, 0] / (Z[:, 0] @ Z[:, 0]), 0)
    np.testing.assert_allclose(HALS(inner=1).improve(sub, F, 60)[:, 0], closed, atol=1e-12)


def test_hals_sweep_equals_scikit_learns_coordinate_descent():
    X, Z, sub = problem(4)
    F = np.abs(np.random.default_rng(4).normal(size=(120, 4)))
    theirs = F.copy()
    _update_coordinate_descent(np.ascontiguousarray(np.abs(X)), theirs, Z, 0.0, 0.0, False, None)
    ours = HALS(inner=1).improve(Quadratic(Z.T @ Z, np.abs(X) @ Z), F, 60)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_hals_with_a_gram_a_row_equals_hals_with_one_gram():
    _, _, sub = problem(3)
    F = np.ones((120, 3))
    each = Quadratic(np.broadcast_to(sub.G, (120, 3, 3)), sub.H)
    np.testing.assert_allclose(
        HALS(inner=2).improve(each, F, 60), HALS(inner=2).improve(sub, F, 60), atol=1e-12
    )


def test_hals_fixed_point_is_the_anls_solution():
    _, _, sub = problem(4, skew=2.0)
    exact = ANLS().improve(sub, np.zeros((120, 4)), 60)
    np.testing.assert_allclose(HALS(inner=1).improve(sub, exact, 60), exact, atol=1e-12)
    np.testing.assert_allclose(
        HALS(inner=3000).improve(sub, np.zeros((120, 4)), 60), exact, atol=1e-7
    )


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_no_solver_raises_the_objective_or_leaves_the_box(solver):
    _, _, sub = problem(5)
    sub = Quadratic(sub.G, sub.H, 0.0, 0.3)
    F = np.random.default_rng(5).random((120, 5)) * 0.3
    better = solver.improve(sub, F, 60)
    assert sub.value(better) < sub.value(F)
    assert better.min() >= 0 and better.max() <= 0.3


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_solvers_leave_their_input_alone(solver):
    _, _, sub = problem(3)
    F = np.ones((120, 3))
    G, H = sub.G.copy(), sub.H.copy()
    solver.improve(sub, F, 60)
    assert (F == 1).all() and (sub.G == G).all() and (sub.H == H).all()


def test_sweeps_that_are_slow_go_on_until_the_answer_is_a_minimum():
    X = np.asarray(em.synthetic.diode(shape=(12, 12), channels=60).signal.data)
    for solver in (em.MultiplicativeUpdate(), em.HALS(inner=1)):
        nmf = em.NMF(3, solver=solver, init="random", random_state=0, max_iter=20000).fit(X)
        assert nmf.converged_ and nmf.optimality_ <= 1e-3


def test_a_fit_of_which_nothing_is_left_has_not_converged():
    X = np.abs(np.random.default_rng(0).normal(size=(20, 8)))
    with pytest.warns(ConvergenceWarning, match="nothing is left of component 0, 1: lower"):
        nmf = em.NMF(2, maps=em.Sparse(5.0), random_state=0).fit(X)
    assert not nmf.converged_ and not nmf.maps_.any()


def test_optimality_is_zero_at_the_minimum_and_has_no_scale():
    _, _, sub = problem(3)
    F = ANLS().improve(sub, np.zeros((120, 3)), 60)
    assert sub.optimality(F) < 1e-12
    G, H = np.ones((120, 3)), Quadratic(sub.G * 4.0**9, sub.H * 2.0**9)
    assert H.optimality(G * 2.0**-9) == pytest.approx(sub.optimality(G), rel=1e-12)
