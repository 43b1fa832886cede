"""ALS and MALS against least squares, their fixed points, and what their limits must be."""

import numpy as np
import pytest

import endmember as em
from endmember.factor.data.in_memory import Dense
from endmember.factor.losses import SquaredError
from endmember.factor.solvers import ALS, MALS
from endmember.factor.solvers.least_squares import LARGEST, SMALLEST, START, put_right, solve_rows
from endmember.factor.subproblems import Quadratic

RNG = np.random.default_rng(0)
C_TRUE = RNG.random((80, 3)) + 0.05
S_TRUE = RNG.random((50, 3)) + 0.05
EXACT = C_TRUE @ S_TRUE.T
NOISY = EXACT + RNG.normal(0, 0.1, EXACT.shape)


def of(X, Z, **bounds):
    return Quadratic(Z.T @ Z, X @ Z, **bounds)


def weighted(omega):
    """Return the memory with which MALS takes these weights."""
    return {"mode": 1, "omega": np.asarray(omega, dtype=float)}


def mals_sweeps(X, C, S, omega, form="proximal", sweeps=400):
    """Alternate MALS steps with weights that are held."""
    for _ in range(sweeps):
        S = MALS(form).improve(of(X.T, C), S, 80, memory={**weighted(omega), "mode": 1})
        C = MALS(form).improve(of(X, S), C, 50, memory={**weighted(omega), "mode": 0})
    return C, S


@pytest.mark.parametrize("solver", [ALS(), MALS(), MALS("as_printed")], ids=repr)
def test_the_truth_is_a_fixed_point(solver):
    """The weights as printed pull towards zero: only once they are gone is the truth at rest."""
    omega = 0.0 if solver.get_params().get("form") == "as_printed" else 1.0
    C, S = C_TRUE, S_TRUE
    for _ in range(5):
        S = solver.improve(of(EXACT.T, C), S, 80, memory=weighted([omega] * 3))
        C = solver.improve(of(EXACT, S), C, 50, memory={**weighted([omega] * 3), "mode": 0})
    np.testing.assert_allclose(C, C_TRUE, atol=1e-12)
    np.testing.assert_allclose(S, S_TRUE, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_before_clipping_als_is_least_squares(k):
    Z = RNG.random((50, k))
    F = ALS().improve(of(NOISY, Z, lower=-np.inf), np.zeros((80, k)), 50)
    np.testing.assert_allclose(F, np.linalg.lstsq(Z, NOISY.T, rcond=None)[0].T, atol=1e-11)


def test_als_clips_least_squares():
    rough = RNG.normal(size=(80, 50))
    free = np.linalg.lstsq(S_TRUE, rough.T, rcond=None)[0].T
    assert (free < 0).any()
    F = ALS().improve(of(rough, S_TRUE), np.zeros((80, 3)), 50)
    np.testing.assert_allclose(F, np.maximum(free, 0), atol=1e-11)
    upper = ALS().improve(of(rough, S_TRUE, upper=0.02), np.zeros((80, 3)), 50)
    np.testing.assert_allclose(upper, np.clip(free, 0, 0.02), atol=1e-11)


def test_als_with_a_gram_a_row_is_weighted_least_squares():
    W = RNG.random(NOISY.shape) * (RNG.random(NOISY.shape) > 0.2)
    G = np.einsum("ij,jk,jl->ikl", W, S_TRUE, S_TRUE)
    F = ALS().improve(Quadratic(G, (W * NOISY) @ S_TRUE, -np.inf), np.zeros((80, 3)), 50)
    for i in (0, 33, 79):
        root = np.sqrt(W[i])
        expected = np.linalg.lstsq(root[:, None] * S_TRUE, root * NOISY[i], rcond=None)[0]
        np.testing.assert_allclose(F[i], expected, atol=1e-10)


def test_one_component_goes_to_the_first_singular_pair():
    X, (C, S) = np.abs(NOISY), (RNG.random((80, 1)), RNG.random((50, 1)))
    for _ in range(60):
        S = ALS().improve(of(X.T, C), S, 80)
        C = ALS().improve(of(X, S), C, 50)
    U, values, V = np.linalg.svd(X)
    np.testing.assert_allclose(C @ S.T, values[0] * np.outer(U[:, 0], V[0]), atol=1e-10)


def test_rows_of_a_singular_system_get_the_shortest_solution():
    Z = np.column_stack([S_TRUE, S_TRUE[:, 0], np.zeros(50)])
    G, H = Z.T @ Z, NOISY @ Z
    expected = np.linalg.lstsq(Z, NOISY.T, rcond=None)[0].T
    np.testing.assert_allclose(solve_rows(G, H), expected, atol=1e-9)
    each = np.broadcast_to(G, (80, 5, 5)).copy()
    np.testing.assert_allclose(solve_rows(each, H), expected, atol=1e-9)


def test_nothing_known_of_a_row_gives_zero():
    G, H = np.broadcast_to(np.eye(2), (3, 2, 2)).copy(), np.ones((3, 2))
    G[1], H[1] = 0.0, 0.0
    np.testing.assert_allclose(solve_rows(G, H), [[1, 1], [0, 0], [1, 1]])


@pytest.mark.parametrize("form", ["proximal", "as_printed"])
def test_mals_without_weights_is_als_bit_for_bit(form):
    F = RNG.random((80, 3))
    for X in (NOISY, EXACT, RNG.normal(size=NOISY.shape)):
        for mode in (0, 1):
            memory = {**weighted(np.zeros(3)), "mode": mode}
            ours = MALS(form).improve(of(X, S_TRUE), F, 50, memory=memory)
            np.testing.assert_array_equal(ours, ALS().improve(of(X, S_TRUE), F, 50))


def test_endless_weights_hold_the_factor_or_empty_it():
    F, huge = RNG.random((80, 3)), np.full(3, 1e14)
    for mode in (0, 1):
        kept = MALS().improve(of(NOISY, S_TRUE), F, 50, memory={**weighted(huge), "mode": mode})
        np.testing.assert_allclose(kept, F, atol=1e-12)
    printed = MALS("as_printed")
    empty = printed.improve(of(NOISY, S_TRUE), F, 50, memory={**weighted(huge), "mode": 0})
    assert np.abs(empty).max() < 1e-12
    kept = printed.improve(of(NOISY, S_TRUE), F, 50, memory={**weighted(huge), "mode": 1})
    np.testing.assert_allclose(kept, F, atol=1e-12)


def test_the_step_of_equation_seven():
    omega, F = np.array([0.5, 2.0, 0.0]), RNG.random((80, 3))
    G, H = S_TRUE.T @ S_TRUE, EXACT @ S_TRUE
    W = np.diag(omega) * np.trace(G) / 3
    expected = np.maximum((H + F @ W) @ np.linalg.inv(G + W), 0)
    ours = MALS().improve(Quadratic(G, H), F, 50, memory=weighted(omega))
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("omega", [0.1, 1.0, 5.0])
def test_an_unclipped_fixed_point_of_the_proximal_form_solves_the_normal_equations(omega):
    X = EXACT + RNG.normal(0, 1e-3, EXACT.shape)
    C, S = mals_sweeps(X, C_TRUE, S_TRUE, [omega] * 3, sweeps=1500)
    assert C.min() > 0 and S.min() > 0
    scale = np.linalg.norm(X)
    assert np.linalg.norm(C @ (S.T @ S) - X @ S) < 1e-9 * scale * np.linalg.norm(S)
    assert np.linalg.norm(S @ (C.T @ C) - X.T @ C) < 1e-9 * scale * np.linalg.norm(C)


def test_a_component_given_twice_is_shared_alike():
    Z = np.column_stack([S_TRUE[:, :2], S_TRUE[:, 1]])
    F = np.column_stack([C_TRUE[:, :2], C_TRUE[:, 1]])
    for memory in (weighted([1.0] * 3), weighted([1e-6] * 3)):
        ours = MALS().improve(of(NOISY, Z), F, 50, memory=memory)
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours[:, 1], ours[:, 2], atol=1e-8)
    als = ALS().improve(of(NOISY, Z), F, 50)
    np.testing.assert_allclose(als[:, 1], als[:, 2], atol=1e-8)


def test_weights_fade_where_nothing_is_negative_and_grow_where_it_gets_worse():
    memory = {}
    MALS().improve(of(EXACT, S_TRUE), C_TRUE, 50, memory=memory)
    assert (memory["omega"] == 0).all()
    negative = -EXACT
    memory = {"mode": 1, "negativity": np.zeros(3)}
    for _ in range(20):
        MALS().improve(of(negative, S_TRUE), np.zeros((80, 3)), 50, memory=memory)
        memory["negativity"] = np.zeros(3)
    np.testing.assert_array_equal(memory["omega"], LARGEST)
    memory = {"mode": 1}
    seen = []
    for _ in range(40):
        MALS().improve(of(negative, S_TRUE), np.zeros((80, 3)), 50, memory=memory)
        seen.append(memory["omega"][0])
        memory["negativity"] = np.ones(3)
    assert seen[:3] == [START / 2, START / 4, START / 8] and seen[-1] == 0
    assert min(value for value in seen if value) >= SMALLEST


@pytest.mark.parametrize("scale", [1e-9, 1e7])
def test_the_floor_is_relative(scale):
    rough = RNG.normal(size=NOISY.shape)
    plain = ALS(floor=1e-2).improve(of(rough, S_TRUE), np.zeros((80, 3)), 50)
    scaled = ALS(floor=1e-2).improve(of(rough * scale, S_TRUE), np.zeros((80, 3)), 50)
    np.testing.assert_allclose(scaled, plain * scale, rtol=1e-9)
    free = solve_rows(S_TRUE.T @ S_TRUE, rough @ S_TRUE)
    assert plain.min() == pytest.approx(1e-2 * np.abs(free).max(), rel=1e-12)


def test_the_floor_leaves_alone_what_may_be_negative_and_what_must_be_zero():
    rough = RNG.normal(size=NOISY.shape)
    free = ALS().improve(of(rough, S_TRUE, lower=-np.inf), np.zeros((80, 3)), 50)
    floored = ALS(floor=1e-2).improve(of(rough, S_TRUE, lower=-np.inf), np.zeros((80, 3)), 50)
    np.testing.assert_array_equal(floored, free)
    upper = np.full((80, 3), np.inf)
    upper[:10, 1] = 0.0
    held = ALS(floor=1e-2).improve(of(rough, S_TRUE, upper=upper), np.zeros((80, 3)), 50)
    assert (held[:10, 1] == 0).all() and (held[10:] > 0).all()


class Halved:
    """A rule for a column, and a projection, that leave a trace."""

    def column(self, h, d, F, j, setting):
        return h / d / 2


class Capped:
    def prox(self, F, step, setting):
        return np.minimum(F, 0.1)


def test_constraints_are_applied_after_the_half_step():
    sub = of(EXACT, S_TRUE)
    np.testing.assert_allclose(put_right(C_TRUE, sub, [Halved()], 0.0), C_TRUE / 2, rtol=1e-12)
    both = ALS().improve(sub, C_TRUE, 50, penalties=[Halved(), Capped()])
    np.testing.assert_allclose(both, np.minimum(C_TRUE / 2, 0.1), atol=1e-12)


@pytest.mark.parametrize("solver", [ALS(), MALS(), MALS("as_printed")], ids=repr)
def test_solvers_leave_their_input_alone(solver):
    F = RNG.random((80, 3))
    sub = of(NOISY, S_TRUE)
    copies = F.copy(), sub.G.copy(), sub.H.copy()
    solver.improve(sub, F, 50, penalties=[Halved()], memory={"mode": 0})
    for after, before in zip((F, sub.G, sub.H), copies, strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.filterwarnings(
    "ignore:the sweeps stand still:sklearn.exceptions.ConvergenceWarning"
)  # as printed
@pytest.mark.parametrize("solver", [em.ALS(), em.MALS(), em.MALS("as_printed")], ids=repr)
def test_every_form_reaches_the_misfit_of_exact_least_squares(solver):
    best = em.NMF(3, random_state=0, tol=1e-8).fit(np.abs(NOISY)).objective_[-1]
    model = em.NMF(3, solver=solver, random_state=0, tol=1e-8).fit(np.abs(NOISY))
    assert model.objective_[-1] == pytest.approx(best, rel=2e-3)
    assert (np.diff(model.objective_) <= 1e-12 * model.objective_[0]).all()
    final = 0.5 * np.sum((np.abs(NOISY) - model.inverse_transform(model.maps_)) ** 2)
    assert final == pytest.approx(model.objective_[-1], rel=1e-9)


@pytest.mark.parametrize("solver", [em.ALS(), em.MALS()], ids=repr)
def test_missing_entries_are_filled_in(solver):
    holes = RNG.random(EXACT.shape) < 0.2
    X = np.where(holes, np.nan, EXACT)
    init = (C_TRUE * (1 + 0.1 * RNG.random(C_TRUE.shape)), S_TRUE.T)
    model = em.NMF(3, solver=solver, init=init, tol=1e-12).fit(X, weights=np.ones(X.shape))
    np.testing.assert_allclose(model.maps_ @ model.components_, EXACT, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:not converged")
def test_scaling_by_a_power_of_two_changes_no_sweep():
    fits = [
        em.NMF(3, solver=em.MALS(), init="nndsvd", max_iter=60, compress=False).fit(X)
        for X in (np.abs(NOISY), np.abs(NOISY) * 2.0**27)
    ]
    assert fits[0].n_iter_ == fits[1].n_iter_
    np.testing.assert_allclose(fits[0].components_, fits[1].components_, atol=1e-12)


def test_the_misfit_of_the_subproblem_is_that_of_the_data():
    data, factors = Dense(NOISY), [C_TRUE, S_TRUE]
    for mode in (0, 1):
        sub = SquaredError().subproblem(data, factors, mode)
        assert SquaredError().misfit(data, factors, mode, sub) == pytest.approx(
            0.5 * np.sum((NOISY - EXACT) ** 2), rel=1e-9
        )


def test_als_keeps_the_truths_of_pymcr():
    """Known maps give exact data in one sweep, and spectra that are given stay as they are (its tests of McrAR)."""
    rise = np.tile(np.linspace(0, 1, 21), (21, 1))
    maps, boxes = np.stack([rise, 1 - rise], axis=-1), np.zeros((2, 101))
    boxes[0, 40:60], boxes[1, 60:80] = 1, 2
    model = em.NMF(
        2, solver=em.ALS(), init=(maps, np.full_like(boxes, 0.1)), normalise=("spectra", "max")
    )
    found = model.fit(maps @ boxes)
    assert len(found.objective_) <= 2
    np.testing.assert_allclose(found.components_ * [[1], [2]], boxes, atol=1e-12)
    np.testing.assert_allclose(found.maps_ / [1, 2], maps, atol=1e-12)
    spectra = np.vstack([boxes, RNG.random((1, 101))]) + 1
    maps = np.stack([rise, rise.T, 0.5 + rise * rise.T], axis=-1)
    guess = np.vstack([spectra[:2], RNG.random((1, 101))])
    known = em.Known({0: spectra[0], 1: spectra[1]})
    model = em.NMF(3, solver=em.ALS(), init=(np.ones_like(maps), guess), spectra=known, tol=1e-9)
    found = model.fit(maps @ spectra)
    np.testing.assert_array_equal(found.components_[:2], spectra[:2])
    np.testing.assert_allclose(
        found.inverse_transform(found.maps_), maps @ spectra, atol=1e-2 * spectra.max()
    )
