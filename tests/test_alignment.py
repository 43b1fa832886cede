"""Alignment: planted shifts come back, counts stay counts, ends are neither wrapped nor silently lost."""

import logging
import os
from pathlib import Path

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.preprocess import align, find_shifts

ENERGY = np.arange(-30.0, 70.0)
DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


def peaks(shifts, height=1000.0, width=2.0):
    """Gaussian zero-loss peaks (*domain, channels) at shifts (*domain)."""
    return height * np.exp(-0.5 * ((ENERGY - np.asarray(shifts)[..., None]) / width) ** 2)


def edges(shifts, rng=None):
    """Core-loss spectra at shifts: a background, an edge and two peaks on it."""
    E = np.arange(160.0) - np.asarray(shifts)[..., None]
    clean = 60 * np.exp(-E / 90)
    clean = clean + 40 / (1 + np.exp(-(E - 60) / 1.5))
    clean = (
        clean + 80 * np.exp(-0.5 * ((E - 66) / 3) ** 2) + 60 * np.exp(-0.5 * ((E - 100) / 4) ** 2)
    )
    return clean if rng is None else rng.poisson(10 * clean)


def test_a_gaussian_peak_is_placed_exactly():
    planted = np.array([[0.0, 0.37, -1.2], [2.5, -0.01, 0.0]])
    found = find_shifts(peaks(planted), method="zero_loss")
    np.testing.assert_allclose(found, planted - np.median(planted), atol=1e-10)
    np.testing.assert_allclose(
        find_shifts(1e-9 * peaks(planted), method="zero_loss"), found, atol=1e-9
    )


def test_a_planted_whole_shift_comes_back_exactly_and_counts_stay_counts():
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.maximum(peaks(np.zeros((4, 6))), 0.0))
    planted = rng.integers(-3, 4, (4, 6))
    planted[:2, :4] = 0  # the median
    moved = np.array(
        [np.roll(x, d) for x, d in zip(counts.reshape(24, -1), planted.ravel(), strict=True)]
    )
    moved = moved.reshape(4, 6, -1)
    np.testing.assert_array_equal(np.rint(find_shifts(moved, method="zero_loss")), planted)
    found = align(moved, method="zero_loss")
    assert found.dtype == counts.dtype
    np.testing.assert_array_equal(found, counts[..., 3:-3])


def test_ends_are_cut_with_a_word_or_kept_as_nan(caplog):
    X = np.tile(np.arange(10.0), (3, 1))
    shifts = [0.0, 2.0, -1.0]
    with caplog.at_level(logging.WARNING, logger="endmember"):
        cut = align(X, shifts=shifts)
    assert "1 channels at the lower and 2 at the upper end" in caplog.text
    kept = align(X, shifts=shifts, ends="nan")
    np.testing.assert_array_equal(cut, kept[:, 1:8])
    assert np.isnan(kept[1, 8:]).all() and np.isnan(kept[2, 0]) and np.isfinite(kept[0]).all()
    np.testing.assert_array_equal(cut, np.arange(1.0, 8.0) + np.array(shifts)[:, None])


def test_reading_between_channels_gives_back_what_was_shifted():
    planted = np.array([0.0, 0.43, -1.7, 0.0, 2.2])
    clean = edges(planted)
    found = align(clean, shifts=planted)
    start = 1 + 2  # one channel more for the cubic
    still = edges(np.zeros(5))[:, start : start + found.shape[1]]
    assert np.abs(found - still).max() < 0.003 * still.max()


def test_correlation_finds_shifts_of_noisy_edges_between_channels():
    rng = np.random.default_rng(1)
    planted = np.linspace(-2, 2, 60).reshape(6, 10)
    found = find_shifts(edges(planted, rng), max_shift=6)
    assert np.std(found - planted) < 0.1
    noise = rng.standard_normal((6, 10))
    rough = find_shifts(peaks(planted + 0.3 * noise), method="zero_loss")
    smooth = find_shifts(peaks(planted + 0.3 * noise), method="zero_loss", smooth=3)
    assert np.std((smooth - planted)[1:-1, 1:-1]) < 0.7 * np.std((rough - planted)[1:-1, 1:-1])
    left = find_shifts(align(edges(planted).astype(float), shifts=planted), max_shift=6)
    assert np.abs(left).max() < 0.02


def test_a_spectrum_that_matches_nowhere_stays_and_a_warning_says_so(caplog):
    planted = np.linspace(-2, 2, 12)
    X = edges(planted)
    X[3] = 500 * np.exp(-0.5 * ((np.arange(160) - 52) / 6) ** 2)  # what only this pixel has
    with caplog.at_level(logging.WARNING, logger="endmember"):
        found = find_shifts(X, max_shift=10)
    assert "1 of 12 spectra match the others nowhere within 10 channels" in caplog.text
    others = np.arange(12) != 3
    assert found[3] == 0 and np.std((found - planted)[others]) < 0.1


def test_the_low_loss_says_how_to_shift_the_core_loss_in_its_own_channels():
    planted = np.array([[0.0, 0.5, -0.5], [1.5, 0.0, -1.0]])
    low = hs.signals.Signal1D(peaks(planted))
    low.axes_manager[-1].offset, low.axes_manager[-1].scale = -30.0, 1.0
    core = hs.signals.Signal1D(edges(2 * planted))
    core.axes_manager[-1].offset, core.axes_manager[-1].scale = 400.0, 0.5
    np.testing.assert_allclose(find_shifts(core, low), 2 * planted, atol=1e-9)
    found = align(core, low)
    flat = found.data - found.data[0, 0]
    assert np.abs(flat).max() < 0.003 * core.data.max()
    axis = found.axes_manager[-1]
    assert axis.offset == 400.0 + 0.5 * round((axis.offset - 400.0) / 0.5) and axis.offset > 400.0
    assert em.preprocess.align.__name__ in found.metadata.Endmember.steps


def test_lazy_data_stay_lazy_and_agree_and_the_input_stays():
    X = edges(np.linspace(-1, 1, 12).reshape(3, 4))
    before = X.copy()
    lazy = align(da.from_array(X, chunks=(1, 4, 160)), max_shift=5)
    assert hasattr(lazy, "dask")
    np.testing.assert_allclose(lazy.compute(), align(X, max_shift=5), atol=1e-9)
    np.testing.assert_array_equal(X, before)
    assert align(X.astype(np.float32), max_shift=5).dtype == np.float32


def test_the_history_says_that_noise_is_correlated():
    signal = hs.signals.Signal1D(edges(np.linspace(-1, 1, 6)))
    assert '"interpolate": true' in align(signal, max_shift=5).metadata.Endmember.steps
    signal.data = np.rint(signal.data).astype(int)
    assert '"interpolate": false' in align(signal, max_shift=5).metadata.Endmember.steps


@pytest.mark.parametrize(
    "options, said",
    [
        ({"method": "peak"}, "not known"),
        ({"window": (3, 5)}, "at least 5"),
        ({"shifts": [1.0]}, "do not fit"),
        ({"shifts": [200.0, 0.0, 0.0]}, "leave none"),
        ({"max_shift": -1}, "above zero"),
        ({"smooth": 0}, "whole number"),
        ({"ends": "wrap"}, "not known"),
        ({"low_loss": np.ones((2, 20))}, "must agree"),
    ],
)
def test_what_cannot_work_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        align(edges(np.zeros(3)), **options)


def test_counts_cannot_hold_nan():
    with pytest.raises(ValueError, match="counts cannot hold NaN"):
        align(np.ones((2, 20), int), shifts=[0, 1], ends="nan")


@pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real data; set ENDMEMBER_DATA")
def test_a_real_zero_loss_peak_aligns_to_a_tenth_of_a_channel():
    signal = em.load(DATA / "eels" / "NMC_zero_loss.dm3")
    rough = signal.estimate_zero_loss_peak_centre().data / signal.axes_manager[-1].scale
    shifts = find_shifts(signal)
    assert np.abs(shifts - (rough - np.median(rough))).max() < 1.0  # HyperSpy's whole channels
    assert shifts.std() > 0.3
    aligned = align(signal)
    assert find_shifts(aligned, method="correlation", window=(-10, 10)).std() < 0.1


@pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real data; set ENDMEMBER_DATA")
def test_a_real_core_loss_follows_its_low_loss():
    low = em.load(DATA / "eels" / "LSMO_STO_linescan_low_loss.hspy")
    core = em.load(DATA / "eels" / "LSMO_STO_linescan.hspy")
    planted = np.linspace(-3, 3, 10).round()
    for signal in (low, core):
        rows = zip(signal.data, planted.astype(int), strict=True)
        signal.data = np.array([np.roll(x, d) for x, d in rows])
    found = find_shifts(core, low)
    np.testing.assert_allclose(found - found.mean(), planted - planted.mean(), atol=0.05)


def test_an_uneven_axis_is_not_moved_by_channels():
    X = np.random.default_rng(0).poisson(50.0, (3, 4, 40))
    signal = hs.signals.Signal1D(X)
    signal.axes_manager[-1].convert_to_non_uniform_axis()
    signal.axes_manager[-1].axis = energy = np.geomspace(400.0, 700.0, 40)
    for move in (
        lambda: align(signal),
        lambda: align(signal, shifts=np.zeros((3, 4))),
        lambda: find_shifts(X, energy=energy),
        lambda: em.Drifting(em.NMF(2)).fit(signal),
    ):
        with pytest.raises(em.EndmemberError, match="not evenly spaced"):
            move()
