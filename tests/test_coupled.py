"""Coupled detectors: better maps than either alone, strict where the data allow it, weak where they do not."""

import numpy as np
import pytest
from scipy import ndimage

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


def beside(seed, k=2, dose=10, lie=None):
    """A cube of counts, the image beside it, and the truth."""
    phantom = em.synthetic.edxs_phases((32, 32), channels=128, k=k, dose=dose, seed=seed)
    image = phantom.maps @ np.linspace(0.4, 1.0, k)
    if lie == "step":
        image = image * np.where(np.arange(32) < 16, 1.0, 1.5)
    elif lie == "carbon":
        y, x = np.mgrid[:32, :32]
        image = image + 0.5 * np.exp(-((y - 10) ** 2 + (x - 20) ** 2) / 72)
    elif lie == "power":
        image = 3.0 + image**1.6
    elif lie == "shift":
        image = ndimage.shift(image, (1.3, -2.2), order=1, mode="nearest")
    noise = 0.02 * np.ptp(image) * np.random.default_rng(seed).standard_normal(image.shape)
    return phantom.signal, image + noise, phantom.maps


def factor_of_dose(seed, **options):
    """How many times the dose that the cube alone would need for maps as good as with the image, and the model."""
    cube, image, truth = beside(seed, **options)
    own = {"maps": em.Absent("auto"), "random_state": 0, "n_starts": 3}
    alone = em.NMF(truth.shape[-1], loss=em.PoissonScaled(), **own).fit(cube)
    model = em.Coupled(truth.shape[-1], random_state=0, n_starts=3).fit([cube, image])
    return (error(alone.maps_, truth) / error(model.maps_, truth)) ** 2, model


@pytest.mark.parametrize(("k", "least"), [(2, 2.0), (3, 1.7)])
def test_an_honest_image_saves_dose(k, least):
    assert np.median([factor_of_dose(seed, k=k)[0] for seed in range(3)]) > least


@pytest.mark.parametrize("lie", ["step", "carbon"])
def test_an_image_that_lies_does_no_harm(lie):
    assert min(factor_of_dose(seed, lie=lie)[0] for seed in range(3)) > 0.95


def test_power_constant_and_shift_of_the_contrast_are_found():
    factor, model = factor_of_dose(0, lie="power")
    power, constant, *shift = model.contrasts_[1]
    assert 1.1 < power < 1.8 and abs(constant - 3.0) < 0.3 and not any(shift) and factor > 1.7
    factor, model = factor_of_dose(0, lie="shift")
    np.testing.assert_allclose(model.contrasts_[1][2:], [1.3, -2.2], atol=0.3)
    assert factor > 1.7


def test_weights_of_penalties_on_shared_maps_are_chosen_too(both):
    cubes = [both.eels.signal, both.edxs.signal]
    smooth = em.Coupled(3, maps=em.Smooth("auto"), random_state=0, n_starts=2).fit(cubes)
    assert error(smooth.maps_, both.maps) < 1.0


def test_neighbours_are_not_smoothed_away_beside_an_image():
    """A weight that few counts asked for is too much where an image tells most of the maps."""
    phantom = em.synthetic.edxs_phases((32, 32), channels=96, k=2, dose=10, seed=101)
    rng = np.random.default_rng(101)
    y, x = np.mgrid[:32, :32]
    centres = 32 * rng.random((8, 2))
    nearest = np.argmin(
        (y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2, axis=-1
    )
    maps = np.eye(2)[np.arange(8) % 2][nearest]
    clean = maps @ phantom.spectra
    data = [
        rng.poisson(10 * clean / clean.max()),
        maps @ [0.4, 1.0] + 0.012 * rng.standard_normal((32, 32)),
    ]
    alone, both = (
        em.Coupled(2, maps=own, random_state=0, n_starts=2).fit(data)
        for own in (em.Absent("auto"), [em.Absent("auto"), em.Smooth("auto")])
    )
    assert error(both.maps_, maps) < error(alone.maps_, maps)


def test_light_and_dark_field_join_eels_and_x_rays(both, coupled):
    detectors = [both.eels.signal, both.edxs.signal, both.cl, both.adf]
    result = em.unmix(detectors, em.Coupled(3, random_state=0, n_starts=2))
    maps = np.moveaxis(result.maps.data, 0, -1)
    assert error(maps, both.maps) < 1.05 * error(coupled.maps_, both.maps)
    order = em.match_components(result.spectra[2].data, both.cl_spectra)
    assert em.spectral_angle(result.spectra[2].data[order], both.cl_spectra).max() < 10
    power, constant, *shift = result.model.contrasts_[3]
    image = constant + (result.model.maps_ @ result.model.spectra_[3])[..., 0] ** power
    assert not any(shift)
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
