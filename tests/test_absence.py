"""Zeros that a test decides: no bias of clipped noise, and none where small amounts are not zero."""

import numpy as np
import pytest

import endmember as em
from endmember.errors import EndmemberError
from endmember.factor.loop.absence import cone_in_words

AUTO = em.Absent("auto")


def worst(components, spectra):
    order = em.match_components(components, spectra)
    return float(np.max(em.spectral_angle(components[order], spectra)))


@pytest.fixture(scope="module")
def phases():
    return em.synthetic.mixed_phases((24, 24), 64, k=3, dose=60, seed=5)


@pytest.mark.parametrize("loss", [em.SquaredError(), em.PoissonScaled(), em.Poisson()], ids=str)
def test_spectra_are_as_good_as_with_the_zeros_known(phases, loss):
    data, truth = phases.data, phases.spectra
    plain = em.NMF(3, loss=loss, n_starts=4, random_state=0).fit(data)
    tested = em.NMF(3, loss=loss, maps=AUTO, n_starts=4, random_state=0).fit(data)
    start = phases.maps, truth
    known = em.NMF(3, loss=loss, maps=em.Absent(phases.maps == 0), init=start).fit(data)
    assert worst(tested.components_, truth) < 1.25 * worst(known.components_, truth)
    assert worst(tested.components_, truth) < 0.5 * worst(plain.components_, truth)
    assert tested.converged_
    assert (tested.maps_[tested.absent_] == 0).all()
    assert (tested.maps_ >= 0).all()


@pytest.mark.parametrize("read", [1.0, 25.0])
def test_a_camera_that_adds_noise_of_its_own_costs_no_zeros(read):
    """Neither counts nor white noise: the variance is five times the mean, and that of the electronics besides."""
    phantom, rng = (
        em.synthetic.mixed_phases((32, 32), 128, k=4, dose=100, seed=100),
        np.random.default_rng(2),
    )
    noise = np.sqrt(read) * rng.standard_normal(phantom.clean.shape)
    data, start = 5.0 * rng.poisson(phantom.clean) + noise, (phantom.maps, phantom.spectra)
    tested = em.NMF(4, maps=AUTO, n_starts=4, random_state=0).fit(data)
    known = em.NMF(4, maps=em.Absent(phantom.maps == 0), init=start).fit(data)
    assert worst(tested.components_, start[1]) < 1.25 * worst(known.components_, start[1])


def test_decided_zeros_are_mostly_true(phases):
    model = em.NMF(3, loss=em.PoissonScaled(), maps=AUTO, n_starts=4, random_state=0).fit(
        phases.data
    )
    order = em.match_components(model.components_, phases.spectra)
    absent = model.absent_[..., order]
    assert np.mean(phases.maps[absent] == 0) > 0.98
    assert np.mean(absent[phases.maps == 0]) > 0.6
    assert model.excess_.max() < 1.8


def core_in_shell():
    """Amounts that fall off smoothly: a core inside its shell on a thin film that is everywhere."""
    y, x = np.mgrid[:28, :28] - 13.5
    radius = np.hypot(y, x)
    whole = np.sqrt(np.maximum(12.0**2 - radius**2, 0)) / 12
    core = np.sqrt(np.maximum(7.0**2 - radius**2, 0)) / 12
    return np.stack([core, whole - core, np.full(core.shape, 0.15)], axis=-1)


def test_zeros_are_taken_back_where_small_amounts_are_not_zero():
    spectra = em.synthetic.mixed_phases((8, 8), 64, k=3, dose=100, seed=3).spectra
    clean = core_in_shell() @ spectra
    data = np.random.default_rng(3).poisson(20000 * clean / clean.max())
    plain = em.NMF(3, loss=em.PoissonScaled(), n_starts=4, random_state=0).fit(data)
    tested = em.NMF(3, loss=em.PoissonScaled(), maps=AUTO, n_starts=4, random_state=0).fit(data)
    assert tested.excess_.max() > 1.8
    assert not tested.absent_.any()
    assert "Small amounts are not zero" in cone_in_words(tested.learned())
    np.testing.assert_array_equal(tested.components_, plain.components_)


def test_no_zero_found_is_not_called_small_amounts():
    spectra = em.synthetic.mixed_phases((8, 8), 64, k=2, dose=100, seed=3).spectra
    share = np.random.default_rng(3).uniform(0.02, 0.98, (6, 7, 1))
    clean = np.concatenate([share, 1 - share], axis=-1) @ spectra
    data = np.random.default_rng(3).poisson(20000 * clean / clean.max())
    model = em.NMF(2, loss=em.PoissonScaled(), maps=AUTO, random_state=0).fit(data)
    assert not model.absent_.any()
    assert model.excess_.max() < 1.8
    assert "found no amount absent" in cone_in_words(model.learned())


def test_zeros_that_the_likelihood_of_counts_denies_are_taken_back(phases, monkeypatch):
    plain = em.NMF(3, loss=em.Poisson(), n_starts=4, random_state=0).fit(phases.data)
    tested = em.NMF(3, loss=em.Poisson(), maps=AUTO, n_starts=4, random_state=0)
    assert tested.fit(phases.data).absent_.any()
    assert 0.0 < tested.excess_.max() < 1.8
    monkeypatch.setattr("endmember.methods.nmf.DEAR", 0.1)  # a true zero costs about 1
    tested.fit(phases.data)
    assert not tested.absent_.any()
    np.testing.assert_array_equal(tested.components_, plain.components_)


def test_scale_and_size_change_nothing(phases):
    rng = np.random.default_rng(1)
    data = phases.clean / phases.clean.max() + 0.05 * rng.standard_normal(phases.data.shape)
    one = em.NMF(3, maps=AUTO, n_starts=4, random_state=0).fit(data)
    other = em.NMF(3, maps=AUTO, n_starts=4, random_state=0).fit(1e-6 * data)
    np.testing.assert_array_equal(one.absent_, other.absent_)
    np.testing.assert_allclose(one.components_, other.components_, atol=1e-6)
    assert worst(one.components_, phases.spectra) < 2.0


def test_a_list_of_pixels_is_tested_one_by_one(phases):
    shuffled = np.random.default_rng(2).permutation(phases.data.reshape(-1, 64))
    plain = em.NMF(3, loss=em.PoissonScaled(), n_starts=4, random_state=0).fit(shuffled)
    tested = em.NMF(3, loss=em.PoissonScaled(), maps=AUTO, n_starts=4, random_state=0).fit(shuffled)
    assert worst(tested.components_, phases.spectra) < 0.6 * worst(
        plain.components_, phases.spectra
    )


def test_masked_pixels_and_channels_are_neither_present_nor_absent(phases):
    mask, channels = np.zeros((24, 24), bool), np.zeros(64, bool)
    mask[:3], channels[5:8] = True, True
    model = em.NMF(3, loss=em.PoissonScaled(), maps=AUTO, n_starts=4, random_state=0)
    model.fit(phases.data, mask=mask, channel_mask=channels)
    assert not model.absent_[mask].any()
    assert model.absent_[~mask].any()
    assert np.isnan(model.maps_[mask]).all()


def test_channels_without_a_line_are_found():
    rng = np.random.default_rng(4)
    spectra = np.zeros((2, 60))
    spectra[0, 5:25], spectra[1, 30:52] = 1.0, 1.0
    maps = rng.uniform(0.2, 1.0, (20, 20, 2))
    data = maps @ spectra + 0.3 * rng.standard_normal((20, 20, 60))
    model = em.NMF(2, spectra=AUTO, n_starts=4, random_state=0).fit(data)
    order = em.match_components(model.components_, spectra)
    absent = model.absent_spectra_[order]
    assert absent[spectra == 0].mean() > 0.6
    assert not absent[spectra > 0].any()


def test_new_data_are_tested_as_well(phases):
    model = em.NMF(3, loss=em.PoissonScaled(), maps=AUTO, n_starts=4, random_state=0).fit(
        phases.data
    )
    maps = model.transform(phases.data)
    differ = (maps == 0) != (model.maps_ == 0)
    assert differ.mean() < 0.03
    np.testing.assert_allclose(maps[~differ], model.maps_[~differ], atol=0.1 * maps.max())


@pytest.mark.parametrize(
    "others",
    [
        [em.SoftOrthogonal(0.01)],
        [em.Smooth(0.01)],
        [em.SumToOne(mode="scale")],
        [em.Absent(np.zeros((24, 24, 3), bool))],
    ],
    ids=str,
)
def test_other_penalties_stand_beside_it(phases, others):
    model = em.NMF(3, loss=em.PoissonScaled(), maps=[AUTO, *others], n_starts=4, random_state=0)
    model.fit(phases.data)
    assert worst(model.components_, phases.spectra) < 4.0
    assert (model.maps_[model.absent_] == 0).all()


def test_axes_that_drift_are_tested_too(phases):
    drifting = em.synthetic.mixed_phases((24, 24), 64, k=3, dose=100, drift=1.5, seed=5)
    plain = em.Drifting(em.NMF(3, loss=em.PoissonScaled(), n_starts=4, random_state=0)).fit(
        drifting.data
    )
    model = em.Drifting(em.NMF(3, loss=em.PoissonScaled(), maps=AUTO, n_starts=4, random_state=0))
    model.fit(drifting.data)
    assert worst(model.components_[:, 3:-3], drifting.spectra[:, 3:-3]) < worst(
        plain.components_[:, 3:-3], drifting.spectra[:, 3:-3]
    )


@pytest.mark.parametrize(
    ("penalty", "says"),
    [(em.Absent("yes"), '"auto" or an array of bool'), (em.Absent("auto", -1), "above zero")],
)
def test_what_is_no_test_is_refused(phases, penalty, says):
    with pytest.raises(EndmemberError, match=says):
        em.NMF(3, maps=penalty).fit(phases.data)


def test_models_and_losses_that_cannot_test_say_so(phases):
    with pytest.raises(EndmemberError, match="give a mask"):
        em.Factor(2, penalties=[AUTO])
    with pytest.raises(EndmemberError, match="give a mask"):
        em.CP(2, modes=[AUTO, None, None]).fit(phases.data)
    with pytest.raises(EndmemberError, match="what noise does"):
        em.NMF(3, loss=em.BetaDivergence(0.5), maps=AUTO).fit(phases.data + 1.0)
