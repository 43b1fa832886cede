"""The number of components: identities of the criteria, planted answers, limits of detection."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.signal import lfilter

import endmember as em
from endmember import synthetic
from endmember.assess import criteria
from endmember.assess.criteria import Scree
from endmember.assess.detection import detectability, local_rank
from endmember.assess.number import rank
from endmember.assess.surrogates import decompose, map_structure, thinning, whitened
from endmember.factor.noise.model import NoiseModel

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


def gaussian_mixture(sigma, k=4, n=600, m=120, seed=0):
    rng = np.random.default_rng(seed)
    clean = rng.dirichlet(np.ones(k), n) @ rng.random((k, m))
    return clean + sigma * rng.standard_normal((n, m))


def scree_of(Y):
    return decompose(Y)[1]


def votes_of(report):
    return {vote.criterion: vote.count for vote in report.table}


# --- identities -----------------------------------------------------------------------------------


def test_the_indicator_is_the_definition_written_out():
    scree = scree_of(gaussian_mixture(0.01, n=40, m=12))
    rest = [sum(scree.values[k:]) for k in range(12)]
    errors = [math.sqrt(rest[k] / (40 * (12 - k))) / (12 - k) ** 2 for k in range(12)]
    assert criteria.indicator(scree, 11) == int(np.argmin(errors)) == 4
    assert math.sqrt(scree_of(gaussian_mixture(0.1)).level()[4]) == pytest.approx(0.1, rel=0.02)


def test_square_threshold_is_four_over_root_three():
    assert criteria.optimal_threshold(1.0) == pytest.approx(4 / math.sqrt(3))


def test_noise_edge_is_where_noise_ends():
    rng = np.random.default_rng(1)
    largest = [np.linalg.norm(rng.standard_normal((200, 80)), 2) ** 2 for _ in range(200)]
    mean, one = criteria.noise_edge(200, 80, 0.0), criteria.noise_edge(200, 80, 1.0)
    assert np.mean(largest) == pytest.approx(mean, rel=0.01)
    assert np.std(largest) == pytest.approx(one - mean, rel=0.2)
    assert np.mean(np.array(largest) > criteria.noise_edge(200, 80, 1.73)) < 0.1


def test_elbow_does_not_count_the_noise_floor():
    floor = 1 - 0.01 * np.arange(16)
    assert criteria.elbow(np.concatenate([[1e4, 1e3, 3e2, 1e2], floor])) == 4


@pytest.mark.parametrize("sigma", [0.02, 0.05])
def test_criteria_agree_on_a_clear_gaussian_mixture(sigma):
    X = gaussian_mixture(sigma)
    scree = scree_of(X / sigma)
    counts = {
        "elbow": criteria.elbow(scree.values),
        "indicator": criteria.indicator(scree, 10),
        "edge": criteria.marchenko_pastur(scree, 10),
        "threshold": criteria.gavish_donoho(scree, 10, 1.0),
        "length": criteria.description_length(scree, 10),
    }
    assert set(counts.values()) == {4}, counts


def test_nothing_is_counted_that_noise_hides():
    scree = scree_of(gaussian_mixture(2.0) / 2.0)
    assert criteria.marchenko_pastur(scree, 10) < 4
    assert criteria.gavish_donoho(scree, 10, 1.0) < 4


def test_scree_of_sparse_and_wide_data_is_that_of_dense():
    counts = np.random.default_rng(0).poisson(0.2, (90, 40)).astype(float)
    direct = np.linalg.svd(counts, compute_uv=False) ** 2
    for Y in (counts, counts.T, sp.csr_array(counts)):
        left, scree, right = decompose(Y)
        np.testing.assert_allclose(scree.values, direct, rtol=1e-8)
        assert scree.total == pytest.approx(direct.sum())
        np.testing.assert_allclose(Y @ right[:, 0], left[:, 0] * math.sqrt(direct[0]), atol=1e-8)
    cut = Scree(direct[:10], direct.sum(), (90, 40))
    np.testing.assert_allclose(cut.rest(), scree.rest()[:11])


# --- drawn noise ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_halves_of_counts_add_up_and_differ_by_pure_noise(sparse):
    counts = synthetic.mixed_phases((30, 30), 100, dose=2, seed=1).data.reshape(-1, 100)
    white = whitened(sp.csr_array(counts) if sparse else counts, domain=(30, 30))
    rng = np.random.default_rng(0)
    one, other = white.halves(rng)
    assert abs((one + other) / 2 - white.Y).max() < 1e-12
    noise = white.noise_like(rng)
    dense = noise.toarray() if sp.issparse(noise) else noise
    assert abs(dense.mean()) < 0.01


def test_drawn_noise_has_the_variance_of_the_data():
    counts = np.random.default_rng(0).poisson(np.full((400, 60), 2.0))
    noise = whitened(counts).noise_like(np.random.default_rng(1))
    assert noise.var() == pytest.approx(1.0, rel=0.03)


# --- the panel ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dose", [3, 30, 1000])
def test_four_mixed_phases(dose):
    report = rank(synthetic.mixed_phases((40, 40), 256, 4, dose=dose, seed=5).data, stability=False)
    assert report.suggested == report.clear == 4
    assert report.range[0] <= 4 <= report.range[1]


def test_sparse_counts_give_the_same_number():
    counts = synthetic.mixed_phases((40, 40), 256, 3, dose=2, seed=5).data
    sparse = rank(sp.csr_array(counts.reshape(-1, 256)), domain=(40, 40), stability=False)
    assert sparse.suggested == rank(counts, stability=False).suggested == 3


def test_diode_has_three_and_is_scale_free():
    data = synthetic.diode(seed=3).data
    one, other = rank(data, stability=False), rank(data * 2.0**-30, stability=False)
    assert one.suggested == other.suggested == 3
    np.testing.assert_allclose(one.visibility, other.visibility, rtol=1e-6)


@pytest.mark.parametrize("dose", [0.5, 1, 2])
def test_what_is_suggested_stands_above_its_line_and_dissent_is_said(dose):
    data = synthetic.mixed_phases((40, 40), 128, 4, dose=dose, seed=3).data
    report = rank(data, 10, stability=False)
    assert (report.visibility[: report.suggested] > 1).all()
    assert not (report.visibility[report.suggested : report.suggested + 1] > 1).any()
    counts = np.array([vote.count for vote in report.table if vote.count is not None])
    for word, other in (("fewer", counts < report.suggested), ("more", counts > report.suggested)):
        said = f"{other.sum()} of {counts.size} criteria count {word}" in report.sentence
        assert said == (2 * other.sum() > counts.size)


def test_two_halves_give_the_same_spectra_only_for_the_right_number():
    report = rank(synthetic.diode(seed=3).data)
    assert votes_of(report)["NMF stability"] == 3


@pytest.mark.parametrize("mean", [0.0, 5.0])
def test_noise_alone_is_no_reason_to_unmix(mean):
    data = mean + np.random.default_rng(2).standard_normal((30, 30, 100))
    report = rank(data, stability=False)
    assert report.suggested == (1 if mean else 0)
    assert ("nothing to unmix" if mean else "without signal") in report.sentence


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_what_was_not_looked_at_is_not_judged(limit):
    phantom = synthetic.mixed_phases(shape=(16, 16), channels=100, k=3, dose=300)
    report = rank(phantom.signal, max_rank=limit, stability=False)
    assert report.suggested == limit and report.range == (limit, limit)
    assert report.sentence.endswith("no more were looked at.")
    assert "nothing to unmix" not in report.sentence


@pytest.mark.parametrize("axis", [2, 0])
def test_correlated_noise_is_named_and_not_counted(axis):
    clean = synthetic.mixed_phases((40, 40), 200, 4, dose=100, seed=1).clean
    noise = lfilter([1], [1, -0.6], np.random.default_rng(3).standard_normal(clean.shape), axis)
    report = rank(clean + 3 * noise, stability=False)
    assert report.suggested == 4
    assert votes_of(report)["noise edge"] == votes_of(report)["thinning"] == 4
    assert any("correlated" in sentence for sentence in report.warnings)


@pytest.mark.parametrize("seed", range(3))
def test_weak_phases_are_seen_in_noise_that_is_correlated(seed):
    clean = synthetic.mixed_phases((32, 32), 160, 4, dose=2, seed=seed).clean
    noise = lfilter([1], [1, -0.6], np.random.default_rng(seed).standard_normal(clean.shape), 2)
    report = rank(clean + 0.35 * noise, 10, stability=False)
    assert report.suggested == 4 and min(report.visibility[:4]) > 1


def test_a_band_of_noisy_channels_is_no_component():
    clean = synthetic.mixed_phases((24, 24), 100, 3, dose=1, seed=4).clean
    deviation = np.where((np.arange(100) > 70) & (np.arange(100) < 82), 0.2, 0.02)
    noise = deviation * np.random.default_rng(0).standard_normal(clean.shape)
    report = rank(clean + noise, 15, stability=False)
    assert report.suggested == 3 and any("differs from its model" in one for one in report.warnings)


def test_a_drift_of_the_axis_is_named_and_not_counted():
    phantom = synthetic.mixed_phases((24, 24), 160, 1, dose=20000, drift=1.0, seed=1)
    report = rank(phantom.data, 10, stability=False)
    assert report.visibility[2] > 1 == report.suggested
    assert "shifted along the energy axis by 0." in report.sentence and "align" in report.sentence


@pytest.mark.parametrize("k", [2, 4])
def test_a_drift_of_several_phases_is_named_and_not_counted(k):
    phantom = synthetic.mixed_phases((32, 32), 240, k, dose=600, drift=0.8, seed=k)
    report = rank(phantom.data, 12, stability=False)
    assert report.visibility[k] > 1 and report.suggested == k
    assert "shifted along the energy axis" in report.sentence


def test_an_edge_that_chemistry_has_moved_is_a_phase():
    energy, place = np.arange(100.0), np.arange(20) < 10
    spectra = [np.exp(-0.5 * ((energy - centre) / 4) ** 2) for centre in (48, 50)]
    clean = np.where(place[:, None, None], spectra[0], spectra[1]) * np.ones((20, 20, 1))
    counts = np.random.default_rng(0).poisson(100 * clean + 5)
    report = rank(counts, 8, stability=False)
    assert report.suggested == 2 and any("chemistry" in warning for warning in report.warnings)


def test_exact_data_have_their_exact_rank():
    report = rank(synthetic.mixed_phases((20, 20), 60, 3, seed=1).clean)
    assert report.suggested == 3 and report.range == (3, 3)


@pytest.mark.parametrize("seed", range(8))
def test_a_handful_of_counts_tells_of_no_component_but_exact_whole_numbers_do(seed):
    rng = np.random.default_rng(seed)
    handful = np.zeros((7, 8, 30), int)
    handful.flat[rng.choice(handful.size, 6, replace=False)] = 1
    report = rank(handful, stability=False)
    assert report.suggested == 0 and report.noise.poisson and "exactly" not in report.sentence
    assert any("taken for plain counts" in warning for warning in report.warnings)
    exact = rng.integers(1, 6, (40, 3)) @ rng.integers(1, 6, (3, 30))
    assert "exactly of rank 3" in rank(exact, stability=False).sentence


def test_masks_leave_a_phase_out():
    phantom = synthetic.diode(seed=3)
    gone = phantom.maps[..., 2] > 0.01
    assert rank(phantom.data, mask=gone, stability=False).suggested == 2


def test_a_component_below_the_limit_is_not_seen_and_one_above_is():
    rng = np.random.default_rng(0)
    n, m = 1600, 100
    direction = rng.standard_normal(m) / math.sqrt(m)
    for factor, seen in ((0.5, 0), (3.0, 1)):
        strength = factor * math.sqrt(m / n)
        scores = math.sqrt(strength) * rng.standard_normal(n)
        data = rng.standard_normal((n, m)) + np.outer(scores, direction)
        assert rank(data, stability=False).suggested == seen


def test_structure_needs_an_image():
    assert map_structure(whitened(gaussian_mixture(0.1)), 5) is None


def test_one_half_predicts_the_other_by_the_right_number():
    white = whitened(synthetic.mixed_phases((30, 30), 120, 3, dose=50, seed=2).data)
    assert thinning(white, 10, np.random.default_rng(0)) == 3


def test_callback_ends_the_panel_early():
    report = rank(synthetic.diode(seed=3).data, callback=lambda progress: True)
    assert report.suggested == 3
    assert "thinning" not in votes_of(report)


def test_figure_shows_every_vote():
    report = rank(synthetic.diode((20, 20), seed=3).data, stability=False)
    figure = report.plot()
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert set(labels) == {vote.criterion for vote in report.table if vote.count is not None}
    assert str(report).startswith(report.sentence)


def test_max_rank_must_allow_something():
    with pytest.raises(ValueError, match="whole number from 1"):
        rank(np.ones((4, 5)), max_rank=0)


# --- what one pixel or channel carries ------------------------------------------------------------


def test_spikes_and_a_flickering_channel_are_named_and_not_counted():
    counts = synthetic.mixed_phases((24, 24), 120, 4, dose=100, seed=3).data.astype(float)
    clean = rank(counts, 12, stability=False)
    rng = np.random.default_rng(0)
    spiked = counts.copy()
    hit = rng.choice(counts.size, 6, replace=False)
    spiked.flat[hit] += rng.uniform(500, 1500, 6)
    report = rank(spiked, 12, stability=False)
    assert report.suggested == clean.suggested == 4
    (sentence,) = [warning for warning in report.warnings if "alone" in warning]
    pixels = {
        tuple(map(int, place[:2]))
        for place in zip(*np.unravel_index(hit, counts.shape), strict=True)
    }
    assert sentence.startswith(f"{len(pixels)} pixels") and "remove_spikes" in sentence
    assert any(str(pixel) in sentence for pixel in pixels)
    emptied = counts.copy()
    emptied[..., 5] = 0
    emptied.reshape(-1, 120)[hit[0] // 120, 5] = 900  # a spike alone in its channel
    assert rank(emptied, 12, stability=False).suggested == 4
    flickering = counts.copy()
    flickering[..., 77] += rng.poisson(60, (24, 24)) * (rng.random((24, 24)) < 0.5)
    report = rank(flickering, 12, stability=False)
    assert report.suggested == 4 and any("One channel" in warning for warning in report.warnings)


@pytest.mark.parametrize("seed", range(3))
def test_spikes_no_stronger_than_phases_are_not_counted(seed):
    counts = synthetic.mixed_phases((28, 28), 96, 3, dose=8, seed=seed).data.astype(float)
    rng = np.random.default_rng(seed)
    counts.flat[rng.choice(counts.size, 4, replace=False)] += rng.integers(30, 60, 4)
    report = rank(counts, 10, stability=False)
    assert report.suggested == 3 and any("alone" in warning for warning in report.warnings)


def test_a_line_that_is_one_channel_of_a_coarse_axis_is_a_component():
    maps = synthetic.mixed_phases((20, 20), 60, 3, seed=1).maps
    spectra = np.full((3, 40), 2.0)
    spectra[[0, 1, 2], [7, 20, 33]] = 60.0
    counts = np.random.default_rng(0).poisson(maps @ spectra)
    report = rank(counts, 8, stability=False)
    assert report.suggested == 3 and not any("alone" in warning for warning in report.warnings)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_few_spectra_of_counts_get_an_answer_and_others_a_reason(n):
    counts = np.random.default_rng(0).poisson(
        np.eye(3)[np.arange(n) % 3] @ np.eye(3, 80, 10).repeat(1, 0) * 900 + 40
    )
    report = rank(counts, stability=False)
    assert 1 <= report.suggested <= min(3, n - 1)
    assert any("taken for plain counts" in warning for warning in report.warnings)
    with pytest.raises(ValueError, match="say how many"):
        rank(counts + 0.5)


def test_denoised_data_have_the_rank_they_were_given_and_no_noise():
    signal = synthetic.mixed_phases((16, 16), 80, 4, dose=100, seed=1).signal
    report = rank(em.preprocess.denoise(signal, 3))
    assert report.suggested == 3 and "denoise" in report.sentence and report.noise.unknown


# --- limits ---------------------------------------------------------------------------------------


def test_detectability_agrees_with_the_formula_for_a_lone_component():
    n, m, sigma = 900, 100, 2.0
    maps = np.zeros((n, 1))
    maps[:90] = 1.0
    spectrum = np.ones((1, m)) / math.sqrt(m)
    noise = NoiseModel(gain=0.0, read_variance=sigma**2)
    amplitude = sigma * math.sqrt(math.sqrt(m / n) / 0.1)
    found = detectability(amplitude * maps, spectrum, noise)
    assert found.strengths[0] == pytest.approx(found.limit)
    assert detectability(1.01 * amplitude * maps, spectrum, noise).detectable.all()
    assert "remove" in detectability(0.9 * amplitude * maps, spectrum, noise).warnings[0]


def test_collinear_component_cannot_be_seen():
    maps = np.random.default_rng(0).random((200, 3))
    spectra = np.random.default_rng(1).random((3, 40)) * 50
    spectra[2] = spectra[0] + spectra[1]
    np.testing.assert_array_equal(detectability(maps, spectra).detectable, [False, False, False])


def test_counting_longer_by_the_dose_factor_reaches_the_limit():
    phantom = synthetic.mixed_phases((20, 20), 80, 3, dose=1, seed=0)
    first = detectability(phantom.maps, phantom.spectra)
    longer = detectability(phantom.maps, phantom.spectra * first.dose_factor[1])
    assert longer.strengths[1] == pytest.approx(longer.limit)


def test_local_rank_is_one_inside_a_phase_and_two_across_the_boundary():
    maps = np.zeros((12, 15, 2))
    maps[:6, :, 0], maps[6:, :, 1] = 1, 1
    spectra = np.array([[80.0] * 20 + [10.0] * 20, [10.0] * 20 + [80.0] * 20])
    ranks = local_rank(np.random.default_rng(0).poisson(maps @ spectra))
    inside = np.r_[0:4, 8:12]
    assert np.mean(ranks[inside] == 1) > 0.95
    assert np.all(ranks[5:7] == 2)


def test_local_rank_marks_what_is_masked():
    mask = np.zeros((8, 8), bool)
    mask[2, 3] = True
    ranks = local_rank(np.random.default_rng(0).poisson(9.0, (8, 8, 30)), mask=mask)
    assert ranks[2, 3] == -1 and np.all(ranks[~mask] >= 0)
    with pytest.raises(ValueError, match="odd window"):
        local_rank(np.ones((5, 5, 4)), window=2)


# --- real data ------------------------------------------------------------------------------------


def test_two_phase_file_has_two():
    path = DATA / "edxs" / "two_phase_50x50.bcf"
    if not path.exists():
        pytest.skip(f"{path} is not there; ENDMEMBER_DATA names the folder of real data")
    import hyperspy.api as hs

    signals = hs.load(path)
    cube = next(s for s in signals if s.axes_manager.signal_dimension == 1)
    assert rank(cube, stability=False).suggested == 2


def test_uv_vis_mixture_has_three():
    path = DATA / "other" / "uvvis_three_component.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there; ENDMEMBER_DATA names the folder of real data")
    assert rank(np.load(path)["D"]).suggested == 3


def test_weights_of_whole_pixels_and_channels_are_masks():
    clean = np.random.default_rng(0).random((120, 3)) @ np.random.default_rng(1).random((3, 40))
    counts = np.random.default_rng(2).poisson(40 * clean)
    weights, channels = np.ones(counts.shape), np.arange(40) < 5
    weights[:20], weights[:, channels] = 0, 0
    image = {"domain": (12, 10), "max_rank": 6, "stability": False}
    mask = (np.arange(120) < 20).reshape(12, 10)
    masked = rank(counts, mask=mask, channel_mask=channels, **image)
    weighted = rank(counts, weights=weights, **image)
    assert weighted.table == masked.table and weighted.range == masked.range
    with pytest.raises(ValueError, match="takes no weights of single entries"):
        rank(counts, weights=np.random.default_rng(0).random(counts.shape))


def test_noise_is_in_the_unit_of_the_data_where_a_pixel_was_left_out():
    counts = np.random.default_rng(0).poisson(20.0 * np.ones((40, 60))).astype(float)
    counts += np.random.default_rng(1).normal(0.0, 3.0, counts.shape)
    counts[7, 30] += 4000.0
    tiny = 2.0**-100
    near, far = (em.assess.rank(X, 5, stability=False) for X in (counts, counts * tiny))
    assert any("carries components alone" in warning for warning in far.warnings)
    assert far.noise.variance(10.0 * tiny) == pytest.approx(near.noise.variance(10.0) * tiny**2)


def test_steep_edges_are_no_spikes():
    clean = em.synthetic.mixed_phases((64, 64), channels=512, k=4).signal
    report = em.assess.rank(clean, stability=False)
    assert report.suggested == 4
    assert not any("alone" in said for said in report.warnings)
