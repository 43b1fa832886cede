"""Lifting: what a function on arrays promises once signals and lazy data are given to it."""

from __future__ import annotations

import json

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

from endmember.factor.noise.model import NoiseModel
from endmember.preprocess.lifting import Cropped, lifted, map_pixels, map_whole
from endmember.signals.result.provenance import data_hash, steps

CUBE = np.random.default_rng(0).poisson(5, (6, 7, 10)).astype(np.uint16)


@lifted
def spread(X, strength=0.5, energy=None, noise=None):
    """Depends on the neighbours of a pixel, on all channels, and on the energies."""
    energies = np.arange(X.shape[-1]) if energy is None else energy

    def block(data):
        padded = np.pad(data, [(1, 1)] * (data.ndim - 1) + [(0, 0)], mode="edge")
        near = padded
        for axis in range(data.ndim - 1):
            size = padded.shape[axis]
            near = sum(np.take(near, np.arange(i, size - 2 + i), axis=axis) for i in range(3))
        return data - strength * near + energies * data.sum(axis=-1, keepdims=True)

    return map_pixels(block, X, margin=1)


@lifted
def centre(X):
    """Needs all pixels."""
    return map_whole(lambda data: (data - data.mean(axis=0), data * 2), X, results=2)


@lifted
def without_ends(X):
    return Cropped(X[..., 2:-3], 2)


def signal_of(data, **axis):
    made = hs.signals.Signal1D(data)
    made.axes_manager[-1].scale, made.axes_manager[-1].offset = 0.5, 400.0
    made.metadata.General.title = "sample"
    return made


@pytest.mark.parametrize("chunks", [(2, 3, 4), (6, 7, 10), (1, 7, 10)])
@pytest.mark.parametrize("function", [spread, lambda X: centre(X)[0], lambda X: centre(X)[1]])
def test_lazy_is_eager_and_stays_lazy(function, chunks):
    expected = function(CUBE)
    found = function(da.from_array(CUBE, chunks=chunks))
    assert isinstance(found, da.Array)
    np.testing.assert_allclose(found.compute(), expected, rtol=1e-14)


def test_a_signal_gives_what_its_array_and_energies_give():
    signal = signal_of(CUBE)
    expected = spread(CUBE, energy=400 + 0.5 * np.arange(10))
    found = spread(signal)
    np.testing.assert_array_equal(found.data, expected)
    assert type(found) is type(signal)
    assert found.axes_manager[-1].offset == 400.0 and found.metadata.General.title == "sample"
    lazy = spread(signal.as_lazy())
    assert lazy._lazy and isinstance(lazy.data, da.Array)
    np.testing.assert_allclose(lazy.data.compute(), expected, rtol=1e-14)


def test_the_energy_axis_may_stand_anywhere_in_the_array():
    signal = signal_of(CUBE)
    turned = hs.signals.BaseSignal(np.moveaxis(CUBE, -1, 0)).transpose(signal_axes=[2])
    turned.axes_manager[-1].scale, turned.axes_manager[-1].offset = 0.5, 400.0
    found = spread(turned)
    np.testing.assert_array_equal(
        np.moveaxis(found.data, found.axes_manager.signal_indices_in_array[0], -1),
        spread(signal).data,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int32, np.float16, bool])
def test_precision_is_kept_and_nothing_given_is_edited(dtype):
    data = (CUBE % 2).astype(dtype)
    before = data.copy()
    kept = dtype if dtype in (np.float32, np.float64) else np.float64
    for X in (data, signal_of(data), da.from_array(data), signal_of(data).as_lazy()):
        found = spread(X)
        assert (found.data if hasattr(X, "axes_manager") else found).dtype == kept
    np.testing.assert_array_equal(data, before)


def test_a_function_that_edits_its_input_is_stopped():
    @lifted
    def careless(X):
        X[...] = 0
        return X

    data = np.ones((2, 3))
    with pytest.raises(ValueError, match="read-only"):
        careless(data)
    assert data.all()


def test_the_history_tells_names_and_parameters_in_order():
    large = np.arange(100.0)
    noise = NoiseModel(gain=2.0, pixel_correlation=np.nan)

    @lifted
    def weigh(X, by, energy=None):
        return X * by.sum()

    signal = signal_of(CUBE)
    found = weigh(spread(signal, strength=np.float64(0.25), noise=noise), by=large)
    first, second = steps(found)
    assert first["step"] == "spread" and first["strength"] == 0.25 and "energy" not in first
    assert first["noise"]["gain"] == 2.0 and first["noise"]["pixel_correlation"] == "nan"
    assert second == {"step": "weigh", "by": {"shape": [100], "hash": data_hash(large)}}
    assert steps(signal) == [] and json.dumps(steps(found))


def test_the_history_outlives_the_file(tmp_path):
    found = spread(signal_of(CUBE))
    found.save(tmp_path / "kept.hspy")
    assert steps(hs.load(tmp_path / "kept.hspy")) == steps(found) != []


def test_fewer_channels_move_the_energy_axis():
    found = without_ends(signal_of(CUBE))
    np.testing.assert_array_equal(found.data, CUBE[..., 2:-3])
    assert found.axes_manager[-1].offset == 401.0 and found.axes_manager[-1].size == 5
    np.testing.assert_array_equal(without_ends(CUBE), CUBE[..., 2:-3])


@pytest.mark.parametrize(
    ("X", "options", "kind", "said"),
    [
        (CUBE * 1j, {}, ValueError, "Complex"),
        (
            np.where(CUBE == 5, np.nan, CUBE),
            {},
            ValueError,
            "NaN or infinite values, the first at pixel",
        ),
        (CUBE, {"energy": np.arange(9)}, ValueError, "10 channels"),
        (signal_of(CUBE), {"energy": np.arange(10)}, ValueError, "leave energy= out"),
        (hs.signals.Signal2D(CUBE), {}, ValueError, "signal axes"),
    ],
)
def test_what_is_no_spectrum_image_is_refused(X, options, kind, said):
    with pytest.raises(kind, match=said):
        spread(X, **options)
