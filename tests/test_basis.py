"""Spectra as non-negative combinations of known columns."""

import warnings

import dask.array as da
import numpy as np
import pytest
from scipy import sparse

import endmember as em

CHANNELS, K = 60, 3
AXIS = np.arange(CHANNELS)
COLUMNS = np.exp(-0.5 * ((AXIS[:, None] - np.linspace(4, 56, 9)) / 3) ** 2)
COLUMNS[:, -1] = 1 + AXIS / CHANNELS
LOSSES = [em.SquaredError(), em.PoissonScaled(), em.Poisson()]


def mixture(seed=0, shape=(14, 15)):
    """Return a cube, its spectra and their amounts."""
    rng = np.random.default_rng(seed)
    W = rng.random((K, 9)) * (rng.random((K, 9)) < 0.6)
    W[:, -1] += 0.2
    spectra = W @ COLUMNS.T
    maps = rng.dirichlet(np.full(K, 0.3), shape)
    return maps @ spectra, spectra, W


def counts(dose=20.0):
    return np.random.default_rng(1).poisson(dose * mixture()[0])


def worst_angle(found, spectra):
    order = em.match_components(found, spectra)
    return np.max(em.spectral_angle(found[order], spectra))


def model(**options):
    return em.NMF(K, **{"spectra": em.Basis(COLUMNS), "random_state": 0, **options})


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_data_made_of_the_columns_are_found_exactly(loss):
    X, spectra, W = mixture()
    nmf = model(loss=loss, tol=1e-9).fit(X)
    assert worst_angle(nmf.components_, spectra) < 0.2
    assert nmf.optimality_ < 1e-6
    np.testing.assert_allclose(nmf.amounts_ @ nmf.columns_, nmf.components_, atol=1e-12)
    assert (nmf.amounts_ >= 0).all()
    size = np.linalg.norm(spectra, axis=1, keepdims=True)
    order = em.match_components(nmf.components_, spectra)
    np.testing.assert_allclose(nmf.amounts_[order], W / size, atol=3e-3)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_columns_of_the_identity_change_nothing(loss):
    X = counts()
    init = np.random.default_rng(2).random((14, 15, K)), np.random.default_rng(3).random((K, 60))
    options = {"loss": loss, "init": init, "tol": 1e-9, "max_iter": 3000}
    plain, own = (
        em.NMF(K, spectra=spectra, **options).fit(X)
        for spectra in (None, em.Basis(np.eye(CHANNELS)))
    )
    assert own.objective_[-1] == pytest.approx(plain.objective_[-1], rel=1e-5)
    if loss.makes.squares:  # a valley of few counts has no bottom to agree on
        assert worst_angle(own.components_, plain.components_) < 0.5


@pytest.mark.parametrize("loss", [*LOSSES, em.BetaDivergence(1.5)], ids=repr)
def test_no_sweep_makes_it_worse_and_the_end_is_stationary(loss):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nmf = model(loss=loss, max_iter=300).fit(counts())
    assert np.all(np.diff(nmf.objective_) <= 1e-10 * nmf.objective_[0])
    assert nmf.optimality_ < 1e-3


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_unit_of_data_and_of_columns_plays_no_part(loss):
    X = counts().astype(float)
    scale = np.logspace(-3, 3, 9)
    here = model(loss=loss).fit(X)
    there = model(loss=loss, spectra=em.Basis(COLUMNS * scale)).fit(2.0**20 * X)
    order = em.match_components(there.components_, here.components_)
    np.testing.assert_allclose(there.components_[order], here.components_, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose((there.amounts_ * scale)[order], here.amounts_, atol=1e-3)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_sparse_and_lazy_data_are_the_same(loss):
    X = counts(3.0)
    dense = model(loss=loss, tol=1e-7).fit(X)
    flat = X.reshape(-1, CHANNELS)
    counted = model(loss=loss, tol=1e-7).fit(sparse.csr_array(flat))
    lazy = model(loss=loss, tol=1e-7).fit(da.from_array(X, chunks=(7, 15, CHANNELS)))
    assert worst_angle(counted.components_, dense.components_) < 0.5
    assert worst_angle(lazy.components_, dense.components_) < 0.5


def test_zeros_of_maps_are_tested_beside_known_columns():
    X = counts(5.0)
    spectra = mixture()[1]
    tested = model(loss=em.Poisson(), maps=em.Absent("auto")).fit(X)
    assert worst_angle(tested.components_, spectra) < 6
    assert tested.absent_.shape == tested.maps_.shape
    assert worst_angle(tested.amounts_ @ tested.columns_, tested.components_) < 1e-4


def test_axes_that_drift_and_masked_channels():
    X = counts(50.0)
    left_out = np.arange(CHANNELS) % 20 == 3
    masked = model().fit(X, channel_mask=left_out)
    rest = (masked.amounts_ @ masked.columns_)[:, ~left_out]
    np.testing.assert_allclose(rest, masked.components_[:, ~left_out], atol=1e-9)
    drifting = em.Drifting(model(), max_shift=2).fit(X)
    assert worst_angle(drifting.components_, mixture()[1]) < 5


def test_known_columns_of_one_of_two_detectors():
    X, spectra, _ = mixture()
    other = np.random.default_rng(5).random((K, 20))
    C = np.random.default_rng(0).dirichlet(np.full(K, 0.3), (14, 15))
    cubes = [C @ spectra, C @ other]
    coupled = em.Coupled(K, spectra=[em.Basis(COLUMNS), None], random_state=0, tol=1e-8).fit(cubes)
    found = coupled.spectra_[0].T
    left = found - COLUMNS @ np.linalg.lstsq(COLUMNS, found, rcond=None)[0]
    assert np.linalg.norm(left) < 1e-6 * np.linalg.norm(found)


def test_rows_signals_and_new_data_are_taken():
    X = counts()
    columns, rows = model().fit(X), model(spectra=em.Basis(COLUMNS.T)).fit(X)
    np.testing.assert_array_equal(columns.components_, rows.components_)
    np.testing.assert_allclose(columns.transform(X), columns.maps_, atol=2e-2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"maps": em.Basis(COLUMNS), "spectra": None}, "spectra="),
        ({"spectra": em.Basis(COLUMNS[:-1])}, r"59.*60 channels.*allowed"),
        ({"spectra": em.Basis(-COLUMNS)}, "nowhere negative"),
        ({"spectra": em.Basis("Fe")}, "numbers"),
        ({"spectra": [em.Basis(COLUMNS), em.Free()]}, "em.Free"),
        ({"spectra": [em.Basis(COLUMNS), em.Unimodal()]}, "em.Unimodal"),
        ({"spectra": em.Basis(COLUMNS), "solver": em.ALS()}, "use .*em.ANLS"),
        ({"maps": em.Absent("auto", mixed=True)}, "mixed"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(options, says):
    with pytest.raises((ValueError, TypeError), match=says):
        model(**options).fit(counts())
