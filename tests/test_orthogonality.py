"""Soft orthogonality: the multiplier's identity, what each mode promises, and the diode of the article."""

import numpy as np
import pytest

import endmember as em
from endmember.factor.data.in_memory import Dense
from endmember.factor.penalties import SoftOrthogonal

RNG = np.random.default_rng(0)
F = RNG.random((40, 3))
H, D = RNG.normal(0.5, 1.0, 40), RNG.uniform(0.5, 2.0, 40)
UNIT = F / np.linalg.norm(F, axis=0)
OTHERS = UNIT[:, 0] + UNIT[:, 2]


@pytest.mark.parametrize("d", [1.0, 2.5, D], ids=["one", "constant", "by row"])
def test_the_multiplier_takes_the_overlap_away_before_clipping(d):
    h = np.abs(H) + 3 * OTHERS  # nothing is clipped
    for w in (0.0, 0.3):
        column = SoftOrthogonal(w).column(h, d, F, 1, None)
        assert (column > 0).all()
        np.testing.assert_allclose(OTHERS @ column, (1 - w) * (OTHERS @ (h / d)), rtol=1e-12)


@pytest.mark.parametrize("d", [1.0, D], ids=["one", "by row"])
@pytest.mark.parametrize("w", [0.0, 0.01, 0.5, 0.9, 1.0])
def test_exact_keeps_its_share_of_the_overlap_after_clipping(w, d):
    column = SoftOrthogonal(w, "exact").column(H, d, F, 1, None)
    free = np.maximum(H / d, 0.0)
    np.testing.assert_allclose(
        OTHERS @ np.maximum(column, 0), (1 - w) * (OTHERS @ free), atol=1e-12
    )


def test_no_weight_is_hals_to_the_last_bit():
    X = em.synthetic.diode(shape=(12, 12), channels=40).data
    settings = {"solver": em.HALS(), "n_starts": 2, "random_state": 0}
    plain = em.NMF(3, **settings).fit(X)
    for mode in ("shiga", "exact", "penalty"):
        model = em.NMF(3, maps=SoftOrthogonal(0.0, mode), **settings).fit(X)
        np.testing.assert_array_equal(model.components_, plain.components_)


def test_full_weight_gives_disjoint_maps_to_the_last_bit():
    X = em.synthetic.diode(shape=(16, 16), channels=60, noise=0.02).data
    maps = em.NMF(3, maps=SoftOrthogonal(1.0, "exact"), random_state=0).fit(X).maps_
    assert (np.count_nonzero(maps, axis=-1) <= 1).all() and (maps.max(axis=(0, 1)) > 0).all()


LOSSES = [em.Poisson(), em.BetaDivergence(0.5), em.BetaDivergence(1.5)]


def counted(dose, size=16):
    """Counts of the diode: the clean data, with a mean of `dose`."""
    phantom = em.synthetic.diode(shape=(size, size), channels=60, noise=0.0)
    clean = np.maximum(phantom.data, 0.0)
    return phantom, np.random.default_rng(0).poisson(clean * dose / clean.mean()) + 0.0


def weighted_squares(X, C, S, beta):
    """Return h and d of the last column of C by their definition."""
    P = (C @ S.T) ** (beta - 2.0)
    remainder = X - C[:, :-1] @ S[:, :-1].T
    return (P * remainder) @ S[:, -1], P @ S[:, -1] ** 2


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("mode", ["shiga", "exact"])
def test_the_multiplier_is_weighted_as_the_divergence_is(loss, mode):
    C, S = RNG.random((40, 2)) + 0.5, RNG.random((30, 2)) + 0.1
    X = RNG.poisson(200 * C @ S.T) / 200 + 0.01
    subproblem = loss.subproblem(Dense(X), [C, S], 0)
    after = em.HALS().improve(subproblem, C, 30, penalties=[SoftOrthogonal(0.2, mode)])
    others = after[:, 0]
    assert (after > 0).all()  # nothing is clipped, where the published rule keeps its promise
    h, d = weighted_squares(X, np.column_stack([others, C[:, 1]]), S, loss.beta)
    np.testing.assert_allclose(others @ after[:, 1], 0.8 * others @ (h / d), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_no_weight_is_the_plain_solver_under_divergences_too(loss):
    X = counted(30)[1] + 0.1
    settings = {"loss": loss, "solver": em.HALS(), "n_starts": 1, "max_iter": 40, "random_state": 0}
    plain = em.NMF(3, **settings).fit(X)
    for mode in ("shiga", "exact", "penalty"):
        model = em.NMF(3, maps=SoftOrthogonal(0.0, mode), **settings).fit(X)
        np.testing.assert_array_equal(model.maps_, plain.maps_)
        np.testing.assert_array_equal(model.components_, plain.components_)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_full_weight_is_disjoint_and_right_under_divergences_too(loss):
    phantom, X = counted(100)
    X = X + 0.1 if loss.beta < 1 else X
    penalty = SoftOrthogonal(1.0, "exact")
    model = em.NMF(3, loss=loss, maps=penalty, n_starts=3, random_state=0).fit(X)
    assert (np.count_nonzero(model.maps_, axis=-1) <= 1).all()
    order = em.match_components(model.components_, phantom.spectra)
    assert em.spectral_angle(model.components_[order], phantom.spectra).max() < 2


def test_counts_of_the_diode_are_resolved_where_plain_factorisation_is_not():
    phantom, X = counted(30)
    worst = {}
    for penalty in (None, SoftOrthogonal(0.1), SoftOrthogonal(0.1, "exact")):
        model = em.NMF(3, loss=em.Poisson(), maps=penalty, n_starts=3, random_state=0).fit(X)
        order = em.match_components(model.components_, phantom.spectra)
        worst[repr(penalty)] = em.spectral_angle(model.components_[order], phantom.spectra).max()
    plain = worst.pop("None")
    assert plain > 5 and max(worst.values()) < 2.5


def test_as_a_penalty_the_objective_of_counts_never_rises():
    X = counted(30)[1]
    penalty = SoftOrthogonal(0.1, "penalty")
    model = em.NMF(3, loss=em.Poisson(), maps=penalty, n_starts=2, random_state=0).fit(X)
    assert (np.diff(model.objective_) <= 1e-12 * model.objective_[0]).all()


def test_as_a_penalty_the_objective_never_rises():
    X = em.synthetic.diode(shape=(16, 16), channels=60, noise=0.02).data
    model = em.NMF(3, maps=SoftOrthogonal(0.2, "penalty"), random_state=0, tol=1e-9).fit(X)
    assert (np.diff(model.objective_) <= 1e-12 * model.objective_[0]).all()
    assert model.optimality_ < 1e-4


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_the_diode_is_resolved_where_plain_factorisation_is_not(noise):
    phantom = em.synthetic.diode(noise=noise, seed=4)
    model = em.NMF(3, maps=SoftOrthogonal(0.01), random_state=0).fit(phantom.data)
    order = em.match_components(model.components_, phantom.spectra)
    assert model.converged_
    assert em.spectral_angle(model.components_[order], phantom.spectra).max() < 2
    maps = model.maps_.reshape(-1, 3) / np.linalg.norm(model.maps_.reshape(-1, 3), axis=0)
    assert (maps.T @ maps)[np.triu_indices(3, 1)].mean() < 0.05


def test_scale_of_the_data_plays_no_part():
    X = em.synthetic.diode(shape=(16, 16), channels=60, noise=0.02).data
    plain, *others = (
        em.NMF(3, maps=SoftOrthogonal(0.05), n_starts=2, random_state=0).fit(X * scale)
        for scale in (1.0, 1e-9, 1e7)
    )
    for scaled in others:
        np.testing.assert_allclose(scaled.components_, plain.components_, atol=1e-4)


def test_one_component_and_wrong_values():
    X = em.synthetic.diode(shape=(8, 8), channels=30).data
    alone = em.NMF(1, maps=SoftOrthogonal(0.5), random_state=0).fit(X)
    plain = em.NMF(1, solver=em.HALS(), random_state=0).fit(X)
    assert em.spectral_angle(alone.components_[0], plain.components_[0]) < 1e-3
    with pytest.raises(ValueError, match="between 0 and 1"):
        em.NMF(2, maps=SoftOrthogonal(2.0)).fit(X)
    with pytest.raises(ValueError, match='allowed: "shiga", "exact", "penalty"'):
        em.NMF(2, maps=SoftOrthogonal(0.1, "hard")).fit(X)
    with pytest.raises(ValueError, match="HALS"):
        em.NMF(2, maps=SoftOrthogonal(0.1), solver=em.ANLS()).fit(X)
