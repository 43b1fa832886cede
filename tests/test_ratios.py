"""Solvers for divergences against scikit-learn's, against one another, and at their limits."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import xlogy
from sklearn.decomposition import NMF, non_negative_factorization
from sklearn.decomposition._nmf import _multiplicative_update_h, _multiplicative_update_w

import endmember as em
from endmember.factor.data.in_memory import Dense, Sparse, Weighted
from endmember.factor.losses import BetaDivergence, Poisson, SquaredError
from endmember.factor.solvers import HALS, MultiplicativeUpdate, Newton

RNG = np.random.default_rng(1)
TRUE = [RNG.gamma(0.6, 1.0, (60, 3)), RNG.gamma(0.6, 1.0, (45, 3))]
COUNTS = RNG.poisson(1.5 * TRUE[0] @ TRUE[1].T).astype(float)
POSITIVE = COUNTS + 0.3
START = [RNG.random((60, 3)) + 0.1, RNG.random((45, 3)) + 0.1]
BETAS = (0, 0.5, 1, 1.5, 2, 3)
SOLVERS = [MultiplicativeUpdate(), Newton(), Newton(inner=1), Newton(inner=10), HALS()]


def sweep(solver, loss, data, factors, memory=(None, None)):
    """Improve the maps, then the spectra; return the new factors."""
    factors = list(factors)
    for mode in (0, 1):
        sub = loss.subproblem(data, factors, mode)
        sub.lower = 0.0
        others = data.shape[1 - mode]
        factors[mode] = solver.improve(sub, factors[mode], others, memory=memory[mode])
    return factors


def descent(solver, loss, data, factors, sweeps):
    misfits = [loss.misfit(data, factors)]
    for _ in range(sweeps):
        factors = sweep(solver, loss, data, factors)
        misfits.append(loss.misfit(data, factors))
    return factors, np.array(misfits)


@pytest.mark.parametrize("beta", BETAS)
def test_multiplicative_updates_equal_scikit_learns_step_by_step(beta):
    W, H = START[0].copy(), START[1].T.copy()
    gamma = 1 / (2 - beta) if beta < 1 else 1 / (beta - 1) if beta > 2 else 1.0
    ours, data = START, Dense(POSITIVE)
    for _ in range(5):
        W = _multiplicative_update_w(POSITIVE, W, H, beta, 0, 0, gamma)[0]
        H = _multiplicative_update_h(POSITIVE, W, H, beta, 0, 0, gamma)
        ours = sweep(MultiplicativeUpdate(), BetaDivergence(beta), data, ours)
        np.testing.assert_allclose(ours[0], W, rtol=1e-10)
        np.testing.assert_allclose(ours[1], H.T, rtol=1e-10)


def test_multiplicative_updates_on_squared_error_equal_scikit_learns():
    ours, data = START, Dense(COUNTS)
    for _ in range(20):
        ours = sweep(MultiplicativeUpdate(), SquaredError(), data, ours)
    W, H, _ = non_negative_factorization(
        COUNTS, W=START[0].copy(), H=START[1].T.copy(), n_components=3, init="custom", solver="mu",
        max_iter=20, tol=0,
    )  # fmt: skip
    np.testing.assert_allclose(ours[0], W, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(ours[1], H.T, rtol=1e-9, atol=1e-14)


def test_multiplicative_updates_on_sparse_counts_equal_scikit_learns():
    ours, data = START, Sparse(sparse.csr_array(COUNTS))
    for _ in range(20):
        ours = sweep(MultiplicativeUpdate(), Poisson(), data, ours)
    W, H, _ = non_negative_factorization(
        sparse.csr_matrix(COUNTS), W=START[0].copy(), H=START[1].T.copy(), n_components=3,
        init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=20, tol=0,
    )  # fmt: skip
    np.testing.assert_allclose(ours[0], W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours[1], H.T, rtol=1e-9, atol=1e-12)


def test_beta_two_steps_as_squared_error_does():
    two = sweep(MultiplicativeUpdate(), BetaDivergence(2), Dense(COUNTS), START)
    squared = sweep(MultiplicativeUpdate(), SquaredError(), Dense(COUNTS), START)
    for ours, theirs in zip(two, squared, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("beta", "exponent"), [(0, 0.5), (0.5, 1 / 1.5), (1, 1), (1.7, 1), (2, 1), (3, 0.5)]
)
def test_an_update_takes_the_power_of_its_surrogate(beta, exponent):
    F = START[0]
    loss = BetaDivergence(beta)
    up, down = loss.subproblem(Dense(POSITIVE), START, 0).parts(F)
    updated = MultiplicativeUpdate().improve(loss.subproblem(Dense(POSITIVE), START, 0), F, 45)
    np.testing.assert_allclose(updated, F * (up / down) ** exponent, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("beta", (-1, *BETAS, 4))
def test_multiplicative_updates_never_raise_the_misfit(beta, weighted):
    data = Dense(POSITIVE)
    if weighted:
        data = Weighted(data, RNG.random(POSITIVE.shape) * (RNG.random(POSITIVE.shape) > 0.2))
    _, misfits = descent(MultiplicativeUpdate(), BetaDivergence(beta), data, START, 40)
    assert misfits[-1] < misfits[0]
    assert (np.diff(misfits) <= 1e-12 * misfits[0]).all()


def newton_data(kind):
    rng = np.random.default_rng(2)
    weights = {
        "faint weights": np.full(COUNTS.shape, 1e-3),
        "weights": rng.random(COUNTS.shape) ** 4,
        "missing": (rng.random(COUNTS.shape) > 0.4).astype(float),
    }
    if kind in weights:
        return Weighted(Dense(COUNTS), weights[kind])
    scaled = {"small": COUNTS * 1e-6, "large": COUNTS * 1e6}
    return Dense(scaled.get(kind, COUNTS))


@pytest.mark.parametrize(
    "kind", ["counts", "small", "large", "faint weights", "weights", "missing"]
)
@pytest.mark.parametrize("seed", range(4))
def test_newton_never_raises_the_misfit(kind, seed):
    rng, data = np.random.default_rng(seed), newton_data(kind)
    size = 10.0 ** rng.uniform(-3, 3) * np.sqrt(data.X.mean() if kind != "counts" else 1.0)
    start = [size * rng.random(F.shape) ** 3 for F in START]
    _, misfits = descent(Newton(), Poisson(), data, start, 25)
    assert (np.diff(misfits) <= 1e-12 * misfits[0]).all()


@pytest.mark.parametrize("kind", ["counts", "small", "weights", "missing"])
@pytest.mark.parametrize("seed", range(3))
def test_over_relaxed_steps_never_raise_the_misfit(kind, seed):
    data, rng = newton_data(kind), np.random.default_rng(seed)
    start = [10.0 ** rng.uniform(-1, 1) * rng.random(F.shape) ** 3 for F in START]
    misfits = relaxed_descent(1.8, data, start, 60)
    assert (np.diff(misfits) <= 1e-12 * misfits[0]).all()


def relaxed_descent(relaxation, data, factors, sweeps):
    memory, misfits = [{}, {}], []
    for _ in range(sweeps):
        factors = sweep(Newton(relaxation=relaxation), Poisson(), data, factors, memory)
        misfits.append(Poisson().misfit(data, factors))
    return np.array(misfits)


def test_over_relaxation_comes_nearer_to_the_limit_in_as_many_sweeps():
    phantom = em.synthetic.mixed_phases(shape=(12, 12), channels=60, k=3, dose=100, seed=0)
    data, rng = Dense(np.asarray(phantom.data).reshape(-1, 60)), np.random.default_rng(0)
    start = [rng.random((144, 3)) * 10, rng.random((60, 3))]
    plain, relaxed = (relaxed_descent(relaxation, data, start, 400) for relaxation in (1.0, 1.8))
    limit = min(plain[-1], relaxed[-1])
    assert relaxed[40] - limit < 0.2 * (plain[40] - limit)


def test_a_factor_whose_partner_rests_is_not_over_relaxed():
    memory, F = {}, START[0]
    for _ in range(12):
        F = Newton().improve(
            Poisson().subproblem(Dense(COUNTS), [F, START[1]], 0), F, 45, memory=memory
        )
    sub = Poisson().subproblem(Dense(COUNTS), [F, START[1]], 0)
    assert sub.optimality(F) < 1e-12


@pytest.mark.parametrize("weight", [1.0, 0.1, 1e-3, 1e3])
def test_newton_comes_down_from_far_above_whatever_the_weights(weight):
    X = COUNTS[:, :3] + 1.0
    data = Weighted(Dense(X), np.full(X.shape, weight))
    C, S = np.full((60, 1), 100.0), np.ones((3, 1))
    misfits = [Poisson().misfit(data, [C, S])]
    for _ in range(15):
        C = Newton().improve(Poisson().subproblem(data, [C, S], 0), C, 3)
        misfits.append(Poisson().misfit(data, [C, S]))
    assert (np.diff(misfits) <= 1e-12 * misfits[0]).all()
    np.testing.assert_allclose(C[:, 0], X.mean(axis=1), rtol=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_weighted_squares_column_by_column_descend_to_where_others_do(beta):
    loss, data = BetaDivergence(beta), Dense(POSITIVE)
    ours, misfits = descent(HALS(), loss, data, START, 300)
    assert (np.diff(misfits) <= 1e-12 * misfits[0]).all()
    _, others = descent(MultiplicativeUpdate(), loss, data, ours, 100)
    np.testing.assert_allclose(others[-1], misfits[-1], rtol=1e-4)


@pytest.mark.parametrize("beta", BETAS)
def test_the_rise_of_every_row_is_that_of_the_misfit(beta):
    loss, data = BetaDivergence(beta), Dense(POSITIVE)
    step = np.where(np.arange(60) == 7, 0.3, 0.0)
    rise = loss.subproblem(data, START, 0).rise(START[0], 1, step)
    moved = [START[0] + np.outer(step, [0, 1, 0]), START[1]]
    expected = loss.misfit(data, moved) - loss.misfit(data, START)
    np.testing.assert_allclose(rise[7], expected, rtol=1e-9)
    assert np.count_nonzero(rise) == 1


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_sparse_and_dense_sweeps_agree(solver):
    dense = sweep(solver, Poisson(), Dense(COUNTS), START)
    counts = sweep(solver, Poisson(), Sparse(sparse.csr_array(COUNTS)), START)
    for ours, theirs in zip(counts, dense, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_newton_sweep_ignores_stored_zeros():
    stored = sparse.csr_array(np.ones_like(COUNTS))
    stored.data[:] = COUNTS.ravel()
    ours = sweep(Newton(), Poisson(), Sparse(stored), START)
    expected = sweep(Newton(), Poisson(), Dense(COUNTS), START)
    for left, right in zip(ours, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_newton_reaches_the_limit_of_multiplicative_updates_in_fewer_sweeps():
    data, loss = Dense(COUNTS), Poisson()
    slow, slow_misfits = descent(MultiplicativeUpdate(), loss, data, START, 3000)
    _, quick_misfits = descent(Newton(), loss, data, START, 300)
    limit = min(slow_misfits[-1], quick_misfits[-1])
    assert slow_misfits[-1] == pytest.approx(quick_misfits[-1], rel=1e-6)
    near = limit + 1e-5 * (slow_misfits[0] - limit)
    sweeps = [int(np.argmax(misfits <= near)) for misfits in (slow_misfits, quick_misfits)]
    assert 3 * sweeps[1] < sweeps[0]
    assert loss.subproblem(data, slow, 0).optimality(slow[0]) < 1e-3


def test_one_column_of_newton_equals_its_closed_form():
    """With one component the totals alone decide: c_i = Σ_j x_ij / Σ_j s_j."""
    S = START[1][:, :1]
    sub = Poisson().subproblem(Dense(COUNTS), [START[0][:, :1], S], 0)
    C = Newton(inner=100).improve(sub, START[0][:, :1], 45)
    np.testing.assert_allclose(C[:, 0], COUNTS.sum(axis=1) / S.sum(), rtol=1e-2)
    for _ in range(10):
        sub = Poisson().subproblem(Dense(COUNTS), [C, S], 0)
        C = Newton(inner=100).improve(sub, C, 45)
    np.testing.assert_allclose(C[:, 0], COUNTS.sum(axis=1) / S.sum(), rtol=1e-12)


def test_an_empty_pixel_becomes_empty():
    X = COUNTS.copy()
    X[5] = 0.0
    for data in (Dense(X), Sparse(sparse.csr_array(X))):
        C, _ = sweep(Newton(), Poisson(), data, START)
        assert (C[5] == 0).all() and np.isfinite(C).all()


def test_newton_leaves_zero_and_multiplicative_updates_cannot():
    S = np.array([[1.0, 0.0], [0.0, 1.0]])
    X, C = np.array([[3.0, 5.0]]), np.array([[3.0, 0.0]])
    stuck = MultiplicativeUpdate().improve(Poisson().subproblem(Dense(X), [C, S], 0), C, 2)
    assert stuck[0, 1] == 0
    free = C
    for _ in range(100):
        sub = Poisson().subproblem(Dense(X), [free, S], 0)
        free = Newton().improve(sub, free, 2)
    np.testing.assert_allclose(free, X, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_bounds_hold_and_input_is_left_alone(solver):
    sub = Poisson().subproblem(Dense(COUNTS), START, 0)
    upper = np.full(START[0].shape, np.inf)
    upper[:, 1] = 0.2
    upper[:20, 2] = 0.0
    sub.lower, sub.upper = 0.05 * (upper > 0.1), upper
    before = START[0].copy()
    F = solver.improve(sub, START[0], 45)
    assert (sub.lower <= F).all() and (upper >= F).all()
    np.testing.assert_array_equal(START[0], before)


@pytest.mark.parametrize("solver", [MultiplicativeUpdate(), Newton()], ids=repr)
@pytest.mark.parametrize("kind", ["linear", "quadratic", "coupled"])
def test_what_penalties_add_is_minimised_too(solver, kind):
    def objective(F):
        sub = posed(F)
        value = Poisson().misfit(Dense(COUNTS), [F, START[1]])
        return value + np.sum(sub.linear * F) + 0.5 * np.sum((F @ sub.quadratic) * F)

    def posed(F):
        sub = Poisson().subproblem(Dense(COUNTS), [F, START[1]], 0)
        if kind == "linear":
            sub.add_linear(3.0)
        elif kind == "quadratic":
            sub.add_quadratic(4.0)
        else:
            sub.add_quadratic(np.array([[3.0, -1.0, 0.5], [-1.0, 2.0, 0.0], [0.5, 0.0, 1.0]]))
            sub.add_linear(-0.2 * np.ones(3))
        return sub

    F, values = START[0], [objective(START[0])]
    for _ in range(400):
        F = solver.improve(posed(F), F, 45)
        values.append(objective(F))
    assert (np.diff(values) <= 1e-11 * abs(values[0])).all()
    assert posed(F).optimality(F) < 1e-4


@pytest.mark.parametrize("scale", [2.0**-27, 2.0**27])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_scaling_the_data_scales_the_maps(solver, scale):
    plain = sweep(solver, Poisson(), Dense(COUNTS), START)
    scaled = sweep(solver, Poisson(), Dense(COUNTS * scale), [START[0] * scale, START[1]])
    np.testing.assert_allclose(scaled[0] / scale, plain[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled[1], plain[1], rtol=1e-9, atol=1e-12)


def divergence_from_the_truth(loss, seed):
    phantom = em.synthetic.mixed_phases(shape=(20, 20), channels=120, k=3, dose=30, seed=seed)
    model = em.NMF(3, loss=loss, random_state=0).fit(phantom.data)
    truth = phantom.clean.reshape(-1, 120)
    found = np.maximum((model.maps_ @ model.components_).reshape(-1, 120), 1e-6)
    return np.sum(xlogy(truth, truth / found) - truth + found)


@pytest.mark.parametrize("seed", range(3))
def test_poisson_is_nearer_to_the_truth_than_squared_error_at_low_dose(seed):
    poisson, squared = (
        divergence_from_the_truth(loss, seed) for loss in (em.Poisson(), em.SquaredError())
    )
    assert poisson < 0.7 * squared


@pytest.mark.parametrize("beta", [-0.5, 0.2])
def test_the_default_solver_ends_no_higher_than_multiplicative_updates_by_others(beta):
    X = np.abs(np.random.RandomState(42).randn(20, 10)) + 0.01
    ours = em.NMF(5, loss=em.BetaDivergence(beta), random_state=0).fit(X)
    ends = []
    for seed in range(5):
        peer = NMF(5, solver="mu", beta_loss=beta, init="random", random_state=seed, max_iter=500)
        C = peer.fit_transform(X)
        ends.append(em.BetaDivergence(beta).misfit(Dense(X), [C, peer.components_.T]))
    assert ours.converged_ and ours.objective_[-1] < 1.01 * np.median(ends)
