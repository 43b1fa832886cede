"""Mixed pixels and like spectra are the same data: both ends are found, and the way between them fits alike."""

from dataclasses import replace

import numpy as np
import pytest

import endmember as em
from endmember.assess.comparison import side_by_side
from endmember.assess.remedies import other_answers_in_words, widest
from endmember.errors import EndmemberError


def worst(components, spectra):
    order = em.match_components(components, spectra)
    return float(np.max(em.spectral_angle(components[order], spectra)))


@pytest.fixture(scope="module", params=[0.2, 0.4])
def mixed(request):
    """Counts of pixels that hold a share of the mean of the image, their spectra, and the like spectra that fit too."""
    phantom = em.synthetic.mixed_phases((28, 28), 96, k=3, dose=100, seed=7)
    share, mean = request.param, phantom.maps.mean(axis=(0, 1))
    clean = ((1 - share) * phantom.maps + share * mean) @ phantom.spectra
    spectra = (1 - share) * phantom.spectra + share * mean @ phantom.spectra
    data = np.random.default_rng(7).poisson(100 * clean / clean.max()).astype(np.uint16)
    return data, phantom.spectra, spectra, share


def test_each_end_is_near_its_own_truth(mixed):
    data, distinct, like, share = mixed
    pure = em.unmix(data, n_components=3).model
    apart = em.unmix(data, n_components=3, assume="distinct_spectra").model
    plain = em.NMF(3, loss=em.PoissonScaled(), random_state=0).fit(data)
    assert worst(pure.components_, like) < 2 < 4 < worst(pure.components_, distinct)
    assert worst(apart.components_, distinct) < min(3.0, worst(plain.components_, distinct))
    assert abs(apart.mixed_ - share) < 0.08
    np.testing.assert_allclose(
        np.abs(em.spectral_angle(apart.other_end_, pure.components_)), 0, atol=0.1
    )
    assert not apart.absent_.any()


def test_both_ends_fit_alike(mixed):
    data = mixed[0]
    misfits = []
    for end in (False, True):
        model = em.NMF(
            3, loss=em.PoissonScaled(), maps=em.Absent("auto", mixed=end), random_state=0
        )
        model.fit(data)
        assert (model.maps_ >= 0).all() and (model.components_ >= 0).all()
        misfits.append(np.mean((data - model.maps_ @ model.components_) ** 2))
    assert misfits[1] == pytest.approx(misfits[0], rel=0.01)


def test_spectra_that_leave_no_room_stay_where_they_are():
    phantom = em.synthetic.mixed_phases((28, 28), 96, k=3, dose=1000, seed=7)
    model = em.unmix(phantom.data, n_components=3, assume="distinct_spectra").model
    assert model.mixed_ < 0.02 and worst(model.components_, phantom.spectra) < 1


def test_the_end_is_chosen_only_where_zeros_are_tested():
    data = em.synthetic.mixed_phases((8, 8), 32, k=2).data
    with pytest.raises(EndmemberError, match="leave the model out"):
        em.unmix(data, em.NMF(2), assume="distinct_spectra")
    with pytest.raises(EndmemberError, match="leave the model out"):
        em.unmix(data, em.NMF(2), n_components=2)
    with pytest.raises(EndmemberError, match="weights open"):
        em.unmix(data, n_components=2, assume="distinct_spectra", weights=np.ones(data.shape))
    with pytest.raises(EndmemberError, match="pure_maps"):
        em.unmix(data, n_components=2, assume="maps")
    with pytest.raises(EndmemberError, match="is of maps"):
        em.NMF(2, spectra=em.Absent("auto", mixed=True)).fit(data)
    with pytest.raises(EndmemberError, match="alone"):
        em.NMF(2, maps=em.Absent(np.zeros((8, 8, 2), bool), mixed=True)).fit(data)


def test_a_cone_that_is_wider_than_the_noise_allows_is_seen():
    phantom = em.synthetic.mixed_phases((32, 32), 96, k=3, dose=100, seed=8)
    loss = em.PoissonScaled()
    plain = em.NMF(3, loss=loss, random_state=0).fit(phantom.data)
    truth = em.NMF(3, loss=loss, spectra=em.Known(dict(enumerate(phantom.spectra))))
    truth.fit(phantom.data)
    narrow = em.NMF(
        3,
        loss=loss,
        spectra=em.Known(dict(enumerate(phantom.spectra + phantom.spectra.mean(axis=0)))),
    )
    narrow.fit(phantom.data)
    assert plain.excess_.mean() < 0.5 < 0.6 < truth.excess_.mean() < 1.2
    assert narrow.excess_.max() > 3
    weighted = em.NMF(2).fit(phantom.data, weights=np.ones(phantom.data.shape))
    assert "excess_" not in weighted.learned()


@pytest.fixture(scope="module")
def opinions():
    phantom = em.synthetic.mixed_phases((24, 24), 80, k=3, dose=100, seed=9)
    return em.unmix(phantom.signal, n_components=3), phantom


def test_second_opinions_are_kept_with_the_answer_and_said(opinions, tmp_path):
    result, phantom = opinions
    comparison = result.comparison
    assert comparison.names[0] == "this answer" and comparison.models[0] is result.model
    assert {"SSS on maps", "SSS on spectra", "independent derivatives", "minimum volume"} < {
        *comparison.names
    }
    for i, model in enumerate(comparison.models):
        assert (model.maps_ >= 0).all() and (model.components_ >= 0).all()
        found = np.sort(em.spectral_angle(comparison.spectra[i], comparison.spectra[0]))
        np.testing.assert_allclose(found, np.sort(comparison.angles[0, i]), atol=1e-4)
    near = comparison.models[comparison.names.index("SSS on maps")]
    assert worst(near.components_, phantom.spectra) < 3
    again = em.open(result.save(tmp_path / "kept"))
    assert repr(again) == repr(result) and "This answer assumes" in repr(again)
    for name in ("names", "angles", "spectra", "misfit", "excess", "noise", "seconds"):
        np.testing.assert_array_equal(getattr(again.comparison, name), getattr(comparison, name))
    text = result.report(tmp_path / "report.html").read_text()
    assert "This answer assumes that every component is absent somewhere" in text
    assert em.unmix(phantom.signal, em.NMF(3, n_starts=1)).comparison is None


def test_a_smaller_volume_goes_as_far_as_it_fits_as_well():
    """Where no pixel is pure and noise is small, the whole way costs too much: part of it still fits as well."""
    rng = np.random.default_rng(0)
    spectra = np.abs(rng.normal(size=(6, 60))) + 1
    clean = rng.dirichlet(np.full(6, 3.0), size=(20, 20)) @ spectra
    found = em.unmix(clean + rng.normal(0, 0.01, clean.shape), n_components=6).comparison
    i = found.names.index("minimum volume")
    assert found.excess[i] < 1 and found.agreement[0, i] > 0.5


def test_the_end_of_mixed_pixels_is_the_widest_that_fits_as_well(mixed):
    data, distinct, like, _ = mixed
    for assume, other in (("pure_maps", "distinct spectra"), ("distinct_spectra", "pure maps")):
        result = em.unmix(data, n_components=3, assume=assume)
        i = result.comparison.names.index(other)
        apart = np.max(em.spectral_angle(distinct, like))
        assert result.comparison.agreement[0, i] == pytest.approx(apart, abs=2)
        _, _, angle = widest(result.comparison)
        assert angle >= result.comparison.agreement[0, i] > 4
        assert f"{other}, lies" in result.sentence


def pair(spectra, maps, other_spectra, other_maps, noise=0.01):
    """A comparison of two answers that fit alike."""
    fits = [
        em.NMF(2).restored(
            {"components_": np.asarray(S, float), "maps_": np.asarray(C, float), "n_components_": 2}
        )
        for S, C in ((spectra, maps), (other_spectra, other_maps))
    ]
    return side_by_side(
        ["this answer", "another"], fits, misfit=[noise, noise], n_pixels=6, seconds=[0, 0],
        energy=np.arange(4.0), energy_label="Energy (eV)",
    )  # fmt: skip


def test_each_remedy_is_named_where_it_would_decide():
    full, maps = [[4, 3, 2, 1], [1, 2, 3, 4]], np.tile([[1, 2], [2, 1]], (3, 1))
    sparse = np.where(np.arange(6)[:, None] > [0, 2], maps, 0)
    cases = {
        "a known empty window would decide, such as whether Component 1 is empty at 3 eV": (
            full, maps, [[4, 3, 2, 0], [1, 2, 3, 4]], maps,
        ),
        "a region without the phase": (full, maps, [[4, 3, 2, 2], [1, 2, 3, 4]], sparse),
        "a pure reference": (full, maps, [[5, 3, 2, 1], [1, 2, 3, 4]], maps),
        "a second detector": ([[1, 2, 3, 4], [1, 2, 3, 4.1]], maps, [[1, 2, 3, 4], [1, 2, 3, 9]], maps),
    }  # fmt: skip
    for remedy, case in cases.items():
        assert remedy in other_answers_in_words(pair(*case)), remedy
    noisy = pair(full, maps, [[5, 3, 2, 1], [1, 2, 3, 4]], maps, noise=1.0)
    assert "more dose would decide" in other_answers_in_words(noisy)
    same = pair(full, maps, full, maps)
    assert "agree with it within" in other_answers_in_words(same)
    worse = replace(noisy, excess=np.array([0.0, 9.0]))
    assert other_answers_in_words(worse) == "No other that was tried fits as well."
