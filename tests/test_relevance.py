"""Relevance determination: the posterior it minimises, what noise allows, and how many components stay."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.io import loadmat

import endmember as em
from endmember.factor.data.axis import Grid
from endmember.factor.data.in_memory import Dense
from endmember.factor.loop import merging as moves
from endmember.factor.losses import Poisson, SquaredError
from endmember.factor.penalties import Relevance
from endmember.factor.subproblems import Noise, Quadratic, Setting

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
RNG = np.random.default_rng(0)
MAPS = RNG.random((30, 3))
SETTING = Setting(1.0, 1.0, Grid((30,)), Noise(0.02, 1.0, 2), typical=0.4)


def minus_log_prior(penalty, F, levels, b):
    """Return what the densities that the priors are named after say of a factor and its levels, in nats."""
    maps = {
        "exponential": stats.expon(scale=levels),
        "half-normal": stats.halfnorm(scale=np.sqrt(levels)),
    }[penalty.prior]
    levelled = stats.invgamma(penalty.shape, scale=b).logpdf(levels)
    return -maps.logpdf(F).sum() - levelled.sum()


@pytest.mark.parametrize("prior", ["exponential", "half-normal"])
def test_the_levels_are_the_most_probable_and_the_penalty_is_the_posterior_there(prior):
    penalty = Relevance(2.0, prior)
    b = penalty.scale(SETTING)
    best = penalty.levels(MAPS, b)
    at_best = minus_log_prior(penalty, MAPS, best, b)
    for factor in (0.99, 1.01):
        assert minus_log_prior(penalty, MAPS, factor * best, b) > at_best
    nothing = np.zeros_like(MAPS)
    gained = at_best - minus_log_prior(penalty, nothing, penalty.levels(nothing, b), b)
    np.testing.assert_allclose(penalty.value(MAPS, SETTING), 0.02 * gained, rtol=1e-10)


@pytest.mark.parametrize("prior", ["exponential", "half-normal"])
def test_what_is_added_touches_the_penalty_and_lies_above_it(prior):
    penalty = Relevance(2.0, prior)
    added = Quadratic(np.zeros((3, 3)), np.zeros((30, 3)), setting=SETTING)
    added.diagonal = lambda: np.ones(3)  # spectra of unit length
    penalty.add(added, MAPS)
    for other in (0.5 * MAPS, 2 * MAPS, MAPS[::-1] ** 2):
        rise = penalty.value(other, SETTING) - penalty.value(MAPS, SETTING)
        assert added.value(other) - added.value(MAPS) >= rise - 1e-12
    slope = (added.value(1.00001 * MAPS) - added.value(0.99999 * MAPS)) / 2e-5
    true = (penalty.value(1.00001 * MAPS, SETTING) - penalty.value(0.99999 * MAPS, SETTING)) / 2e-5
    np.testing.assert_allclose(slope, true, rtol=1e-6)


def test_the_prior_has_the_mean_of_the_data():
    a, typical = 4.0, 0.7
    setting = Setting(1.0, 1.0, Grid((1,)), typical=typical)
    rng = np.random.default_rng(0)
    levels = stats.invgamma(a, scale=Relevance(a).scale(setting)).rvs(400_000, random_state=rng)
    assert rng.exponential(levels).mean() == pytest.approx(typical, rel=0.01)
    b = Relevance(a, "half-normal").scale(setting)
    levels = stats.invgamma(a, scale=b).rvs(400_000, random_state=rng)
    assert np.abs(rng.normal(0, np.sqrt(levels))).mean() == pytest.approx(typical, rel=0.01)


def test_the_noise_is_measured_beside_signal():
    clean = RNG.random((400, 3)) @ RNG.random((3, 90))
    noise = moves.measure_noise(
        Dense(clean + 0.1 * RNG.standard_normal((400, 90))), SquaredError(), 8
    )
    assert noise.directions == 3
    assert noise.variance == pytest.approx(0.01, rel=0.02)
    assert noise.edge == pytest.approx(0.01 * (np.sqrt(400) + np.sqrt(90)) ** 2, rel=0.1)
    exact = moves.measure_noise(Dense(clean), SquaredError(), 8)
    assert exact.directions == 3 and exact.variance < 1e-12
    counts = moves.measure_noise(Dense(RNG.poisson(30 * clean).astype(float)), Poisson(), 8)
    assert counts.directions == 3 and counts.variance == pytest.approx(1.0, rel=0.03)


def test_noise_of_uneven_variance_does_not_pass_for_components():
    clean = RNG.random((400, 2)) @ RNG.random((2, 90)) + 0.2
    uneven = np.outer(np.linspace(0.02, 0.2, 400), np.linspace(0.2, 2, 90))
    data = Dense(clean + uneven * RNG.standard_normal((400, 90)))
    assert moves.measure_noise(data, SquaredError(), 8).directions == 2


def test_a_merger_is_the_best_rank_one_stand_in_and_costs_what_is_said():
    factors = [RNG.random((20, 3)), RNG.random((15, 3))]
    for i, j in ((0, 1), (2, 0)):
        pair = factors[0][:, [i, j]] @ factors[1][:, [i, j]].T
        C, S = moves.merged(factors, i, j)
        values = np.linalg.svd(pair, compute_uv=False)
        left = np.linalg.norm(pair - np.outer(C[:, -1], S[:, -1]))
        np.testing.assert_allclose(left, values[1], rtol=1e-9)
        assert (C >= 0).all() and (S >= 0).all()
    whole = factors[0] @ factors[1].T
    costs = []
    for cost, (C, S) in moves.proposals(factors):
        np.testing.assert_allclose(np.linalg.norm(whole - C @ S.T) ** 2, cost, rtol=1e-8)
        costs.append(cost)
    assert len(costs) == 6 and costs == sorted(costs)


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_ten_components_become_the_three_of_the_diode(noise):
    phantom = em.synthetic.diode(shape=(24, 24), channels=80, noise=noise, seed=1)
    penalties = [em.SoftOrthogonal(0.01), em.Relevance()]
    model = em.NMF(10, maps=penalties, n_starts=2, random_state=0).fit(phantom.data)
    assert model.n_components_ == 3 and model.maps_.shape == (24, 24, 3)
    order = em.match_components(model.components_, phantom.spectra)
    assert em.spectral_angle(model.components_[order], phantom.spectra).max() < 2
    kept, gone = model.relevance_[:3], model.relevance_[3:]
    assert len(gone) == 7 and np.ptp(gone) == 0 and kept.min() > 100 * gone[0]


def test_the_scale_of_the_data_plays_no_part():
    X = em.synthetic.diode(shape=(12, 12), channels=40, noise=0.03, seed=2).data
    penalties = [em.SoftOrthogonal(0.05), em.Relevance()]
    levels = []
    for scale in (1.0, 1e-9, 1e7):
        model = em.NMF(5, maps=penalties, n_starts=1, random_state=0).fit(X * scale)
        assert model.n_components_ == 3
        levels.append(model.relevance_ / scale)
    np.testing.assert_allclose(levels[1:], [levels[0]] * 2, rtol=1e-3)


@pytest.mark.parametrize("prior", ["exponential", "half-normal"])
def test_alone_the_objective_never_rises(prior):
    X = em.synthetic.diode(shape=(16, 16), channels=60, noise=0.03, seed=1).data
    model = em.NMF(6, maps=em.Relevance(prior=prior), n_starts=2, random_state=0).fit(X)
    assert model.n_components_ == 3
    assert (np.diff(model.objective_) <= 1e-12 * model.objective_[0]).all()


@pytest.mark.parametrize("loss", [em.PoissonScaled(), em.Poisson()], ids=["scaled", "poisson"])
def test_counts_keep_what_is_there(loss):
    rng = np.random.default_rng(0)
    mean = rng.dirichlet([0.5] * 3, 400) @ rng.random((3, 40)) ** 3 * 30
    model = em.NMF(5, loss=loss, maps=em.Relevance(), n_starts=2, random_state=0)
    assert model.fit(rng.poisson(mean)).n_components_ == 3


def test_maps_of_new_data_are_those_of_the_kept_spectra():
    X = em.synthetic.diode(shape=(12, 12), channels=40, noise=0.03, seed=1).data
    model = em.NMF(6, maps=em.Relevance(), n_starts=2, random_state=0).fit(X)
    again = model.transform(X[:2])
    assert again.shape == (2, 12, model.n_components_) and model.n_components_ < 6
    expected = np.array([optimize.nnls(model.components_.T, x)[0] for x in X[:2].reshape(-1, 40)])
    np.testing.assert_allclose(again.reshape(-1, model.n_components_), expected, atol=1e-6)


def test_counts_and_soft_orthogonality_go_together():
    phantom = em.synthetic.diode(shape=(16, 16), channels=60, noise=0.0)
    mean = np.maximum(phantom.data, 0) * 100 / phantom.data.mean()
    X = np.random.default_rng(0).poisson(mean)
    penalties = [em.SoftOrthogonal(0.1), em.Relevance()]
    model = em.NMF(6, loss=em.Poisson(), maps=penalties, n_starts=2, random_state=0).fit(X)
    assert model.n_components_ == 3
    order = em.match_components(model.components_, phantom.spectra)
    assert em.spectral_angle(model.components_[order], phantom.spectra).max() < 2
    # The level of a map is its mean, where spectra have unit length.
    means = (model.maps_ * np.linalg.norm(model.components_, axis=1)).mean(axis=(0, 1))
    np.testing.assert_allclose(model.relevance_[:3], means, rtol=0.05)


def test_the_published_rule_merges_look_alikes():
    X = em.synthetic.diode(shape=(16, 16), channels=60, noise=0.03, seed=1).data
    penalties = [em.SoftOrthogonal(0.01), em.Relevance(mode="published")]
    model = em.NMF(6, maps=penalties, n_starts=2, random_state=0).fit(X)
    unit = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
    assert model.n_components_ == 3 and np.tril(unit @ unit.T, -1).max() < 0.99


def test_a_faint_second_phase_of_the_authors_own_phantom_is_kept():
    path = DATA / "phantoms" / "Mn3O4_theory.mat"
    if not path.exists():
        pytest.skip(f"needs the phantom {path}")
    clean = loadmat(path)["datar"][..., 36:116]
    X = clean / clean.max() + 0.1 * np.random.default_rng(0).standard_normal(clean.shape)
    penalties = [em.SoftOrthogonal(0.05), em.Relevance()]
    assert em.NMF(10, maps=penalties, n_starts=2, random_state=0).fit(X).n_components_ == 2


def test_a_given_start_is_reduced_as_it_stands():
    X = em.synthetic.diode(shape=(12, 12), channels=40, noise=0.02).data
    given = RNG.random((12, 12, 5)), RNG.random((5, 40))
    model = em.NMF(5, maps=[em.SoftOrthogonal(0.05), em.Relevance()], init=given, tol=1e-5).fit(X)
    assert model.n_components_ == 3 and model.starts_ == []


def test_what_cannot_be_is_refused():
    X = em.synthetic.diode(shape=(8, 8), channels=30).data
    with pytest.raises(ValueError, match='allowed: "exponential", "half-normal"'):
        em.NMF(3, maps=em.Relevance(prior="flat")).fit(X)
    with pytest.raises(ValueError, match='allowed: "guarded", "published"'):
        em.NMF(3, maps=em.Relevance(mode="free")).fit(X)
    with pytest.raises(ValueError, match="above 1"):
        em.NMF(3, maps=em.Relevance(shape=1.0)).fit(X)
    with pytest.raises(ValueError, match="cannot be merged"):
        em.NMF(3, maps=em.Relevance(), spectra=em.Known({0: X[0, 0]})).fit(X)
    with pytest.raises(ValueError, match="what noise does"):
        em.NMF(3, loss=em.BetaDivergence(0.5), maps=em.Relevance()).fit(np.abs(X))
