"""The detector: counts come out with the variance that they have, and its own pattern goes."""

from __future__ import annotations

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from endmember.preprocess import (
    bad_channels,
    correct_detector,
    fixed_pattern,
    remove_afterglow,
    remove_fixed_pattern,
)
from endmember.signals.result.provenance import steps


def camera(rng, frames, electrons, gain, dark, conversion, read, dark_frames):
    """Raw frames of a camera, and its mean dark spectrum as measured."""
    light = rng.poisson(electrons * gain, (frames, electrons.size)) * conversion
    raw = light + dark + rng.normal(0, read, light.shape)
    return raw, dark + rng.normal(0, read / np.sqrt(dark_frames), dark.shape)


@pytest.mark.parametrize(("conversion", "read"), [(1.0, 0.0), (4.0, 7.0), (0.3, 2.0)])
def test_the_variance_is_that_of_repeated_measurements(conversion, read):
    rng, m, frames = np.random.default_rng(0), 12, 4
    electrons, gain = rng.uniform(40, 200, m), rng.uniform(0.7, 1.3, m)
    dark = rng.uniform(10, 20, m)
    found, stated = [], []
    for _ in range(4000):
        raw, measured = camera(rng, 1, electrons, gain, dark, conversion, read, frames)
        y, variance = correct_detector(
            raw, measured, gain, conversion=conversion, read_variance=read**2,
            dark_variance=read**2 / frames, with_variance=True,
        )  # fmt: skip
        found.append(y[0])
        stated.append(variance[0])
    np.testing.assert_allclose(np.mean(found, axis=0), electrons * conversion, rtol=0.02)
    assert abs(np.mean(np.mean(stated, axis=0) / np.var(found, axis=0)) - 1) < 0.02
    np.testing.assert_allclose(np.mean(stated, axis=0), np.var(found, axis=0), rtol=0.1)


def test_dead_and_hot_channels_are_found_and_become_missing():
    rng = np.random.default_rng(1)
    gain, dark = rng.normal(1, 0.05, 200), rng.normal(100, 2, 200)
    gain[[7, 30]], gain[31], dark[90] = 0.1, np.nan, 160
    bad = bad_channels(gain=gain, dark=dark)
    assert np.flatnonzero(bad).tolist() == [7, 30, 31, 90]
    assert np.flatnonzero(bad_channels(dark=dark)).tolist() == [90]
    y = correct_detector(np.full((2, 3), 10.0), gain=[1.0, 0.0, 2.0])
    np.testing.assert_array_equal(y, [[10, np.nan, 5]] * 2)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rests", [True, False])
def test_afterglow_of_known_strength_goes_without_a_trace(axis, rests):
    """Each reading leaves the powers of its strength on all that follow, of its line or of the whole scan."""
    rng = np.random.default_rng(2)
    light = rng.poisson(40, (6, 9, 30)).astype(float)
    light[3, 4, 10] += 5000
    scan = np.moveaxis(light, axis, 1)
    lines = scan if rests else scan.reshape(1, -1, 30)
    n = lines.shape[1]
    decay = np.tril(0.02 ** np.maximum(np.subtract.outer(np.arange(n), np.arange(n)), 0.0))
    seen = np.moveaxis((decay @ lines).reshape(scan.shape), 1, axis)
    found = remove_afterglow(seen, 0.02, axis=axis, rests=rests)
    np.testing.assert_allclose(found, light, rtol=1e-12)


def wobbled(shifts, channels, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    low, high = min(shifts), max(shifts)
    length = channels + high - low
    spectrum = 100 * np.exp(-0.5 * ((np.arange(length) - length / 2) / 4) ** 2) + rng.uniform(
        20, 40, length
    )
    pattern = rng.normal(0, 3, channels)
    pattern -= pattern.mean()
    seen = np.stack([spectrum[high - d : high - d + channels] + pattern for d in shifts])
    return seen + rng.normal(0, noise, seen.shape), spectrum, pattern


@pytest.mark.parametrize("shifts", [[0, 1, 3, 7, 12, 15, 20, 26], [-9, 4, 0, 11], [0, 1]])
def test_a_planted_pattern_is_found_and_removed(shifts):
    seen, spectrum, pattern = wobbled(shifts, 60)
    np.testing.assert_allclose(fixed_pattern(seen, shifts), pattern, atol=1e-8 * np.abs(seen).max())
    first, last = max(0, -min(shifts)), 60 - max(0, max(shifts))
    clean = remove_fixed_pattern(seen, shifts)
    expected = spectrum[max(shifts) + first : max(shifts) + last]
    np.testing.assert_allclose(clean, np.tile(expected, (len(shifts), 1)), rtol=1e-8)


@pytest.mark.parametrize("shifts", [[0, 1], [0, 1, 3], [0, 1, 3, 7, 12], list(range(10))])
def test_a_noisy_pattern_is_shrunk_and_never_worse_than_none(shifts):
    for seed in range(3):
        seen, _, pattern = wobbled(shifts, 120, seed, noise=6.0)
        error = fixed_pattern(seen, shifts) - pattern
        assert np.sum(error**2) < np.sum(pattern**2)


def test_the_pattern_is_the_best_linear_prediction_at_the_largest_restricted_likelihood():
    """Mixed-model equations of full size, their variances by a general minimiser."""
    shifts, m = [0, 1, 3, 7], 30
    seen, _, _ = wobbled(shifts, m, 1, noise=2.0)
    y = seen.ravel()
    pattern = np.tile(np.eye(m), (4, 1))
    spectrum = np.concatenate([np.eye(m + 7)[7 - d : 7 - d + m] for d in shifts])
    contrasts = null_space(spectrum.T).T

    def covariance(logs):
        return np.exp(logs[0]) * np.eye(y.size) + np.exp(logs[1]) * pattern @ pattern.T

    def cost(logs):
        return -multivariate_normal.logpdf(
            contrasts @ y, cov=contrasts @ covariance(logs) @ contrasts.T
        )

    best = minimize(cost, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    inverse = np.linalg.inv(covariance(best.x))
    s = np.linalg.solve(spectrum.T @ inverse @ spectrum, spectrum.T @ inverse @ y)
    expected = np.exp(best.x[1]) * pattern.T @ inverse @ (y - spectrum @ s)
    np.testing.assert_allclose(fixed_pattern(seen, shifts), expected, atol=1e-4)


@pytest.mark.parametrize("shifts", [[0, 4, 8, 20], [3, 9, 6], [0, 2], [1, 2, 4], [5, 0, 7]])
def test_what_cannot_be_told_apart_is_as_large_as_the_common_divisor(shifts):
    from endmember.preprocess.detector import _wobble_design

    design = _wobble_design(np.array(shifts), 40).toarray()
    nullity = design.shape[1] - np.linalg.matrix_rank(design)
    step = np.gcd.reduce(np.diff(shifts))
    assert nullity == step
    seen, _, _ = wobbled(shifts, 40)
    if step > 1:
        with pytest.raises(ValueError, match=f"multiples of {step} channels"):
            fixed_pattern(seen, shifts)
    else:
        assert fixed_pattern(seen, shifts).shape == (40,)


@pytest.mark.parametrize("scale", [1e-9, 1e7])
def test_the_unit_of_the_data_does_not_matter(scale):
    shifts = [0, 1, 3, 8]
    seen, _, _ = wobbled(shifts, 50, noise=1.0)
    one, other = fixed_pattern(seen, shifts), fixed_pattern(scale * seen, shifts)
    np.testing.assert_allclose(other, scale * one, rtol=1e-6, atol=1e-8 * scale * np.abs(one).max())


FUNCTIONS = {
    "correct": lambda X: correct_detector(X, dark=np.arange(20.0), gain=1.5),
    "variance": lambda X: correct_detector(X, dark=2.0, with_variance=True)[1],
    "afterglow": lambda X: remove_afterglow(X, 0.01),
    "restless": lambda X: remove_afterglow(X, 0.01, rests=False),
    "pattern": lambda X: remove_fixed_pattern(X, [0, 1, 3, -2, 5, 4]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_lazy_is_eager_and_a_signal_is_its_array(name, dtype):
    data = np.random.default_rng(3).poisson(50, (4, 6, 20)).astype(dtype)
    function, before = FUNCTIONS[name], data.copy()
    expected = function(data)
    assert expected.dtype == (np.float32 if dtype == np.float32 else np.float64)
    lazy = function(da.from_array(data, chunks=(2, 4, 7)))
    assert isinstance(lazy, da.Array) and lazy.dtype == expected.dtype
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-5)
    signal = hs.signals.Signal1D(data)
    np.testing.assert_array_equal(function(signal).data, expected)
    np.testing.assert_allclose(function(signal.as_lazy()).data.compute(), expected, rtol=1e-5)
    np.testing.assert_array_equal(data, before)
    assert len(steps(function(signal))) == 1


def test_energies_are_those_of_shift_zero():
    signal = hs.signals.Signal1D(np.zeros((3, 30)))
    signal.axes_manager[-1].offset = 400.0
    axis = remove_fixed_pattern(signal, [0, -4, 3], pattern=np.zeros(30)).axes_manager[-1]
    assert axis.offset == 404.0 and axis.size == 23


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda X: correct_detector(X, dark=np.ones(9)), "10 channels"),
        (lambda X: correct_detector(X, conversion=0), "conversion"),
        (lambda X: remove_afterglow(X, 1.5), "strength"),
        (lambda X: remove_afterglow(X, 0.1, axis=-1), "axis"),
        (lambda X: fixed_pattern(X, [0, 1]), "one for each"),
        (lambda X: fixed_pattern(X, [0, 1.5, 2]), "whole channels"),
        (lambda X: fixed_pattern(X, [0, 1, 12]), "nothing is shared"),
        (lambda X: fixed_pattern(X, [2, 2, 2]), "undetermined"),
        (lambda X: remove_fixed_pattern(X, [0, 1, 2], pattern=np.ones(4)), "pattern has the shape"),
        (lambda X: bad_channels(), "give dark="),
    ],
)
def test_what_does_not_fit_is_refused(function, said):
    with pytest.raises(ValueError, match=said):
        function(np.ones((3, 10)))
