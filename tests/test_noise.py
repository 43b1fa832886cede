"""Noise: planted models come back, whitening and the spiked model keep their identities."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from scipy.ndimage import convolve1d

import endmember as em
from endmember import synthetic
from endmember.factor.data.observed import observe
from endmember.factor.noise.model import NoiseModel, estimate_noise
from endmember.factor.noise.photon_transfer import (
    detection_limit,
    spiked_overlap,
    spiked_strength,
)
from endmember.factor.noise.splitting import heads
from endmember.factor.noise.whitening import weighted, whitening_weights

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


def clean(dose, shape=(40, 40), channels=200, seed=0):
    return synthetic.mixed_phases(shape, channels, 4, dose=dose, seed=seed).clean


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.4])
@pytest.mark.parametrize("dose", [20, 200])
@pytest.mark.parametrize("read_counts", [1.0, 3.0])
def test_planted_gain_and_read_noise_come_back(gain, dose, read_counts):
    rng = np.random.default_rng(3)
    counts = rng.poisson(clean(dose))
    read = read_counts * math.sqrt(dose / 20)  # beside the counting noise, not under it
    noise = estimate_noise(gain * (counts + read * rng.standard_normal(counts.shape)))
    assert noise.gain == pytest.approx(gain, rel=0.1)
    assert math.sqrt(noise.read_variance) == pytest.approx(gain * read, rel=0.1)
    assert not noise.poisson and noise.white


@pytest.mark.parametrize("gain", [0.25, 3.4])
def test_gain_alone_gives_no_read_noise(gain):
    noise = estimate_noise(gain * np.random.default_rng(0).poisson(clean(100)))
    assert noise.gain == pytest.approx(gain, rel=0.02)
    assert noise.read_variance < 0.02 * noise.variance(gain * clean(100)).mean()


@pytest.mark.parametrize("dose", [0.5, 10, 1000])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, "sparse"])
def test_pure_counts_are_known_as_such(dose, dtype):
    counts = np.random.default_rng(1).poisson(clean(dose))
    if dtype == "sparse":
        noise = estimate_noise(sp.csr_array(counts.reshape(-1, 200)), domain=(40, 40))
    else:
        noise = estimate_noise(counts.astype(dtype))
    assert noise.poisson and noise.gain == 1.0 and noise.read_variance == 0.0


def test_sparse_and_dense_counts_give_the_same():
    counts = np.random.default_rng(2).poisson(clean(3))
    sparse = estimate_noise(sp.csr_array(counts.reshape(-1, 200)), domain=(40, 40))
    assert sparse == estimate_noise(counts)


def test_empty_pixels_say_nothing_of_the_noise():
    counts = np.zeros((87, 100, 200), np.uint8)
    counts[35:38, 60:66] = np.random.default_rng(4).poisson(clean(10, (3, 6)))
    assert estimate_noise(counts).poisson
    assert estimate_noise(sp.csr_array(counts.reshape(-1, 200)), domain=(87, 100)).poisson


@pytest.mark.parametrize("spectrum", [np.ones(9), -np.ones(9), np.arange(9.0), np.zeros(9)])
def test_one_spectrum_at_every_pixel_is_free_of_noise(spectrum):
    noise = estimate_noise(np.tile(spectrum, (6, 6, 1)))
    assert noise.gain == 0 and noise.read_variance == 0


def test_constant_noise_has_no_gain():
    phantom = synthetic.diode(noise=0.05, seed=4)
    noise = estimate_noise(phantom.signal.data)
    assert noise.gain == 0
    assert math.sqrt(noise.read_variance) == pytest.approx(0.05 * phantom.clean.max(), rel=0.02)
    assert "same everywhere" in noise.sentence()


def test_noise_scales_with_continuous_data():
    data = synthetic.diode(seed=4).signal.data + 1.0
    data += 0.3 * np.sqrt(data) * np.random.default_rng(0).standard_normal(data.shape)
    one, other = estimate_noise(data), estimate_noise(data * 2.0**20)
    assert other.gain == pytest.approx(one.gain * 2**20, rel=1e-9)
    assert other.read_variance == pytest.approx(one.read_variance * 2**40, rel=1e-9)


def test_exact_data_carry_no_noise():
    noise = estimate_noise(clean(100))
    assert noise.gain == 0 and noise.read_variance == 0
    assert "no noise" in noise.sentence() and not noise.warnings()


def test_spikes_are_left_out():
    rng = np.random.default_rng(5)
    data = 2.0 * rng.poisson(clean(50)) + 0.01
    hit = rng.random(data.shape) < 1e-3
    data[hit] += 5e3
    noise = estimate_noise(data)
    assert noise.gain == pytest.approx(2.0, rel=0.1)
    assert noise.outliers == pytest.approx(hit.mean(), rel=0.3)
    assert any("spikes" in sentence for sentence in noise.warnings())


@pytest.mark.parametrize(("axis", "what"), [(2, "channels"), (0, "pixels")])
def test_correlation_of_neighbours_is_measured_and_named(axis, what):
    white = np.random.default_rng(6).standard_normal((40, 40, 200))
    kernel = np.array([1.0, 3.0, 1.0])  # neighbours correlate by 2·3 / (1 + 9 + 1)
    data = clean(100) + 3 * convolve1d(white, kernel, axis=axis, mode="wrap")
    noise = estimate_noise(data)
    other = noise.pixel_correlation if what == "channels" else noise.channel_correlation
    mine = noise.channel_correlation if what == "channels" else noise.pixel_correlation
    assert mine == pytest.approx(6 / 11, abs=0.05)
    assert abs(other) < 0.03
    assert not noise.white and any(what in sentence for sentence in noise.warnings())


@pytest.mark.parametrize("shape", [(2, 21, 600), (10, 300)])
def test_few_spectra_are_enough(shape):
    rng = np.random.default_rng(7)
    mixing = rng.random((*shape[:-1], 2))
    spectra = np.exp(-np.linspace(0, 4, shape[-1]) * np.array([[1.0], [2.0]])) * 500
    noise = estimate_noise(2.0 * rng.poisson(mixing @ spectra))
    assert noise.gain == pytest.approx(2.0, rel=0.1)


def test_masked_pixels_and_channels_play_no_part():
    counts = np.random.default_rng(8).poisson(clean(100)).astype(float)
    spoilt = counts.copy()
    mask, channel_mask = np.zeros((40, 40), bool), np.zeros(200, bool)
    mask[:20], channel_mask[150:] = True, True
    spoilt[mask] = 1e6
    spoilt[:, :, channel_mask] = -1e6
    found = estimate_noise(spoilt, mask=mask, channel_mask=channel_mask)
    kept = estimate_noise(counts[20:, :, :150])
    assert found.poisson and found.dispersion == pytest.approx(kept.dispersion, rel=1e-6)


def mixed_spectra(n, k=3, seed=0):
    rng = np.random.default_rng(seed)
    places = 200 / k * (np.arange(k) + 0.5)
    spectra = np.exp(-0.5 * ((np.arange(200) - places[:, None]) / 12) ** 2) + 0.1
    return rng.poisson(rng.dirichlet(np.full(k, 0.5), n) @ spectra * 300)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_few_whole_numbers_are_counts_and_other_few_are_not_judged(n):
    counts = mixed_spectra(n)
    noise = estimate_noise(counts)
    assert noise.poisson and any("So few" in sentence for sentence in noise.warnings())
    other = estimate_noise(counts + 0.3)
    assert "cannot be measured" in other.sentence() and math.isnan(other.variance(1.0))


def test_three_spectra_for_each_component_are_enough():
    gains = [estimate_noise(2.0 * mixed_spectra(9, seed=seed)).gain for seed in range(5)]
    np.testing.assert_allclose(gains, 2.0, rtol=0.15)


def test_one_spectrum_says_nothing_of_noise():
    assert "at least 2 of each" in estimate_noise(np.ones((1, 100))).sentence()


@pytest.mark.parametrize("step", ["denoise", "separate_outliers"])
def test_denoised_data_state_no_noise(step):
    signal = synthetic.mixed_phases((12, 12), 60, 3, dose=50, seed=1).signal
    assert estimate_noise(signal).poisson
    cleaned = (
        em.preprocess.denoise(signal, 3)
        if step == "denoise"
        else (em.preprocess.separate_outliers(signal, max_iter=20).low_rank)
    )
    noise = estimate_noise(cleaned)
    assert step in noise.sentence() and math.isnan(noise.variance(9.0))
    assert "compressed" in estimate_noise(em.compress(signal, 5)).sentence()


def test_data_that_were_read_have_the_noise_of_those_that_were_not():
    counts = np.random.default_rng(1).poisson(clean(3)).astype(float)
    mask = np.zeros((40, 40), bool)
    mask[:3] = True
    read = observe(counts, mask=mask, keep_empty=True)
    one, other = vars(estimate_noise(read)), vars(estimate_noise(counts, mask=mask))
    assert one.pop("unknown") == other.pop("unknown") == ""
    np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-9)
    seen = np.ones(counts.shape)
    seen[5:9, :, :] = 0
    spoilt = np.where(seen > 0, counts, 1e6)
    noise = estimate_noise(observe(spoilt, weights=seen))
    assert noise.poisson and abs(noise.dispersion - 1) < 0.05


def test_noise_of_an_image_comes_from_differences():
    y, x = np.mgrid[:60, :60] / 60
    image = 5 * np.sin(2 * x) * y + 0.2 * np.random.default_rng(0).standard_normal((60, 60))
    noise = estimate_noise(image[..., np.newaxis])
    assert math.sqrt(noise.read_variance) == pytest.approx(0.2, rel=0.1) and noise.gain == 0
    assert "3 x 3" in estimate_noise(image[:2, :, np.newaxis]).sentence()


def test_hyperspy_model_goes_there_and_back():
    noise = NoiseModel(gain=2.0, offset=5.0)
    linear = noise.to_hyperspy()
    assert linear == {"gain_factor": 2.0, "gain_offset": -10.0, "correlation_factor": 1.0}
    back = NoiseModel.from_hyperspy(linear)
    mean = np.array([5.0, 8.0, 20.0])
    np.testing.assert_allclose(back.variance(mean), noise.variance(mean))
    assert NoiseModel.from_hyperspy({"correlation_factor": 3.0}).gain == 3.0
    assert NoiseModel.from_hyperspy({}).poisson


def whitened(counts):
    return weighted(counts, *whitening_weights(counts, NoiseModel(poisson=True)))


def test_scaled_counts_have_the_known_first_component():
    counts = np.random.default_rng(9).poisson(clean(2)).reshape(-1, 200)
    counts[5], counts[:, 7] = 0, 0
    total, a, b = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    scaled = whitened(counts) / math.sqrt(total)
    u, values, vt = np.linalg.svd(scaled, full_matrices=False)
    assert values[0] == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(np.abs(u[:, 0]), np.sqrt(a / total), atol=1e-12)
    np.testing.assert_allclose(np.abs(vt[0]), np.sqrt(b / total), atol=1e-12)


def test_whitening_keeps_sparse_data_sparse_and_equal():
    counts = np.random.default_rng(9).poisson(clean(2)).reshape(-1, 200)
    sparse = whitened(sp.csr_array(counts))
    assert sp.issparse(sparse) and sparse.nnz == np.count_nonzero(counts)
    np.testing.assert_allclose(sparse.toarray(), whitened(counts))


def test_whitened_noise_has_unit_variance():
    model = NoiseModel(gain=2.0, read_variance=9.0)
    mean = np.outer(np.linspace(1, 3, 500), np.linspace(2, 40, 80))
    noise = np.sqrt(model.variance(mean)) * np.random.default_rng(0).standard_normal(mean.shape)
    rows, columns = whitening_weights(mean, model)
    scaled = noise * rows[:, None] * columns
    np.testing.assert_allclose(scaled.var(), 1.0, atol=0.03)


def spiked_eigenvalue(strength, gamma):
    visible = np.maximum(strength, math.sqrt(gamma))
    return (1 + visible) * (1 + gamma / visible)


def test_spiked_formulas_agree_with_each_other():
    for gamma in (0.04, 0.5, 3.0):
        strength = detection_limit(gamma) * np.array([1.01, 1.5, 4.0, 100.0])
        np.testing.assert_allclose(
            spiked_strength(spiked_eigenvalue(strength, gamma), gamma), strength, rtol=1e-6
        )
        assert np.all(np.diff(spiked_overlap(strength, gamma)) > 0)
        assert spiked_eigenvalue(0.0, gamma) == pytest.approx((1 + math.sqrt(gamma)) ** 2)
        assert spiked_overlap(detection_limit(gamma), gamma) == 0


def test_spiked_formulas_agree_with_a_simulation():
    n, m, strength = 2000, 400, 1.2
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(m)
    direction /= np.linalg.norm(direction)
    X = rng.standard_normal((n, m)) + math.sqrt(strength) * np.outer(
        rng.standard_normal(n), direction
    )
    values, vectors = np.linalg.eigh(X.T @ X / n)
    assert values[-1] == pytest.approx(float(spiked_eigenvalue(strength, m / n)), rel=0.05)
    found = float(vectors[:, -1] @ direction) ** 2
    assert found == pytest.approx(float(spiked_overlap(strength, m / n)), abs=0.05)


REAL = {
    "mineral_71GPa": ("edxs/mineral_71GPa.hspy", True),
    "two_phase_50x50": ("edxs/two_phase_50x50.bcf", True),
    "NMC_Si": ("eels/NMC_Si.dm3", False),
}


def test_noise_of_data_below_zero_is_measured_like_that_above():
    clean = np.random.default_rng(3).random((200, 2)) @ np.random.default_rng(4).random((2, 50)) + 5
    data = clean + 0.1 * np.random.default_rng(5).normal(size=clean.shape)
    below, above = estimate_noise(-data), estimate_noise(data)
    found = [noise.gain * 6 + noise.read_variance for noise in (below, above)]
    np.testing.assert_allclose(found, 0.01, rtol=0.1)


@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    file, poisson = REAL[name]
    if not (DATA / file).exists():
        pytest.skip(f"{DATA / file} is not there; ENDMEMBER_DATA names the folder of real data")
    import hyperspy.api as hs

    loaded = hs.load(DATA / file)
    signals = loaded if isinstance(loaded, list) else [loaded]
    cube = next(s for s in signals if s.data.ndim == 3 and s.axes_manager.signal_dimension == 1)
    noise = estimate_noise(cube)
    assert noise.poisson == poisson
    if poisson:
        assert noise.white and abs(noise.dispersion - 1) < 0.1
    else:  # the scintillator spreads an electron over several channels
        assert noise.channel_correlation > 0.2 and noise.read_variance > 0


@pytest.mark.parametrize("count", [0, 1, 3, 63, 64, 65, 400])
def test_counts_are_split_as_a_binomial_does(count):
    half = heads(np.full((400, 500), count), np.random.default_rng(0)).ravel()
    error = 5 / np.sqrt(half.size)  # of five standard errors
    assert abs(half.mean() - count / 2) <= error * np.sqrt(count) / 2
    assert abs(half.var() - count / 4) <= error * np.sqrt(2) * count / 4 + 1e-3 * (count < 4)
    if count <= 64:
        drawn = np.bincount(half.astype(int), minlength=count + 1) / half.size
        expected = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        assert np.abs(drawn - expected).max() <= error


def test_sparse_counts_are_split_as_their_non_zeros_are():
    counts = sp.csr_array(np.random.default_rng(1).poisson(0.3, (50, 40)))
    half = heads(counts, np.random.default_rng(0))
    assert sp.issparse(half) and (half.toarray() <= counts.toarray()).all()
