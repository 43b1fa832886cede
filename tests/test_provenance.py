import hashlib
import importlib.metadata

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import scipy.sparse

from endmember.factor.data import inspection
from endmember.preprocess.lifting import record
from endmember.signals.cropping import crop_energy
from endmember.signals.files.source import Source, load
from endmember.signals.result import provenance


def cube(dtype=np.float32):
    return np.random.default_rng(0).poisson(0.4, (5, 6, 40)).astype(dtype)


def test_versions_are_those_installed():
    found = provenance.versions()
    for name in ("numpy", "scipy", "hyperspy", "rosettasciio"):
        assert found[name] == importlib.metadata.version(name)


def test_packages_that_are_missing_are_left_out(monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("numpy", "no-such-package"))
    assert set(provenance.versions()) == {"endmember", "python", "numpy"}


def test_the_hash_is_blake2b_of_shape_type_and_bytes():
    text = b"(5, 6, 40) <f4" + cube().tobytes()
    expected = hashlib.blake2b(text, digest_size=16).hexdigest()
    assert provenance.data_hash(cube()) == f"blake2b:{expected}"


def test_the_same_data_have_the_same_hash_however_they_are_kept(monkeypatch):
    data = cube()
    first = provenance.data_hash(data)
    for chunks in [(5, 6, 40), (2, 3, 7), (1, 6, 40)]:
        lazy = da.from_array(data, chunks=chunks)
        assert provenance.data_hash(lazy) == first
        assert provenance.data_hash(hs.signals.Signal1D(data).as_lazy(chunks=chunks)) == first
    assert provenance.data_hash(np.asfortranarray(data)) == first
    assert provenance.data_hash(data.astype(">f4")) == first
    assert provenance.data_hash(hs.signals.Signal1D(data)) == first
    monkeypatch.setattr(inspection, "_BLOCK", 1000)
    assert provenance.data_hash(data) == first


def test_other_data_have_another_hash():
    data = cube()
    changed = data.copy()
    changed[-1, -1, -1] += 1
    others = [changed, data.reshape(6, 5, 40), data.astype(np.float64), data[..., ::-1]]
    assert len({provenance.data_hash(one) for one in [data, *others]}) == 5


def test_sparse_data_are_hashed_in_their_canonical_form():
    csr = scipy.sparse.csr_array(cube(np.int32).reshape(30, 40))
    first = provenance.data_hash(csr)
    shuffled = scipy.sparse.coo_array(csr)
    order = np.random.default_rng(1).permutation(shuffled.nnz)
    rows, columns, values = shuffled.row[order], shuffled.col[order], shuffled.data[order]
    halves = np.concatenate([values - 1, np.ones_like(values)])  # duplicates, and stored zeros
    places = (np.tile(rows, 2), np.tile(columns, 2))
    again = scipy.sparse.coo_array((halves, places), shape=csr.shape)
    assert provenance.data_hash(again) == first == provenance.data_hash(csr.tocsc())
    csr.data[0] += 1
    assert provenance.data_hash(csr) != first


def test_objects_have_no_hash():
    with pytest.raises(ValueError, match="no fingerprint"):
        provenance.data_hash(np.array([object()]))


@pytest.mark.parametrize("ending", ["hspy", "zspy"])
def test_steps_survive_being_saved_and_cropped(tmp_path, ending):
    history = [
        {"step": "remove_spikes", "threshold": 5.5, "found": [1, 2]},
        {"step": "subtract_background", "window": [35.0, None], "method": "ml"},
    ]
    signal = hs.signals.Signal1D(cube())
    for step in history:
        signal = record(signal, step)
    signal.save(tmp_path / f"a.{ending}")
    kept = load(tmp_path / f"a.{ending}")
    assert provenance.steps(kept) == history
    assert provenance.steps(kept.isig[3:9]) == history


def test_recording_appends_to_the_history_of_the_given_signal():
    signal = hs.signals.Signal1D(cube())
    assert record(signal, {"step": "a", "n": np.int64(3), "x": np.arange(2)}) is signal
    assert record(signal, {"step": "b"}) is signal
    assert provenance.steps(signal) == [{"step": "a", "n": 3, "x": [0, 1]}, {"step": "b"}]


def test_a_crop_is_recorded_with_its_window_and_not_in_the_original():
    signal = hs.signals.Signal1D(cube())
    assert provenance.steps(crop_energy(signal, 5, 20)) == [
        {"step": "crop", "start": 5, "stop": 20}
    ]
    assert provenance.steps(signal) == []


def test_a_step_is_written_down_whatever_it_holds():
    signal = record(hs.signals.Signal1D(cube()), {"step": "a", "x": np.nan, "y": np.zeros(99)})
    (step,) = provenance.steps(signal)
    assert step["x"] == "nan"
    assert step["y"] == {"shape": [99], "hash": provenance.data_hash(np.zeros(99))}


def test_a_signal_knows_the_file_it_came_from(tmp_path):
    path = tmp_path / "a.hspy"
    hs.signals.Signal1D(cube()).save(path)
    assert Source.of(load(path)) == Source(str(path), signal=0, lazy=False)
    assert Source.of(hs.signals.Signal1D(cube())) is None
