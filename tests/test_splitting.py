"""ADMM against the exact solvers of the same problems."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from endmember.factor.solvers import ADMM, ANLS
from endmember.factor.subproblems import Quadratic

RNG = np.random.default_rng(0)
Z = RNG.random((40, 3))
X = RNG.normal(0.3, 1.0, (30, 40))
SUB = Quadratic(Z.T @ Z, X @ Z)
ZERO = np.zeros((30, 3))


class Few:
    """``weight · Σ|F|`` by its proximal step."""

    def __init__(self, weight):
        self.weight = weight

    def prox(self, F, step, setting):
        return np.sign(F) * np.maximum(np.abs(F) - self.weight * step, 0)


class OnSimplex:
    """Rows that sum to one and are not negative."""

    def prox(self, F, step, setting):
        ordered = np.sort(F, axis=1)[:, ::-1]
        excess = (np.cumsum(ordered, axis=1) - 1) / np.arange(1, F.shape[1] + 1)
        last = np.sum(ordered > excess, axis=1) - 1
        return np.maximum(F - excess[np.arange(len(F)), last][:, None], 0)


class Capped:
    def prox(self, F, step, setting):
        return np.minimum(F, 0.3)


def test_many_rounds_give_the_exact_bounded_minimiser():
    assert (ANLS().improve(SUB, ZERO, 40) == 0).any()
    for bounds in ((0.0, np.inf), (0.0, 0.2), (-0.1, 0.1), (-np.inf, np.inf)):
        sub = Quadratic(SUB.G, SUB.H, *bounds)
        ours = ADMM(inner=3000).improve(sub, ZERO, 40)
        np.testing.assert_allclose(ours, ANLS().improve(sub, ZERO, 40), atol=1e-9)


def test_few_rounds_kept_from_sweep_to_sweep_get_there_too():
    memory, F = {}, ZERO
    for _ in range(400):
        F = ADMM(inner=5).improve(SUB, F, 40, memory=memory)
    np.testing.assert_allclose(F, ANLS().improve(SUB, ZERO, 40), atol=1e-9)


def test_a_proximal_penalty_equals_the_same_penalty_in_the_subproblem():
    weight = 0.7
    ours = ADMM(inner=3000).improve(SUB, ZERO, 40, penalties=[Few(weight)])
    added = Quadratic(SUB.G, SUB.H)
    added.add_linear(weight)
    np.testing.assert_allclose(ours, ANLS().improve(added, ZERO, 40), atol=1e-9)


def test_two_penalties_at_once_meet_the_optimum_of_both():
    sub, penalties = Quadratic(SUB.G, SUB.H, -np.inf, np.inf), [Few(0.7), Capped()]
    ours = ADMM(inner=6000).improve(sub, ZERO, 40, penalties=penalties)
    added = Quadratic(SUB.G, SUB.H, 0.0, 0.3)
    added.add_linear(0.7)
    bounded = Quadratic(SUB.G, SUB.H, 0.0, np.inf)
    both = ADMM(inner=6000).improve(bounded, ZERO, 40, penalties=penalties)
    np.testing.assert_allclose(both, ANLS().improve(added, ZERO, 40), atol=1e-8)
    assert ours.max() <= 0.3


def test_rows_on_the_simplex_are_the_constrained_least_squares():
    F = ADMM(inner=3000).improve(SUB, ZERO, 40, penalties=[OnSimplex()])
    np.testing.assert_allclose(F.sum(axis=1), 1.0, atol=1e-12)
    assert F.min() >= 0
    for i in (0, 11, 29):
        best = minimize(
            lambda f, i=i: 0.5 * f @ SUB.G @ f - f @ SUB.H[i],
            np.full(3, 1 / 3),
            jac=lambda f, i=i: SUB.G @ f - SUB.H[i],
            bounds=[(0, None)] * 3,
            constraints={"type": "eq", "fun": lambda f: f.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-15},
        )
        np.testing.assert_allclose(F[i], best.x, atol=1e-6)


def test_what_is_returned_meets_its_constraint_after_one_round():
    F = ADMM(inner=1).improve(SUB, RNG.random((30, 3)), 40, penalties=[OnSimplex()])
    np.testing.assert_allclose(F.sum(axis=1), 1.0, atol=1e-12)
    assert ADMM(inner=1).improve(SUB, RNG.random((30, 3)), 40).min() >= 0


def test_rows_with_their_own_gram_or_weight_are_solved_alike():
    G = np.broadcast_to(SUB.G, (30, 3, 3)) * (1 + RNG.random((30, 1, 1)))
    each = Quadratic(G, SUB.H)
    exact = ANLS().improve(each, ZERO, 40)
    np.testing.assert_allclose(ADMM(inner=3000).improve(each, ZERO, 40), exact, atol=1e-8)
    r = 2.0 ** RNG.uniform(-1, 1, 30)
    weighted = Quadratic(SUB.G, SUB.H, row_weights=r)
    few = ADMM(inner=4000).improve(weighted, ZERO, 40, penalties=[Few(0.7)])
    added = Quadratic(SUB.G, SUB.H, row_weights=r)
    added.add_linear(0.7)
    np.testing.assert_allclose(few, ANLS().improve(added, ZERO, 40), atol=1e-6)


@pytest.mark.parametrize("scale", [2.0**-27, 2.0**27])
def test_scaling_the_data_scales_the_factor(scale):
    plain = ADMM().improve(SUB, ZERO, 40)
    scaled = ADMM().improve(Quadratic(SUB.G, SUB.H * scale), ZERO, 40)
    np.testing.assert_allclose(scaled, plain * scale, rtol=1e-12)
    other = ADMM().improve(Quadratic(SUB.G * scale, SUB.H * scale), ZERO, 40)
    np.testing.assert_allclose(other, plain, rtol=1e-12)


def test_input_is_left_alone():
    F = np.ones((30, 3))
    G, H = SUB.G.copy(), SUB.H.copy()
    ADMM().improve(SUB, F, 40, penalties=[Few(0.1)])
    assert (F == 1).all() and (SUB.G == G).all() and (SUB.H == H).all()


def test_an_empty_other_factor_is_survived():
    empty = Quadratic(np.zeros((3, 3)), np.zeros((30, 3)))
    assert np.isfinite(ADMM().improve(empty, np.ones((30, 3)), 40, penalties=[Few(0.1)])).all()


def test_the_whole_factorisation_reaches_that_of_exact_least_squares():
    phantom = em.synthetic.mixed_phases(shape=(10, 10), channels=50, k=3, dose=400, seed=1)
    exact = em.NMF(3, init="nndsvd", tol=1e-6).fit(phantom.data)
    ours = em.NMF(3, init="nndsvd", tol=1e-6, solver=em.ADMM()).fit(phantom.data)
    assert ours.objective_[-1] == pytest.approx(exact.objective_[-1], rel=1e-3)
    assert (np.diff(ours.objective_) <= 1e-12 * ours.objective_[0]).all() and ours.maps_.min() >= 0


@pytest.mark.parametrize("penalty", [em.SumToOne(), em.TotalVariation(0.01)])
def test_what_a_proximal_step_bears_of_the_gradient_is_no_residual(penalty):
    phantom = em.synthetic.diode(shape=(12, 12), channels=40)
    fitted = em.NMF(3, maps=penalty, n_starts=2, random_state=0).fit(phantom.signal)
    assert fitted.converged_ and fitted.optimality_ < 1e-3
    early = em.NMF(3, maps=penalty, n_starts=2, random_state=0, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        early.fit(phantom.signal)
    assert early.optimality_ > 10 * fitted.optimality_
