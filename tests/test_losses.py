"""Losses against their definitions, finite differences and one another; dense counts against sparse ones."""

import dask.array as dask_array
import numpy as np
import pytest
from scipy import sparse
from scipy.special import rel_entr

import endmember as em
from endmember.factor.data import kernels
from endmember.factor.data.in_memory import Dense, Sparse, Weighted
from endmember.factor.data.observed import observe
from endmember.factor.losses import BetaDivergence, Loss, Poisson, PoissonScaled, SquaredError
from endmember.factor.solvers import MultiplicativeUpdate
from own_parts import Huber, Quantile

RNG = np.random.default_rng(0)
TRUE = [RNG.random((40, 3)) + 0.05, RNG.random((30, 3)) + 0.05]
COUNTS = RNG.poisson(2.0 * TRUE[0] @ TRUE[1].T).astype(float)
POSITIVE = COUNTS + 0.5
WEIGHTS = RNG.random(COUNTS.shape) + 0.1
START = [RNG.random((40, 3)) + 0.1, RNG.random((30, 3)) + 0.1]
BETAS = (0.5, 1, 1.5, 2, 3)
SCALED_BY = [1e-9, 1e-3, 1e7]


def divergence(x, v, beta):
    if beta == 1:
        return rel_entr(x, v) - x + v
    if beta == 0:
        return x / v - np.log(x / v) - 1
    return (x**beta + (beta - 1) * v**beta - beta * x * v ** (beta - 1)) / (beta * (beta - 1))


def gradient(loss, data, factors, mode):
    numerator, denominator = loss.subproblem(data, factors, mode).parts(factors[mode])
    return denominator - numerator


def finite_differences(loss, data, factors, mode, h=1e-5):
    slopes = np.empty_like(factors[mode])
    for index in np.ndindex(*slopes.shape):
        values = []
        for sign in (1, -1):
            moved = [F.copy() for F in factors]
            moved[mode][index] += sign * h
            values.append(loss.misfit(data, moved))
        slopes[index] = (values[0] - values[1]) / (2 * h)
    return slopes


@pytest.mark.parametrize("beta", (-1, 0, *BETAS))
def test_misfit_is_the_sum_over_the_entries(beta):
    model = START[0] @ START[1].T
    expected = divergence(POSITIVE, model, beta)
    loss = BetaDivergence(beta)
    assert loss.misfit(Dense(POSITIVE), START) == pytest.approx(expected.sum(), rel=1e-12)
    weighted = Weighted(Dense(POSITIVE), WEIGHTS)
    assert loss.misfit(weighted, START) == pytest.approx((WEIGHTS * expected).sum(), rel=1e-12)


@pytest.mark.parametrize("beta", (0, *BETAS))
def test_misfit_is_zero_at_the_data_and_positive_elsewhere(beta):
    exact = Dense(TRUE[0] @ TRUE[1].T)
    loss = BetaDivergence(beta)
    assert abs(loss.misfit(exact, TRUE)) < 1e-10
    assert loss.misfit(exact, [TRUE[0] * 1.01, TRUE[1]]) > 1e-4


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("beta", BETAS)
def test_gradient_is_that_of_the_misfit(beta, weighted, mode):
    X, factors = POSITIVE[:9, :8], [START[0][:9], START[1][:8]]
    data = Weighted(Dense(X), WEIGHTS[:9, :8]) if weighted else Dense(X)
    loss = BetaDivergence(beta)
    ours = gradient(loss, data, factors, mode)
    numeric = finite_differences(loss, data, factors, mode)
    np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_squared_error_gradient_is_that_of_the_misfit(weighted, mode):
    X, factors = COUNTS[:9, :8], [START[0][:9], START[1][:8]]
    data = Weighted(Dense(X), WEIGHTS[:9, :8]) if weighted else Dense(X)
    ours = SquaredError().subproblem(data, factors, mode).gradient(factors[mode])
    numeric = finite_differences(SquaredError(), data, factors, mode)
    np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_newtons_two_derivatives_are_those_of_the_misfit(weighted, mode):
    data = Weighted(Dense(COUNTS), WEIGHTS) if weighted else Dense(COUNTS)
    loss, h = Poisson(), 1e-5
    sub, F, Z = loss.subproblem(data, START, mode), START[mode], START[1 - mode]
    x, first, second = (
        sub.entries.counts(0.0).x.reshape(len(F), -1),
        F.copy(),
        np.empty((*F.shape, 3)),
    )
    for i, v in enumerate(F @ Z.T):
        kernels.derivatives(x[i], 1 / v, Z.T, np.empty(len(v)), first[i], second[i])
    first += sub.everywhere
    np.testing.assert_allclose(first, gradient(loss, data, START, mode), rtol=1e-10, atol=1e-10)
    for j in range(3):
        sides = []
        for sign in (1, -1):
            moved = [F.copy() for F in START]
            moved[mode][:, j] += sign * h
            sides.append(gradient(loss, data, moved, mode))
        numeric = (sides[0] - sides[1]) / (2 * h)
        np.testing.assert_allclose(second[:, j], numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_the_fall_of_the_model_is_where_counts_are(weighted, mode):
    data = Weighted(Dense(COUNTS), WEIGHTS) if weighted else Dense(COUNTS)
    X, W = (COUNTS, WEIGHTS) if mode == 0 else (COUNTS.T, WEIGHTS.T)
    F, Z = START[mode], START[1 - mode]
    step = RNG.normal(size=F.shape)
    falls = np.where(X * (W if weighted else 1.0) > 0, -(step @ Z.T) / (F @ Z.T), 0.0)
    x = Poisson().subproblem(data, START, mode).entries.counts(0.0).x.reshape(len(F), -1)
    ours = [
        kernels.steepest_fall(x[i], 1 / v, Z.T, step[i], np.empty(len(v)))
        for i, v in enumerate(F @ Z.T)
    ]
    np.testing.assert_allclose(ours, falls.max(axis=1).clip(0), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_beta_two_is_squared_error(weighted):
    data = Weighted(Dense(COUNTS), WEIGHTS) if weighted else Dense(COUNTS)
    two, squared = BetaDivergence(2), SquaredError()
    assert two.misfit(data, START) == pytest.approx(squared.misfit(data, START), rel=1e-12)
    for mode in (0, 1):
        np.testing.assert_allclose(
            gradient(two, data, START, mode),
            squared.subproblem(data, START, mode).gradient(START[mode]),
            rtol=1e-11, atol=1e-11,
        )  # fmt: skip


def test_beta_one_is_poisson():
    data = Dense(COUNTS)
    assert BetaDivergence(1).misfit(data, START) == Poisson().misfit(data, START)
    for mode in (0, 1):
        np.testing.assert_array_equal(
            gradient(BetaDivergence(1), data, START, mode), gradient(Poisson(), data, START, mode)
        )


def test_beta_near_one_comes_near_poisson():
    near = BetaDivergence(1 + 1e-5).misfit(Dense(POSITIVE), START)
    assert near == pytest.approx(Poisson().misfit(Dense(POSITIVE), START), rel=1e-4)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_sparse_counts_are_the_same_as_dense_ones(beta, mode):
    loss, dense, counts = BetaDivergence(beta), Dense(COUNTS), Sparse(sparse.csr_array(COUNTS))
    assert loss.misfit(counts, START) == pytest.approx(loss.misfit(dense, START), rel=1e-12)
    assert loss.reference(counts) == pytest.approx(loss.reference(dense), rel=1e-12)
    ours, theirs = (loss.subproblem(data, START, mode) for data in (counts, dense))
    for part, expected in zip(ours.parts(START[mode]), theirs.parts(START[mode]), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)
    assert ours.optimality(START[mode]) == pytest.approx(theirs.optimality(START[mode]), rel=1e-12)


def test_stored_zeros_change_nothing():
    stored = sparse.csr_array(np.ones_like(COUNTS))
    stored.data[:] = COUNTS.ravel()
    clean = sparse.csr_array(COUNTS)
    assert Poisson().misfit(Sparse(stored), START) == pytest.approx(
        Poisson().misfit(Sparse(clean), START), rel=1e-12
    )


def test_a_count_stored_in_two_parts_counts_once():
    two = sparse.csr_array(
        (np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2)
    )
    factors = [np.array([[1.0], [2.0]]), np.array([[1.0], [1.5]])]
    before = two.data.copy()
    assert Poisson().misfit(Sparse(two), factors) == pytest.approx(
        Poisson().misfit(Dense(two.toarray()), factors), rel=1e-12
    )
    np.testing.assert_array_equal(two.data, before)


@pytest.mark.parametrize("kind", ["dense", "sparse", "weights of one"])
def test_after_a_step_the_model_has_the_totals_of_the_data(kind):
    data = {
        "dense": Dense(COUNTS),
        "sparse": Sparse(sparse.csr_array(COUNTS)),
        "weights of one": Weighted(Dense(COUNTS), np.ones(COUNTS.shape)),
    }[kind]
    C, S = START
    C = MultiplicativeUpdate().improve(Poisson().subproblem(data, [C, S], 0), C, 30)
    np.testing.assert_allclose((C @ S.T).sum(axis=1), COUNTS.sum(axis=1), rtol=1e-12)
    S = MultiplicativeUpdate().improve(Poisson().subproblem(data, [C, S], 1), S, 40)
    np.testing.assert_allclose((C @ S.T).sum(axis=0), COUNTS.sum(axis=0), rtol=1e-12)


def test_after_a_weighted_step_the_weighted_totals_agree():
    data, (C, S) = Weighted(Dense(COUNTS), WEIGHTS), START
    C = MultiplicativeUpdate().improve(Poisson().subproblem(data, [C, S], 0), C, 30)
    np.testing.assert_allclose(
        (WEIGHTS * (C @ S.T)).sum(axis=1), (WEIGHTS * COUNTS).sum(axis=1), rtol=1e-12
    )


@pytest.mark.parametrize("beta", (0, *BETAS))
def test_what_is_missing_does_not_count(beta):
    holes = RNG.random(POSITIVE.shape) < 0.3
    X, W = np.where(holes, np.nan, POSITIVE), np.where(holes, 0.0, 1.0)
    loss = BetaDivergence(beta)
    data = loss.prepare(Weighted(Dense(X), W))
    expected = divergence(POSITIVE, START[0] @ START[1].T, beta)[~holes].sum()
    assert loss.misfit(data, START) == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(gradient(loss, data, START, 0)).all()


@pytest.mark.parametrize("factor", SCALED_BY)
@pytest.mark.parametrize("beta", (0, *BETAS))
def test_scaling_the_data_scales_every_beta_divergence_by_its_power(beta, factor):
    loss = BetaDivergence(beta)
    scaled = loss.misfit(Dense(POSITIVE * factor), [START[0] * factor, START[1]])
    assert scaled == pytest.approx(loss.misfit(Dense(POSITIVE), START) * factor**beta, rel=1e-9)


@pytest.mark.parametrize("factor", SCALED_BY)
@pytest.mark.parametrize("beta", (0, *BETAS))
def test_optimality_has_no_scale(beta, factor):
    loss, (C, S) = BetaDivergence(beta), START
    plain = loss.subproblem(Dense(POSITIVE), [C, S], 0).optimality(C)
    scaled = loss.subproblem(Dense(POSITIVE * factor), [C * factor, S], 0).optimality(C * factor)
    assert scaled == pytest.approx(plain, rel=1e-9)


def test_keenan_and_kotulas_first_singular_value_is_one():
    data = PoissonScaled().prepare(Dense(COUNTS))
    scaled = data.scaled.rows(np.arange(40)) / np.sqrt(COUNTS.sum())
    U, values, V = np.linalg.svd(scaled, full_matrices=False)
    assert values[0] == pytest.approx(1.0, abs=1e-12)
    n = COUNTS.sum()
    np.testing.assert_allclose(np.abs(U[:, 0]), np.sqrt(COUNTS.sum(axis=1) / n), atol=1e-12)
    np.testing.assert_allclose(np.abs(V[0]), np.sqrt(COUNTS.sum(axis=0) / n), atol=1e-12)


def test_poisson_scaled_misfit_is_its_formula():
    model = START[0] @ START[1].T
    a, b = COUNTS.sum(axis=1, keepdims=True), COUNTS.sum(axis=0)
    expected = 0.5 * np.sum(COUNTS.sum() / (a * b) * (COUNTS - model) ** 2)
    for kind in (Dense(COUNTS), Sparse(sparse.csr_array(COUNTS))):
        data = PoissonScaled().prepare(kind)
        assert PoissonScaled().misfit(data, START) == pytest.approx(expected, rel=1e-12)
        for mode in (0, 1):
            sub = PoissonScaled().subproblem(data, START, mode)
            through = PoissonScaled().misfit(data, START, mode, sub)
            assert through == pytest.approx(expected, rel=1e-10)


def test_poisson_scaled_is_plain_nmf_of_the_scaled_data():
    a, b, n = COUNTS.sum(axis=1), COUNTS.sum(axis=0), COUNTS.sum()
    r, c = np.sqrt(n / a)[:, None], np.sqrt(1 / b)[:, None]
    settings = {"normalise": None, "tol": 1e-9, "compress": False}
    start = (START[0], START[1].T)
    ours = em.NMF(3, loss=em.PoissonScaled(), init=start, **settings).fit(COUNTS)
    scaled_start = (r * START[0], (c * START[1]).T)
    plain = em.NMF(3, init=scaled_start, **settings).fit(r * COUNTS * c.T)
    assert ours.objective_[-1] == pytest.approx(plain.objective_[-1], rel=1e-9)
    model = plain.maps_ @ plain.components_ / r / c.T
    np.testing.assert_allclose(
        ours.maps_ @ ours.components_, model, rtol=1e-6, atol=1e-8 * model.max()
    )
    back = plain.components_ / c.T
    np.testing.assert_allclose(em.spectral_angle(ours.components_, back), 0.0, atol=1e-5)


def test_weights_of_rows_only_matter_to_penalties():
    data = PoissonScaled().prepare(Dense(COUNTS))
    sub = PoissonScaled().subproblem(data, START, 0)
    unweighted = type(sub)(sub.G, sub.H)
    sub.lower = 0.0
    solve = em.ANLS().improve
    zero = np.zeros((40, 3))
    np.testing.assert_array_equal(solve(sub, zero, 30), solve(unweighted, zero, 30))
    r = sub.row_weights
    sub.add_quadratic(2.0)
    for i in (0, 7, 39):
        expected = np.linalg.solve(r[i] * unweighted.G + 2 * np.eye(3), r[i] * unweighted.H[i])
        free = type(sub)(sub.G, sub.H, -np.inf, np.inf, r)
        np.testing.assert_allclose(solve(free, zero, 30)[i], expected, rtol=1e-9, atol=1e-12)


def test_the_reference_is_positive_and_scales_with_the_data():
    for loss in (SquaredError(), Poisson(), BetaDivergence(0.5)):
        power = getattr(loss, "beta", 2)
        reference = loss.reference(Dense(COUNTS))
        assert reference > 0
        assert loss.reference(Dense(COUNTS * 8)) == pytest.approx(reference * 8**power, rel=1e-9)


@pytest.mark.parametrize("loss", [Poisson(), BetaDivergence(1.5), BetaDivergence(0)], ids=repr)
def test_negative_data_are_refused(loss):
    X = POSITIVE - 1.0
    with pytest.raises(ValueError, match=r"negative.*em\.SquaredError\(\)"):
        loss.prepare(Dense(X))
    with pytest.raises(ValueError, match="negative"):
        loss.prepare(Sparse(sparse.csr_array(X)))


def test_what_is_negative_but_missing_is_not_refused():
    X = POSITIVE.copy()
    X[3, 4] = -1.0
    W = np.ones(X.shape)
    W[3, 4] = 0.0
    data = Weighted(Dense(X), W)
    assert Poisson().prepare(data) is data


def test_zeros_are_refused_where_the_divergence_is_infinite():
    for beta in (0, -1):
        with pytest.raises(ValueError, match=r"some are zero.*em\.Poisson\(\)"):
            BetaDivergence(beta).prepare(Dense(COUNTS))
    assert (COUNTS == 0).any()


def test_compressed_data_are_refused_under_poisson():
    compressed = em.compress(COUNTS, 6)
    for loss in (em.Poisson(), em.BetaDivergence(1.5)):
        with pytest.raises(ValueError, match=r"compressed.*only products.*em\.Poisson\(\)"):
            em.NMF(2, loss=loss).fit(compressed)


def test_weights_of_entries_are_refused_under_poisson_scaled():
    with pytest.raises(
        ValueError, match=r"no weights of single.*em\.SquaredError\(\) or em\.Poisson"
    ):
        em.NMF(2, loss=em.PoissonScaled()).fit(COUNTS, weights=WEIGHTS)


def test_scaling_by_totals_is_refused_where_nothing_is_positive():
    with pytest.raises(ValueError, match=r"positive totals.*em\.SquaredError"):
        PoissonScaled().prepare(Dense(-COUNTS))


def test_a_loss_that_meets_a_wrong_solver_names_a_right_one():
    for loss in (em.Poisson(), em.BetaDivergence(0.5)):
        with pytest.raises(ValueError, match=r"ANLS\(\) cannot minimise .*MultiplicativeUpdate"):
            em.NMF(2, loss=loss, solver=em.ANLS()).fit(COUNTS)
    with pytest.raises(ValueError, match=r"Newton\(\) cannot minimise .*MultiplicativeUpdate"):
        em.NMF(2, loss=em.BetaDivergence(1.5), solver=em.Newton()).fit(COUNTS)
    with pytest.raises(ValueError, match=r"Newton\(\) cannot minimise SquaredError\(\).*ANLS"):
        em.NMF(2, solver=em.Newton()).fit(COUNTS)
    with pytest.raises(ValueError, match=r"cannot be em\.Free\(\)"):
        em.NMF(2, loss=em.Poisson(), maps=em.Free()).fit(COUNTS)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("beta", [0.5, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_single_channel_is_an_exact_fit_whatever_rounding_leaves(beta, seed):
    X = np.random.default_rng(seed).random((100, 1))
    loss = em.BetaDivergence(beta)
    fitted = em.NMF(1, loss=loss, n_starts=2, random_state=0).fit(X)
    np.testing.assert_allclose(fitted.inverse_transform(fitted.maps_), X, rtol=1e-6)


PUBLIC = [
    kind()
    for name in em.__all__
    if isinstance(kind := getattr(em, name), type) and issubclass(kind, Loss)
]
ALL = [
    *PUBLIC,
    *(BetaDivergence(beta) for beta in (0, 0.5, 1.5, 2, 3)),
    Huber(1.0),
    Quantile(1.0, 0.3),
]


def kinds_of(loss):
    """The same data in every layout, as the loss wants them."""
    X = POSITIVE if loss.takes == "positive" else COUNTS
    kinds = {"dense": Dense(X), "sparse": Sparse(sparse.csr_array(X))}
    kinds["lazy"] = observe(dask_array.from_array(X, chunks=(13, 30)), keep_empty=True).data
    if not (loss.needs == "products" and loss.counts):
        kinds["weights of one"] = Weighted(Dense(X), np.ones(X.shape))
    return {name: loss.prepare(data) for name, data in kinds.items()}


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_every_layout_of_the_data_has_the_same_misfit(loss):
    found = {name: loss.misfit(data, START) for name, data in kinds_of(loss).items()}
    assert list(found.values()) == pytest.approx([found["dense"]] * len(found), rel=1e-11)
    references = [loss.reference(data) for data in kinds_of(loss).values()]
    assert references == pytest.approx([references[0]] * len(references), rel=1e-11)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_the_subproblem_has_the_slope_of_the_misfit(loss, mode):
    X = (POSITIVE if loss.takes == "positive" else COUNTS + 0.1)[:9, :8]
    data, factors = loss.prepare(Dense(X)), [START[0][:9], START[1][:8]]
    numeric = finite_differences(loss, data, factors, mode)
    for square in (loss.subproblem(data, factors, mode), loss.touching(data, factors, mode)):
        ours = square.gradient(factors[mode])
        ours = ours if (r := getattr(square, "row_weights", None)) is None else r[:, None] * ours
        np.testing.assert_allclose(ours, numeric, rtol=1e-5, atol=1e-5 * np.abs(numeric).max())


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss.power is not None], ids=repr)
def test_noise_drawn_as_a_loss_states_scatters_as_it_states(loss):
    """Its gain comes back from the data where it is that of counts."""
    rng, gain = np.random.default_rng(0), 1.7
    mean = np.linspace(20, 60, 40) * np.ones((500, 1))
    noise = loss.noise(gain)
    drawn = {
        0.0: lambda: mean + rng.normal(0, np.sqrt(gain), mean.shape),
        1.0: lambda: gain * rng.poisson(mean / gain),
        2.0: lambda: rng.gamma(1 / gain, mean * gain),
    }.get(loss.power)
    if drawn is None:  # no noise of a name: normal with this variance
        deviation = np.sqrt(noise.variance(mean))
        X = mean + deviation * rng.standard_normal(mean.shape)
    else:
        X = drawn()
    scatter = np.mean((X - mean) ** 2 / noise.variance(mean))
    assert scatter == pytest.approx(1.0, abs=0.06)
    if loss.counts:
        assert loss.measured_noise(observe(X)).gain == pytest.approx(gain, rel=0.05)
        assert loss.measured_noise(observe(np.round(X / gain))).poisson


@pytest.mark.parametrize("loss", PUBLIC, ids=repr)
def test_other_data_are_met_with_the_weights_of_the_fit(loss):
    rng = np.random.default_rng(0)
    X = rng.poisson(20 * TRUE[0] @ TRUE[1].T).astype(float) + 1
    for model in (em.NMF(3, loss=loss, random_state=0), em.CP(3, loss=loss, random_state=0)):
        model.fit(X.reshape(8, 5, 30))
        whole = model.transform(X)
        np.testing.assert_allclose(model.transform(X[:11]), whole[:11], atol=1e-8 * whole.max())
