"""Spikes: planted ones are found, pure noise and real edges are left alone, and repair touches nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
from scipy import stats

import endmember as em
from endmember.factor.noise.model import NoiseModel
from endmember.preprocess import find_spikes, remove_spikes
from endmember.preprocess.spikes import _tail

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real data is not here")
PHANTOM = em.synthetic.mixed_phases((24, 24), channels=256, background=True, dose=200)


def planted(data, height, number=120, seed=0):
    """Spikes of one channel each, ``height`` standard deviations of Poisson noise above the data."""
    rng, hit = np.random.default_rng(seed), np.array(data).ravel()
    places = rng.choice(hit.size, number, replace=False)
    hit[places] += np.maximum(height * np.sqrt(np.maximum(hit[places], 1)), 20).astype(hit.dtype)
    mask = np.zeros(hit.shape, dtype=bool)
    mask[places] = True
    return hit.reshape(data.shape), mask.reshape(data.shape)


@pytest.mark.parametrize("height", [20, 200])
def test_planted_spikes_are_found_and_nothing_else(height):
    data = PHANTOM.signal.data.astype(np.int64)
    hit, truth = planted(data, height)
    found = find_spikes(hit, grow=0)
    assert found[truth].mean() >= 0.99
    assert np.sum(found & ~truth) <= 2


@pytest.mark.parametrize("mean", [0.05, 1, 100])
def test_pure_poisson_noise_has_no_spikes(mean):
    data = np.random.default_rng(1).poisson(mean, (32, 32, 256))
    assert find_spikes(data, grow=0).mean() <= 1e-5


@pytest.mark.parametrize("level", [0.3, 4.0, 40.0])
def test_the_tail_is_that_of_poisson_where_the_mean_is_known(level):
    noise = NoiseModel(poisson=True)
    x = np.arange(np.ceil(level) + 1, level + 6 * np.sqrt(level) + 4)
    found = _tail(x, np.full(x.shape, level), np.full(x.shape, level * 1e-9), noise)
    np.testing.assert_allclose(found, stats.poisson.sf(x - 1, level), rtol=1e-4)


def test_false_alarms_are_rarer_than_the_tail_probability_promises():
    # Surroundings of few counts say little about their mean; the law allows for that.
    data = np.random.default_rng(2).poisson(0.7, (40, 40, 200))
    assert find_spikes(data, grow=0, probability=1e-2).mean() < 1e-2


@pytest.mark.parametrize("gain", [0.25, 30.0, 1e-9, 1e7])
def test_the_unit_of_the_data_does_not_matter(gain):
    hit, _ = planted(PHANTOM.signal.data.astype(np.int64), 30)
    np.testing.assert_array_equal(
        find_spikes(hit * gain, noise=NoiseModel(gain=gain)),
        find_spikes(hit * 1.0, noise=NoiseModel()),
    )


def test_spikes_that_spread_over_channels_are_taken_whole():
    data = np.random.default_rng(3).poisson(10, (16, 16, 100)).astype(float)
    data[5, 5, 48:53] += [60, 400, 2000, 300, 50]
    found = find_spikes(data, grow=0)
    assert found[5, 5, 48:53].all() and found.sum() == 5
    assert find_spikes(data, grow=2)[5, 5, 46:55].all()


def test_the_afterglow_in_the_next_pixel_is_marked():
    data = np.random.default_rng(4).poisson(30, (12, 12, 80)).astype(float)
    data[4, 6, 40] += 3000
    data[4, 7, 40] = 64  # too little to be a spike of its own
    assert find_spikes(data, grow=0)[4, 7].tolist() == [i == 40 for i in range(80)]
    assert not find_spikes(data, grow=0, afterglow=False)[4, 7].any()


def test_one_spike_does_not_hide_another_beside_it():
    data = np.random.default_rng(5).poisson(20, (12, 12, 80)).astype(float)
    for place in [(4, 4, 30), (4, 5, 30), (4, 4, 33), (7, 7, 31)]:
        data[place] += 900
    found = find_spikes(data, grow=0, afterglow=False)
    assert found.sum() == 4 and found[4, 4, 30] and found[4, 5, 30] and found[4, 4, 33]


def test_edges_of_energy_and_of_particles_are_no_spikes():
    energy = np.arange(120)
    line = 2000 * np.exp(-0.5 * ((energy - 50) / 0.8) ** 2)  # sharper than any edge
    matrix, particle = np.full(120, 20.0), 20 + 400.0 * (energy > 70) + line
    where = np.zeros((20, 20), dtype=bool)
    where[5:9, 6:9], where[14:, :] = True, True
    clean = np.where(where[..., None], particle, matrix)
    thickness = np.random.default_rng(6).uniform(0.9, 1.1, (20, 20, 1))
    data = np.random.default_rng(7).poisson(clean * thickness)
    assert not find_spikes(data).any()


@pytest.mark.parametrize("shape", [(9, 64), (2, 30, 64), (1, 30, 64), (3, 10, 12, 64)])
def test_any_domain_has_its_neighbours(shape):
    data = np.random.default_rng(8).poisson(25, shape)
    place = (*(size // 2 for size in shape[:-1]), 20)
    data[place] += 500
    np.testing.assert_array_equal(np.argwhere(find_spikes(data, grow=0)), [place])


@pytest.mark.parametrize("chunks", [(24, 24, 256), (5, 7, 256), (1, 24, 100)])
def test_lazy_is_eager_and_a_signal_is_its_array(chunks):
    hit, _ = planted(PHANTOM.signal.data.astype(np.uint16), 25)
    found, repaired = find_spikes(hit), remove_spikes(hit)
    lazy = hs.signals.Signal1D(hit).as_lazy()
    lazy.data = lazy.data.rechunk(chunks)
    np.testing.assert_array_equal(find_spikes(lazy.data).compute(), found)
    np.testing.assert_array_equal(find_spikes(lazy).data.compute(), found)
    after = remove_spikes(lazy)
    assert isinstance(after.data, da.Array) and after.data.dtype == np.uint16
    np.testing.assert_array_equal(after.data.compute(), repaired)
    np.testing.assert_array_equal(remove_spikes(hs.signals.Signal1D(hit)).data, repaired)
    np.testing.assert_array_equal(
        remove_spikes(lazy, find_spikes(lazy)).data.compute(), remove_spikes(hit, found)
    )


def test_a_slab_at_a_time_is_everything_at_once(monkeypatch):
    hit, _ = planted(PHANTOM.signal.data.astype(np.uint16), 25)
    whole = find_spikes(hit)
    monkeypatch.setattr("endmember.preprocess.lifting._SLAB", 1)
    np.testing.assert_array_equal(find_spikes(hit), whole)


def test_repair_restores_the_data_and_touches_nothing_else():
    data = PHANTOM.signal.data.astype(np.int64)
    hit, truth = planted(data, 50)
    before = hit.copy()
    mask = find_spikes(hit)
    repaired = remove_spikes(hit)
    np.testing.assert_array_equal(hit, before)
    np.testing.assert_array_equal(repaired[~mask], data[~mask])
    error = (repaired - PHANTOM.clean)[truth] / np.sqrt(PHANTOM.clean[truth] + 1)
    assert np.sqrt(np.mean(error**2)) < 1.5  # a straight line is as good as a noisy channel


def test_repair_follows_a_straight_line_through_missing_data():
    line = np.arange(12, dtype=np.float32)[None] * np.ones((3, 1), np.float32)
    mask = np.zeros(line.shape, dtype=bool)
    mask[1, 4:7], mask[2] = True, True
    broken = np.where(mask, np.float32(1e6), line)
    repaired = remove_spikes(broken, mask)
    assert repaired.dtype == np.float32
    np.testing.assert_allclose(repaired[:2], line[:2])
    np.testing.assert_array_equal(repaired[2], broken[2])  # nothing to go by


def test_missing_entries_are_no_spikes_and_hide_none():
    data = np.random.default_rng(9).poisson(30, (10, 10, 60)).astype(float)
    data[3, 3, 20] += 900
    data[3, 3, 18] = data[2, 3, 20] = np.nan
    found = find_spikes(data, grow=2)
    assert found[3, 3, 20] and not found[3, 3, 18] and not found[2, 3].any()


@pytest.mark.parametrize(
    ("X", "options", "said"),
    [
        (np.ones(50), {}, "neighbours"),
        (np.ones((1, 50)), {}, "1 pixels"),
        (np.ones((5, 4)), {}, "4 channels"),
        (np.ones((5, 50)), {"probability": 0}, "between 0 and 1"),
        (np.ones((5, 50)), {"grow": -1}, "whole number"),
    ],
)
def test_what_cannot_be_searched_is_refused(X, options, said):
    with pytest.raises(ValueError, match=said):
        find_spikes(X, **options)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(5, 49\)"):
        remove_spikes(np.ones((5, 50)), np.ones((5, 49), dtype=bool))


@REAL
def test_the_spike_of_a_real_file_is_found_and_its_edges_are_not():
    signal = em.load(DATA / "eels" / "NMC_TM_O.dm3")
    mask = find_spikes(signal, grow=0).data
    assert np.argmax(signal.data[0, 0]) == 1627 and mask[0, 0, 1627]  # far beyond every edge
    assert mask.sum() <= 3


@REAL
def test_real_zero_loss_peaks_are_left_alone():
    assert not find_spikes(em.load(DATA / "eels" / "NMC_zero_loss.dm3")).data.any()


@REAL
def test_spikes_planted_into_a_real_file_are_found():
    data = em.load(DATA / "eels" / "NMC_zero_loss.dm3").data.astype(float)
    places = np.random.default_rng(0).choice(data.size, 100, replace=False)
    hit = data.copy().ravel()
    hit[places] += 60 * np.sqrt(3 * np.maximum(hit[places], 0) + 70)
    assert find_spikes(hit.reshape(data.shape), grow=0).ravel()[places].mean() >= 0.99
