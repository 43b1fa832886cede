"""Denoising: what few components hold is kept, what fits none is found, and the limit is named."""

import logging

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

from endmember.factor.noise.model import NoiseModel
from endmember.preprocess import denoise, separate_outliers
from endmember.signals.result.provenance import steps

RNG = np.random.default_rng(0)
CLEAN = (RNG.dirichlet([1, 1, 1], 400) @ (RNG.random((3, 60)) * 40)).reshape(20, 20, 60)
COUNTS = RNG.poisson(CLEAN)


def planted(n=150, m=100, rank=4, share=0.05, seed=3):
    rng = np.random.default_rng(seed)
    low = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m))
    sparse = np.where(rng.random((n, m)) < share, rng.uniform(-20, 20, (n, m)), 0.0)
    return low, sparse


def test_denoising_takes_most_of_the_noise_and_keeps_exact_data():
    before = np.mean((COUNTS - CLEAN) ** 2)
    after = np.mean((denoise(COUNTS, 3) - CLEAN) ** 2)
    expected = 3 / 60 + 3 / 400 - 9 / 24000  # directions kept, of all that noise has
    assert 0.8 * expected < after / before < 1.3 * expected
    np.testing.assert_allclose(denoise(CLEAN, 3), CLEAN, rtol=1e-8)


def test_denoising_is_the_projection_on_the_components_of_whitened_counts():
    X = COUNTS.reshape(-1, 60).astype(float)
    r, c = 1 / np.sqrt(X.sum(axis=1)), 1 / np.sqrt(X.sum(axis=0))
    V = np.linalg.svd(r[:, None] * X * c, full_matrices=False)[2][:3].T
    expected = ((X * c) @ V) @ V.T / c
    np.testing.assert_allclose(denoise(X, 3, noise=NoiseModel(poisson=True)), expected, rtol=1e-7)


def test_weights_find_the_weak_component_that_plain_components_miss():
    rng = np.random.default_rng(4)
    channels = np.arange(100)
    maps = rng.dirichlet([1, 1], 500)
    strong = np.where(channels < 30, 400.0, 0.3)
    weak = np.where(channels < 30, 400.0, 0.3) + np.where(channels > 60, 0.6, 0.0)
    clean = maps @ np.stack([strong, weak])
    counts = rng.poisson(clean)
    quiet = slice(61, None)
    ours = denoise(counts, 2, noise=NoiseModel(poisson=True))[:, quiet].mean(axis=1)
    U, s, Vt = np.linalg.svd(counts.astype(float), full_matrices=False)
    plain = ((U[:, :2] * s[:2]) @ Vt[:2])[:, quiet].mean(axis=1)
    truth = clean[:, quiet].mean(axis=1)
    assert np.corrcoef(ours, truth)[0, 1] > 0.8 > 0.3 > np.corrcoef(plain, truth)[0, 1]


def test_components_below_the_limit_are_named(caplog):
    with caplog.at_level(logging.WARNING, logger="endmember"):
        denoise(COUNTS, 3)
        assert not caplog.records
        denoise(COUNTS, 9)
    assert "6 of the 9 components" in caplog.text


def test_a_component_that_noise_has_turned_is_named(caplog):
    rng = np.random.default_rng(5)
    n, m = 400, 200
    spectrum = np.full(m, m**-0.5)
    X = rng.standard_normal((n, m)) + np.outer(rng.standard_normal(n) * 1.3, spectrum)
    with caplog.at_level(logging.WARNING, logger="endmember"):
        denoise(X, 1, noise=NoiseModel(gain=0.0, read_variance=1.0))
    assert "turned the weakest component" in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_robust_components_recover_a_planted_pair_exactly(seed):
    low, sparse = planted(seed=seed)
    found = separate_outliers(low + sparse)
    np.testing.assert_allclose(found.low_rank, low, atol=1e-5 * np.abs(low).max())
    np.testing.assert_array_equal(np.abs(found.outliers) > 1e-4, sparse != 0)


@pytest.mark.parametrize("kind", ["normal", "counts", "gain 4"])
@pytest.mark.parametrize("seed", range(2))
def test_noise_is_in_neither_part(kind, seed):
    """Below the edge of its singular values noise is no component, below its largest entry no outlier."""
    rng = np.random.default_rng(seed)
    low = 60 * rng.dirichlet([1, 1, 1], 200) @ rng.random((3, 80))
    hit = rng.random(low.shape) < 0.03
    sparse = np.where(hit, rng.uniform(12, 40, low.shape).round() * np.sqrt(low + 1).round(), 0.0)
    noise = rng.normal(0, 3, low.shape) if kind == "normal" else rng.poisson(low) - low
    gain = 4.0 if kind == "gain 4" else 1.0
    found = separate_outliers(gain * (low + noise + sparse))
    assert np.linalg.matrix_rank(found.low_rank) == 3
    assert np.sum((found.outliers != 0) & ~hit) <= 4 and np.mean(found.outliers[hit] != 0) > 0.99
    assert np.mean((found.low_rank - gain * low) ** 2) < 0.12 * gain**2 * np.mean(noise**2)


def test_separated_parts_sum_to_the_data_and_scale_with_them():
    low, sparse = planted()
    found = separate_outliers(low + sparse)
    np.testing.assert_allclose(found.low_rank + found.outliers, low + sparse, atol=1e-12)
    scaled = separate_outliers(1e7 * (low + sparse))
    np.testing.assert_allclose(scaled.outliers, 1e7 * found.outliers, rtol=1e-6, atol=1.0)
    assert np.count_nonzero(separate_outliers(low + sparse, sparsity=50).outliers) == 0


def test_a_dead_line_of_the_camera_is_screened():
    data = CLEAN.copy()
    data[4, :, 20] += 500.0
    found = separate_outliers(data)
    image = np.abs(found.outliers).sum(axis=-1)
    assert set(np.argwhere(image > 100)[:, 0]) == {4}
    np.testing.assert_allclose(found.low_rank, CLEAN, atol=1e-3 * CLEAN.max())


@pytest.mark.parametrize("function", [lambda X: denoise(X, 3), separate_outliers])
def test_lazy_float32_signal_and_input(function):
    def parts(result):
        return result if isinstance(result, tuple) else (result,)

    given = COUNTS.copy()
    plain = parts(function(given))
    np.testing.assert_array_equal(given, COUNTS)
    lazy = parts(function(da.from_array(COUNTS, chunks=(7, 9, 25))))
    single = parts(function(COUNTS.astype(np.float32)))
    signals = parts(function(hs.signals.Signal1D(COUNTS)))
    for one, two, three, four in zip(plain, lazy, single, signals, strict=True):
        assert isinstance(two, da.Array) and three.dtype == np.float32
        np.testing.assert_allclose(two.compute(), one, atol=1e-6)
        np.testing.assert_allclose(three, one, atol=2e-3)
        np.testing.assert_array_equal(four.data, one)
        assert steps(four)[0]["step"] in ("denoise", "separate_outliers")


@pytest.mark.parametrize("rank", [0, 61, 2.5, True, None])
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ValueError, match="whole number from 1 to 60"):
        denoise(COUNTS, rank)


def test_wrong_options_of_the_separation_are_refused():
    with pytest.raises(ValueError, match="not positive"):
        separate_outliers(COUNTS, sparsity=0)
    with pytest.raises(ValueError, match="at least 1"):
        separate_outliers(COUNTS, max_iter=0)
    holed = CLEAN.copy()
    holed[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        separate_outliers(holed)
