"""Coupled detectors: better maps than either alone, strict where the data allow it, weak where they do not."""

import numpy as np
import pytest

import endmember as em


def error(maps, truth):
    C, T = (A.reshape(-1, A.shape[-1]) for A in (maps, truth))
    C = C[:, em.match_components(C.T, T.T)]
    C = C * (np.sum(C * T, axis=0) / np.sum(C * C, axis=0))
    return np.linalg.norm(C - T) / np.linalg.norm(T)


@pytest.fixture(scope="module")
def both():
    return em.synthetic.concurrent((12, 12), 3, 100, 20, seed=1)


@pytest.fixture(scope="module")
def coupled(both):
    return em.Coupled(3, random_state=0, n_starts=2).fit([both.eels.signal, both.edxs.signal])


def test_maps_are_nearer_to_the_truth_than_those_of_either_detector(both, coupled):
    options = {"loss": em.PoissonScaled(), "random_state": 0, "n_starts": 2}
    alone = [em.NMF(3, **options).fit(one.data).maps_ for one in (both.eels, both.edxs)]
    assert error(coupled.maps_, both.maps) < 0.8 * min(error(maps, both.maps) for maps in alone)


def test_weak_coupling_stays_strict_where_maps_are_the_same(both, coupled):
    options = {"random_state": 0, "n_starts": 2}
    weak = em.Coupled(3, "weak", **options).fit([both.eels.data, both.edxs.data])
    assert not weak.deviations_[0].any()
    assert sum(weak.misfits_) == pytest.approx(sum(coupled.misfits_), rel=1e-3)


def test_weak_coupling_finds_that_maps_differ():
    series = em.synthetic.channelling(tilts=20, difference=0.1, seed=0)
    pair, options = [series.eels, series.edxs], {"random_state": 0, "n_starts": 1, "tol": 1e-4}
    strict = em.Coupled(2, **options).fit(pair)
    weak = em.Coupled(2, "weak", **options).fit(pair)
    assert 0 < weak.gamma_ < 1
    assert weak.deviations_[0].any()
    assert sum(weak.misfits_) < 0.99 * sum(strict.misfits_)
    assert (weak.maps_ + weak.deviations_[0]).min() >= 0


def test_an_image_beside_a_cube_is_another_detector():
    rng = np.random.default_rng(0)
    maps, spectra = rng.random((6, 7, 2)), rng.random((2, 20))
    image = maps @ [1.0, 4.0]
    model = em.Coupled(2, weight=1.0, random_state=0, tol=1e-10).fit([maps @ spectra, image])
    np.testing.assert_allclose((model.maps_ @ model.spectra_[1])[..., 0], image, atol=1e-2)


def test_light_and_dark_field_join_eels_and_x_rays(both, coupled):
    detectors = [both.eels.signal, both.edxs.signal, both.cl, both.adf]
    result = em.unmix(detectors, em.Coupled(3, random_state=0, n_starts=2))
    maps = np.moveaxis(result.maps.data, 0, -1)
    assert error(maps, both.maps) < 1.05 * error(coupled.maps_, both.maps)
    order = em.match_components(result.spectra[2].data, both.cl_spectra)
    assert em.spectral_angle(result.spectra[2].data[order], both.cl_spectra).max() < 10
    image = (result.model.maps_ @ result.model.spectra_[3])[..., 0]
    assert np.linalg.norm(image - both.adf) < 0.05 * np.linalg.norm(both.adf)
    assert len(result.spectra[3].data) == 3


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (em.Coupled(2), np.ones((4, 5)), "list"),
        (em.Coupled(2), [np.ones((4, 4, 5)), np.ones((3, 3, 6))], "pixels"),
        (em.Coupled(2, "strong"), [np.ones((4, 5))] * 2, "coupling"),
        (em.Coupled(2, "weak", gamma=-1), [np.ones((4, 5))] * 2, "gamma"),
        (em.Coupled(2, loss=[None]), [np.ones((4, 5)), np.ones((4, 5))], "loss"),
        (em.Coupled(), [np.ones((4, 5))] * 2, "n_components"),
    ],
)
def test_refused_in_one_sentence(model, data, message):
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(data)


def test_a_path_says_how_tight_the_tie_may_be():
    """Detectors that see the same maps bear any tie; ones that do not are contradicted by a tight one."""
    rng = np.random.default_rng(5)
    maps, other = rng.random((80, 2)), rng.random((80, 2))
    spectra = rng.random((2, 30)), rng.random((2, 25))
    model = em.Coupled(2, "weak", loss=em.SquaredError(), random_state=0, n_starts=2)
    values = [1e-4, 1e-1, 1e3]
    same, different = (
        em.assess.path(
            model,
            [own @ S + 0.01 * rng.standard_normal((80, S.shape[1])) for own, S in zip(pair, spectra, strict=True)],
            "gamma",
            values,
        )
        for pair in ((maps, maps), (maps, other))
    )  # fmt: skip
    assert same.suggested == 1e3
    assert different.suggested < 1e3 and different.misfit[-1] > 10
    assert same.spectra.shape == (3, 2, 55)
    assert np.all(np.diff(different.misfit) >= -1e-6)
