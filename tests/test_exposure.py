"""Counts of pixels that were exposed unequally: the counts stay counts, and maps are for one unit of exposure."""

import dask.array as da
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

import endmember as em

SHAPE = (16, 20)
PHANTOM = em.synthetic.mixed_phases(SHAPE, channels=60, k=3, dose=400, seed=1)
EXPOSURE = np.ones(SHAPE)
EXPOSURE[:, 10:] = 8.0
EXPOSURE *= 0.25
COUNTS = np.random.default_rng(0).poisson(PHANTOM.clean * EXPOSURE[..., None])
QUICK = {"n_starts": 2, "random_state": 0}
MODELS = {
    "squares": em.NMF(3, **QUICK),
    "whole": em.NMF(3, compress=False, **QUICK),
    "scaled": em.NMF(3, loss=em.PoissonScaled(), **QUICK),
    "poisson": em.NMF(3, loss=em.Poisson(), **QUICK),
    "beta": em.NMF(3, loss=em.BetaDivergence(1.5), solver=em.HALS(), **QUICK),
    "smooth": em.NMF(3, maps=em.Smooth(1e-3), **QUICK),
    "zeros": em.NMF(3, loss=em.PoissonScaled(), maps=em.Absent("auto"), **QUICK),
    "VCA": em.VCA(3, random_state=0),
    "PCA": em.PCA(3),
    "MLLS": em.MLLS(PHANTOM.spectra),
    "likelihood": em.MLLS(PHANTOM.spectra, loss=em.Poisson()),
}


def fitted(name, X=COUNTS, **options):
    return clone(MODELS[name]).fit(X, **{"exposure": EXPOSURE, **options})


def whole(fit):
    """What a fit says of the data for one unit of exposure, whatever the order of its components."""
    return fit.inverse_transform(fit.maps_)


@pytest.mark.parametrize("name", MODELS)
def test_halves_of_unequal_exposure_give_the_spectra_and_maps_of_equal_ones(name):
    even = clone(MODELS[name]).fit(PHANTOM.clean)
    found = clone(MODELS[name]).fit(PHANTOM.clean * EXPOSURE[..., None], exposure=EXPOSURE)
    size = PHANTOM.clean.max()
    if name not in ("smooth", "zeros"):
        np.testing.assert_allclose(whole(found), PHANTOM.clean, atol=2e-2 * size)
    np.testing.assert_allclose(whole(found), whole(even), atol=3e-2 * size)


@pytest.mark.parametrize("name", MODELS)
def test_one_everywhere_changes_no_bit_and_other_data_are_met_with_theirs(name):
    plain, ones = clone(MODELS[name]).fit(COUNTS), fitted(name, exposure=np.ones(SHAPE))
    np.testing.assert_array_equal(plain.maps_, ones.maps_)
    fit = fitted(name)
    again = fit.transform(COUNTS, exposure=EXPOSURE)
    if name not in ("smooth", "zeros"):
        np.testing.assert_allclose(again, fit.maps_, rtol=1e-2, atol=2e-2 * fit.maps_.max())
    np.testing.assert_allclose(
        fit.transform(4 * COUNTS, exposure=4 * EXPOSURE), again, rtol=1e-5, atol=1e-5 * again.max()
    )


@pytest.mark.parametrize("name", ["squares", "scaled", "poisson", "MLLS"])
def test_counts_may_be_sparse_or_lazy_or_weighted(name):
    expected = whole(fitted(name))
    listed = sparse.csr_array(COUNTS.reshape(-1, 60))
    for X, options in (
        (listed, {"domain": SHAPE}),
        (da.from_array(COUNTS, chunks=(5, 20, 60)), {}),
        (COUNTS, {} if name == "scaled" else {"weights": np.ones(COUNTS.shape)}),
    ):
        apart = whole(fitted(name, X, **options)) - expected
        assert np.linalg.norm(apart) < 1e-2 * np.linalg.norm(expected)


def test_the_likelihood_is_that_of_the_counts():
    rng, e = np.random.default_rng(2), np.array([[0.5], [2.0], [4.0], [1.0]])
    maps, spectra = rng.uniform(1, 2, (4, 2)), rng.uniform(1, 2, (9, 2))
    V = maps @ spectra.T
    X = rng.poisson(e * V)
    x = np.where(X > 0, X, 1)
    expected = np.sum(X * np.log(x / (e * V)) - X + e * V)
    for data in (X, sparse.csr_array(X)):
        read = em.NMF(2, loss=em.Poisson()).observed(data, exposure=e[:, 0])
        assert em.Poisson().misfit(read.data, [maps, spectra]) == pytest.approx(expected, rel=1e-12)


def test_pixels_of_no_exposure_are_not_measured():
    e = EXPOSURE.copy()
    e[0, 0], e[0, 1] = 0, np.nan
    maps = fitted("squares", exposure=e).maps_
    assert np.isnan(maps[0, :2]).all() and np.isfinite(maps[1:]).all()


@pytest.mark.parametrize(
    ("exposure", "words"),
    [
        (-EXPOSURE, "not negative"),
        (EXPOSURE.T, "shape"),
        (0 * EXPOSURE, "positive somewhere"),
        (EXPOSURE * np.inf, "finite"),
        ("live_time.npy", "read the file first"),
    ],
)
def test_what_is_no_exposure_is_refused(exposure, words):
    with pytest.raises(em.EndmemberError, match=words):
        fitted("squares", exposure=exposure)


def test_an_answer_keeps_its_exposure(tmp_path):
    signal = PHANTOM.signal.deepcopy()
    signal.data = COUNTS.copy()
    signal.save(tmp_path / "counts.hspy")
    result = em.unmix(em.load(tmp_path / "counts.hspy"), n_components=3, exposure=EXPOSURE)
    found = np.moveaxis(result.maps.data, 0, -1)
    jump = found[:, 10:].mean(axis=(0, 1)) / found[:, :10].mean(axis=(0, 1))
    order = em.match_components(result.model.components_, PHANTOM.spectra)
    truth = PHANTOM.maps[:, 10:].mean(axis=(0, 1)) / PHANTOM.maps[:, :10].mean(axis=(0, 1))
    np.testing.assert_allclose(jump[order], truth, rtol=0.15)
    assert result.misfit().data_spectrum.sum() == pytest.approx(COUNTS.sum() / found[..., 0].size)
    result.save(tmp_path / "kept")
    again = em.open(tmp_path / "kept")
    np.testing.assert_array_equal(again.options["exposure"], EXPOSURE)
    np.testing.assert_array_equal(again.reproduce().maps.data, result.maps.data)
    errors = em.assess.uncertainty(again)
    known = em.assess.uncertainty(result.model, COUNTS)
    np.testing.assert_allclose(errors.maps, known.maps)
    assert np.nanmean(errors.maps[:, :10]) > 1.5 * np.nanmean(errors.maps[:, 10:])
    assert em.assess.ambiguity(again).maps_low.shape == found.shape
    assert not em.assess.anomalies(again).found.mean() > 0.05
    interval = em.assess.displacement(again, of=("maps", 0))
    assert interval.value == pytest.approx(np.nanmean(found[..., 0]), rel=1e-6)


def test_errors_are_those_that_repeated_counts_show():
    model, maps = MODELS["MLLS"], []
    for seed in range(40):
        X = np.random.default_rng(seed).poisson(PHANTOM.clean * EXPOSURE[..., None])
        maps.append(clone(model).fit(X, exposure=EXPOSURE))
    spread = np.std([one.maps_ for one in maps], axis=0)
    said = np.mean([one.maps_error_ for one in maps], axis=0)
    for side in np.s_[:, :10], np.s_[:, 10:]:
        inside = np.min([one.maps_ for one in maps], axis=0)[side] > 0
        ratio = np.mean(said[side][inside]) / np.mean(spread[side][inside])
        assert ratio == pytest.approx(1, abs=0.15)
    even = clone(model).fit(np.random.default_rng(0).poisson(PHANTOM.clean))
    assert np.nanmedian(maps[0].chi2_) == pytest.approx(np.nanmedian(even.chi2_), rel=0.1)


def test_a_tucker_model_says_that_it_takes_none():
    with pytest.raises(em.EndmemberError, match="exposure"):
        em.Tucker((2, 2, 2)).fit(COUNTS, exposure=EXPOSURE)


@pytest.mark.parametrize("model", [em.CP(3, **QUICK), em.CP(3, loss=em.Poisson(), **QUICK)])
def test_a_series_takes_it(model):
    rng = np.random.default_rng(3)
    parts = [rng.uniform(size=(n, 3)) for n in (6, 7, 20)]
    clean = 100 * np.einsum("ir,jr,kr->ijk", *parts)
    e = rng.uniform(0.5, 4, (6, 7))
    found = clone(model).fit(clean * e[..., None], exposure=e)
    np.testing.assert_allclose(whole(found), clean, atol=0.03 * clean.max())


def test_drift_is_found_whatever_the_exposure():
    moved = em.synthetic.mixed_phases((12, 12), channels=80, k=2, dose=3000, drift=2.0, seed=3)
    e = np.ones((12, 12))
    e[:, 6:] = 4.0
    X = np.random.default_rng(0).poisson(moved.clean * e[..., None])
    fit = em.Drifting(em.NMF(2, **QUICK)).fit(X, exposure=e)
    even = em.Drifting(em.NMF(2, **QUICK)).fit(moved.clean)
    np.testing.assert_allclose(fit.shifts_, even.shifts_, atol=0.3)
    left, right = fit.maps_[:, 5].sum(), fit.maps_[:, 6].sum()
    assert left / right == pytest.approx(even.maps_[:, 5].sum() / even.maps_[:, 6].sum(), rel=0.05)


def test_a_variance_in_the_metadata_weighs_values_or_is_said_not_to_be_used():
    import hyperspy.api as hs

    signal = PHANTOM.signal.deepcopy()
    variance = PHANTOM.clean + 1.0
    signal.metadata.set_item("Signal.Noise_properties.variance", hs.signals.Signal1D(variance))
    found = em.unmix(signal, em.NMF(3, **QUICK))
    given = em.unmix(PHANTOM.signal, em.NMF(3, **QUICK), weights=1 / variance)
    np.testing.assert_allclose(found.maps.data, given.maps.data)
    assert found.reproduce().record["reasons"] == found.record["reasons"]
    said = em.unmix(signal, em.NMF(3, loss=em.Poisson(), **QUICK)).record["reasons"]
    assert any("not used" in one for one in said)
    signal.metadata.Signal.Noise_properties.variance = 4.0
    assert not em.unmix(signal, em.NMF(3, **QUICK)).record["reasons"]


def test_counts_that_were_divided_are_sent_to_their_exposure():
    signal = PHANTOM.signal.deepcopy()
    signal.data = signal.data / 7.3
    assert "exposure=" in "".join(em.unmix(signal, n_components=3).record["reasons"])


def test_number_comparison_and_path_take_the_exposure_of_a_fit():
    dark = EXPOSURE.copy()
    dark[0, :3] = 0
    told, masked = (
        em.assess.rank(COUNTS, stability=False, **given)
        for given in ({"exposure": dark}, {"mask": dark == 0})
    )
    assert str(told) == str(masked)
    models = {"squares": MODELS["squares"], "weighted": MODELS["squares"]}
    sided = em.compare(COUNTS, models, exposure=EXPOSURE, bands=False)
    np.testing.assert_allclose(sided.models[0].maps_, fitted("squares").maps_)
    uneven = PHANTOM.clean * EXPOSURE[..., None]
    steps, even = (
        em.assess.path(
            em.NMF(3, maps=em.SoftOrthogonal(), **QUICK), X, "maps__weight", [0.01, 0.1], **given
        )
        for X, given in ((uneven, {"exposure": EXPOSURE}), (PHANTOM.clean, {}))
    )
    assert em.spectral_angle(steps.spectra[0], even.spectra[0]).max() < 0.1
