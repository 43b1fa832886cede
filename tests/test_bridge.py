import logging
import os
import pickle
import shutil
import signal as system_signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.cli import info
from endmember.factor.data.inspection import unwrap
from endmember.signals import bridge, cropping
from endmember.signals.files import reading, source

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set ENDMEMBER_DATA to the folder with the real data")
    return path


def eels(domain=(3, 4), channels=50, seed=0):
    """Make an EELS spectrum image whose axes all differ."""
    data = np.random.default_rng(seed).normal(5.0, 2.0, (*domain, channels))
    axes = [
        {"name": name, "size": size, "scale": 0.5 + i, "offset": i - 1.0, "units": "nm"}
        for i, (name, size) in enumerate(zip("zyx"[-len(domain) :], domain, strict=True))
    ]
    energy = {"name": "Energy loss", "scale": 0.5, "offset": 400.0, "units": "eV"}
    signal = hs.signals.Signal1D(data, axes=[*axes, {**energy, "size": channels}])
    signal.set_signal_type("EELS")
    signal.metadata.set_item("General.title", "film")
    signal.metadata.set_item("Sample.elements", ["Ti"])
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 200.0)
    return signal


def axes_of(signal):
    """Return what an axis says of itself, navigation axes first, each group in array order."""
    manager = signal.axes_manager
    axes = (*reversed(manager.navigation_axes), *reversed(manager.signal_axes))
    return tuple(SimpleNamespace(**axis.get_axis_dictionary()) for axis in axes)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "film.hspy"
    eels().save(path)
    return path


# Which signal of a file -------------------------------------------------------------------------
@pytest.mark.parametrize("lazy", [False, True])
def test_load_gives_back_what_was_saved(saved, lazy):
    loaded = em.load(saved, lazy=lazy)
    assert loaded._lazy is lazy
    assert axes_of(loaded) == axes_of(eels())
    np.testing.assert_array_equal(np.asarray(loaded.data), eels().data)


def test_the_only_spectrum_image_is_taken_and_the_pictures_are_named(caplog):
    with caplog.at_level(logging.INFO, logger="endmember"):
        loaded = em.load(real("edxs/two_phase_50x50.bcf"))
    assert loaded.data.shape == (50, 50, 2048)
    assert "left aside 0: Ch 1, Signal2D, 50 x 50 pixels" in caplog.text


def test_options_of_the_reader_reach_it_and_come_back_with_the_source(saved, monkeypatch):
    asked, load = [], hs.load

    def listening(path, lazy, **options):
        asked.append(options)
        return load(path, lazy=lazy)

    monkeypatch.setattr(hs, "load", listening)
    signal = em.load(saved, reader={"sum_frames": True})
    found = source.Source.of(signal)
    assert asked == [{"sum_frames": True}] and dict(found.reader) == asked[0]
    again = eval(found.code())  # the code that it gives reads the same
    assert asked[1] == asked[0] and np.array_equal(again.data, signal.data)


def test_options_that_a_reader_does_not_take_are_named(saved):
    with pytest.raises(em.UnreadableFileError, match="leave out frames=3"):
        em.load(saved, reader={"frames": 3})


def test_a_source_tells_files_and_signals_apart(saved, tmp_path):
    one, other = source.Source(saved), source.Source(saved, signal=1)
    before = one.fingerprint()
    assert before == one.fingerprint() != other.fingerprint()
    os.utime(saved, ns=(1, 1))
    assert one.fingerprint() != before


def test_several_spectrum_images_are_listed_and_chosen_by_number(saved, monkeypatch):
    first, second, picture = eels(), eels(seed=1), hs.signals.Signal2D(np.ones((3, 4)))
    monkeypatch.setattr(source, "read", lambda *_: [first, picture, second])
    with pytest.raises(ValueError, match="2 spectrum images; choose one with signal=N") as caught:
        em.load(saved)
    listed = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in listed] == ["0", "2"]
    assert "film, EELSSpectrum, 3 x 4 pixels of 50 channels, float64" in listed[0]
    assert em.load(saved, signal=2) is second
    with pytest.raises(ValueError, match="no signal 3, only 0 to 2"):
        em.load(saved, signal=3)
    with pytest.raises(ValueError, match="signal 1 .* no spectrum image .* signal=0 or signal=2"):
        em.load(saved, signal=1)
    with pytest.raises(ValueError, match="whole number"):
        em.load(saved, signal="1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (hs.signals.Signal1D(np.ones(60)), "60 channels"),
        (hs.signals.Signal2D(np.ones((5, 6, 7))), "5 pixels of 6 x 7 pixels"),
        (hs.signals.ComplexSignal1D(np.ones((5, 60), dtype=complex)), "complex128"),
    ],
)
def test_a_file_without_spectrum_image_is_refused_with_what_it_holds(tmp_path, data, said):
    data.save(tmp_path / "other.hspy")
    with pytest.raises(ValueError, match="no spectrum image") as caught:
        em.load(tmp_path / "other.hspy")
    assert said in str(caught.value)


def test_descriptions_tell_every_signal_of_a_velox_file():
    signals = reading.read_cheaply(real("edxs/velox_16x16.emd"))
    found = [source.describe_signal(one, number) for number, one in enumerate(signals)]
    images = [one for one in found if one.is_spectrum_image]
    assert len(found) == 10 and [one.number for one in images] == [9]
    said = [str(one).rpartition("detector ")[2] for one in found[:4]]
    assert said == [f"SuperXG2{n}" for n in (1, 4, 2, 3)]
    assert "16 x 16 pixels of 4096 channels" in str(images[0])
    assert [axis.units for axis in axes_of(signals[9])] == ["nm", "nm", "keV"]


def test_zspy_folders_are_loaded(tmp_path):
    eels().save(tmp_path / "film.zspy")
    np.testing.assert_array_equal(em.load(tmp_path / "film.zspy").data, eels().data)


def test_readers_say_nothing_on_the_terminal(capfd, caplog):
    with caplog.at_level(logging.DEBUG, logger="endmember"):
        em.load(real("edxs/nearly_empty_velox.emd"))
    assert capfd.readouterr() == ("", "")
    assert "only one spectrum stream" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_reading_leaves_no_warnings_to_the_end_of_python():
    files = [str(real(f"e{name}")) for name in ("els/NMC_TM_O.dm3", "dxs/two_phase_50x50.bcf")]
    code = "import sys, endmember as em; [em.load(file) for file in sys.argv[1:]]"
    command = [sys.executable, "-W", "default::ResourceWarning", "-c", code, *files]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    # An old Matplotlib tells of a new pyparsing.
    said = [line for line in ended.stderr.splitlines() if ".mplstyle: " not in line]
    assert (ended.stdout, said) == ("", [])


def test_what_concerns_the_data_is_a_warning(caplog):
    with caplog.at_level(logging.DEBUG, logger="endmember"), reading._quiet():
        logging.getLogger("rsciio.emd").warning("the stream is truncated")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# Files that cannot be read ----------------------------------------------------------------------
def fault(path, **options):
    with pytest.raises(em.UnreadableFileError) as caught:
        em.load(path, **options)
    problem = caught.value
    assert problem.path == Path(path) and problem.cause in str(problem)
    assert problem.advice in str(problem) and "\n" not in str(problem)
    return problem


def test_a_missing_file_names_its_neighbours(saved):
    with pytest.raises(FileNotFoundError, match=r"did you mean film\.hspy"):
        em.load(saved.with_name("Flim.hspy"))
    with pytest.raises(FileNotFoundError, match="no folder"):
        em.load(saved.parent / "nowhere" / "film.hspy")


def test_folders_empty_files_and_unknown_kinds_are_refused(tmp_path):
    assert "is a folder" in fault(tmp_path).cause
    (tmp_path / "a.dm3").touch()
    assert "empty" in fault(tmp_path / "a.dm3").cause
    (tmp_path / "a.zspy").mkdir()
    assert "empty folder" in fault(tmp_path / "a.zspy").cause
    (tmp_path / "a.doc").write_text("1 2 3")
    assert "no reader knows" in fault(tmp_path / "a.doc").cause


def test_an_ending_of_several_formats_is_refused_with_their_names(saved):
    path = saved.rename(saved.with_suffix(".hdf5"))
    assert "HSPY" in fault(path).cause and ".hspy" in fault(path).advice


def test_a_file_of_another_kind_is_refused(tmp_path):
    for name in ("a.dm3", "a.dm4", "a.hspy", "a.emd", "a.bcf", "a.msa"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" * 100)
        assert "does not begin" in fault(tmp_path / name).cause or name == "a.msa"
    assert "#FORMAT" in fault(tmp_path / "a.msa").cause


def test_every_beginning_of_a_file_is_refused(saved, tmp_path):
    whole = saved.read_bytes()
    for length in np.linspace(1, len(whole) - 64, 40).astype(int):
        (tmp_path / "cut.hspy").write_bytes(whole[:length])
        assert fault(tmp_path / "cut.hspy").cause.startswith("it")


def test_every_beginning_of_a_gatan_file_is_refused(tmp_path):
    whole = real("eels/NMC_TM_O.dm3").read_bytes()
    for length in np.linspace(1, len(whole) - 64, 40).astype(int):
        (tmp_path / "cut.dm3").write_bytes(whole[:length])
        said = fault(tmp_path / "cut.dm3").cause
        assert said == (
            f"it is truncated: {length:,} bytes of the {len(whole) - 16:,} that its header declares"
            if length >= 12
            else "it ends before its own header does"
        )


def test_gatan_tags_may_not_declare_more_than_the_file(tmp_path):
    """Each of these keeps a reader busy for hours or asks for terabytes."""
    array_of_empty_records = (20, 15, 0, 0, 2**31 - 1)
    array_of_numbers = (20, 7, 2**31 - 1)
    text = (18, 2**31 - 1)
    for codes in (array_of_empty_records, array_of_numbers, text):
        tag = struct.pack(">bh4s", 21, 4, b"Data") + b"%%%%"
        tag += struct.pack(f">{len(codes) + 1}i", len(codes), *codes) + bytes(64)
        head = struct.pack(">iii", 3, len(tag), 1) + struct.pack(">bbi", 1, 0, 1)
        (tmp_path / "huge.dm3").write_bytes(head + tag)
        assert "declares" in fault(tmp_path / "huge.dm3").cause
    group = struct.pack(">bh", 20, 0)
    endless = struct.pack(">iii", 3, 400, 1) + (struct.pack(">bbi", 1, 0, 1) + group) * 100
    (tmp_path / "deep.dm3").write_bytes(endless)
    assert "nested" in fault(tmp_path / "deep.dm3").cause


def test_hdf5_arrays_may_not_declare_more_than_is_stored(saved):
    with h5py.File(saved, "r+") as file:
        group = file["Experiments/film"]
        del group["data"]
        group.create_dataset("data", (2**20, 2**20, 50), dtype="f8", chunks=(64, 64, 50))
    assert "439,804,651,110,400 bytes" in fault(saved).cause
    assert "439,804,651,110,400 bytes" in fault(saved, lazy=True).cause


def elsewhere(kind, file, secret):
    """Make a file whose data are bytes of another one."""
    layout = h5py.VirtualLayout(shape=(64,), dtype="u1")
    with h5py.File(secret, "w") as other:
        other["data"] = np.arange(64, dtype="u1")
        layout[:] = h5py.VirtualSource(secret, "data", shape=(64,))
    with h5py.File(file, "r+") as whole:
        if kind == "link":
            whole["Experiments/stolen"] = h5py.ExternalLink(str(secret), "data")
        elif kind == "storage":
            whole.create_dataset("stolen", (64,), "u1", external=[(str(secret), 0, 64)])
        else:
            whole.create_virtual_dataset("stolen", layout)


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_hdf5_may_not_take_data_from_other_files(kind, saved, tmp_path):
    elsewhere(kind, saved, tmp_path / "secret.h5")
    with pytest.raises(em.UnreadableFileError, match="from another file"):
        em.load(saved)
    with pytest.raises(ValueError, match="from another file"):
        em.MLLS([saved]).fit(eels())


def test_a_companion_may_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(256))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.rpl").write_text("key\tvalue\nwidth\t8\n")
    (tmp_path / "mine" / "x.raw").symlink_to(tmp_path / "secret")
    with pytest.raises(em.UnreadableFileError, match=r"x\.raw.*outside of its folder"):
        em.load(tmp_path / "mine" / "x.rpl")


def test_hdf5_texts_overwritten_with_zeros_do_not_hang(tmp_path):
    path = tmp_path / "texts.hspy"
    with h5py.File(path, "w") as file:
        file["title"] = ["a text of variable length"] * 5
    raw = bytearray(path.read_bytes())
    heap = raw.index(b"GCOL")
    raw[heap + 16 : heap + 1024] = bytes(1008)
    path.write_bytes(raw)
    assert "overwritten with zeros" in fault(path).cause


def test_bruker_folders_inside_one_another_do_not_hang(tmp_path):
    path = tmp_path / "cycle.bcf"
    shutil.copyfile(real("edxs/low_dose_TEM.bcf"), path)
    raw = bytearray(path.read_bytes())
    (chunk,), (table,) = struct.unpack_from("<I", raw, 0x128), struct.unpack_from("<I", raw, 0x140)
    struct.pack_into("<i", raw, 0x138 + chunk * table + 40, 0)
    path.write_bytes(raw)
    assert "inside one another" in fault(path).cause


def test_msa_values_are_counted_and_read(tmp_path):
    header = "#FORMAT : EMSA/MAS Spectral Data File\n#NPOINTS : 3.\n#DATATYPE : Y\n#SPECTRUM : \n"
    for values, said in (("1\n2\n", "2 values of the 3"), ("1\n2\nx3\n", "'x3' where a number")):
        (tmp_path / "a.msa").write_text(header + values)
        assert said in fault(tmp_path / "a.msa").cause


@pytest.mark.parametrize("problem", [KeyError("ImageData"), MemoryError(), RecursionError("deep")])
def test_whatever_a_reader_raises_becomes_one_error(saved, monkeypatch, problem):
    def stumble(*_, **__):
        raise problem

    monkeypatch.setattr(hs, "load", stumble)
    assert fault(saved).__cause__ is problem


def test_what_a_reader_asks_its_own_developers_to_be_told_is_left_out(saved, monkeypatch):
    def stumble(*_, **__):
        raise OSError("Bad tag 3. Please report this issue to the HyperSpy developers.")

    monkeypatch.setattr(hs, "load", stumble)
    assert "Bad tag 3'" in str(fault(saved)) and "report" not in str(fault(saved))


@pytest.mark.parametrize("name", ["tifffile", None])
def test_a_reader_without_its_package_says_what_to_install(saved, monkeypatch, name):
    def stumble(*_, **__):
        raise ModuleNotFoundError("No module named 'tifffile'", name=name)

    monkeypatch.setattr(hs, "load", stumble)
    error = fault(saved)
    assert "tifffile" in error.cause and "damaged" not in str(error)
    assert "pip install" in error.advice and "copy the file" not in error.advice


def test_a_format_that_cannot_be_lazy_says_so_and_is_described_all_the_same(saved, monkeypatch):
    def eager_only(path, lazy):
        if lazy:
            raise NotImplementedError("Lazy loading is not supported")
        return eels()

    monkeypatch.setattr(hs, "load", eager_only)
    assert "without lazy=True" in fault(saved, lazy=True).advice
    assert [one.data.shape for one in reading.read_cheaply(saved)] == [(3, 4, 50)]


def test_the_error_survives_a_trip_between_processes():
    error = em.UnreadableFileError("a.dm3", "Gatan", "it is empty", "copy it again")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error) == "a.dm3 (Gatan) cannot be read: it is empty; copy it again"
    assert (back.path, back.format, back.cause) == (Path("a.dm3"), "Gatan", "it is empty")


# Limits -----------------------------------------------------------------------------------------
def test_guard_interrupts_and_restores():
    before = system_signal.getsignal(system_signal.SIGALRM)
    with pytest.raises(TimeoutError, match=r"not done after 0\.05 seconds"), reading.guard(0.05):
        while True:
            pass
    assert system_signal.getsignal(system_signal.SIGALRM) is before
    assert system_signal.getitimer(system_signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_reader_that_never_ends_is_an_unreadable_file(saved, monkeypatch):
    def endless(*_, **__):
        while True:
            try:
                time.sleep(1)
            except Exception:  # as readers do
                continue

    monkeypatch.setattr(hs, "load", endless)
    with reading.guard(seconds=0.5):
        assert "not done after 0.5 seconds" in fault(saved).cause


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux only")
def test_guard_limits_memory_and_restores():
    with reading.guard(memory=2**27), pytest.raises(MemoryError):
        np.ones(2**28, dtype=np.uint8)
    assert np.ones(2**28, dtype=np.uint8).nbytes == 2**28


def test_guard_ends_the_process_where_compiled_code_hangs():
    code = (
        "import hashlib\n"
        "from endmember.signals.files import reading\n"
        "reading._GRACE = 0.1\n"
        "with reading.guard(seconds=0.1):\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("endmember: not done after 0.1 seconds")


def test_guard_refuses_a_limit_of_nothing():
    with pytest.raises(ValueError, match="memory = 0 must be positive"), reading.guard(memory=0):
        pass


# What a signal is like --------------------------------------------------------------------------
@pytest.mark.parametrize("chunks", [None, (2, 3, 7)])
def test_describe_agrees_with_numpy(chunks):
    data = np.round(np.random.default_rng(3).normal(1, 1, (5, 6, 20)), 1)
    data[1, 2], data[:, :, 4], data[0, 0, :3] = 0, 0, (np.nan, np.inf, -np.inf)
    signal = hs.signals.Signal1D(data)
    if chunks:
        signal = signal.as_lazy(chunks=chunks)
    found, finite = info.describe(signal), data[np.isfinite(data)]
    assert (found.zeros, found.negatives) == ((data == 0).mean(), (data < 0).mean())
    assert (found.non_finite, found.counts) == (3, False)
    assert (found.minimum, found.maximum) == (finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean(), rel=1e-12)


def test_counts_are_told_by_their_values_not_their_type():
    whole = np.arange(40).reshape(4, 10)
    for data, counts in ((whole, True), (whole.astype("f4"), True), (whole + 0.5, False)):
        assert info.describe(hs.signals.Signal1D(data)).counts is counts
    assert not info.describe(hs.signals.Signal1D(whole - 1)).counts


@pytest.mark.parametrize("name", ["edxs/low_dose_TEM.bcf", "eels/NMC_Si.dm3"])
def test_lazy_and_eager_summaries_of_real_files_are_equal(name):
    eager, lazy = (info.describe(em.load(real(name), lazy=lazy)) for lazy in (False, True))
    assert eager.mean == pytest.approx(lazy.mean, rel=1e-12)
    assert {**vars(eager), "mean": 0} == {**vars(lazy), "mean": 0}


def test_real_counts_and_real_negatives_are_recognised():
    signal = em.load(real("edxs/low_dose_TEM.bcf"))
    counts = info.describe(signal)
    assert counts.counts and counts.zeros > 0.99
    assert counts.mean * signal.data.size == pytest.approx(26005, rel=1e-12)
    read_noise = info.describe(em.load(real("eels/NMC_Si.dm3")))
    assert not read_noise.counts and read_noise.negatives == pytest.approx(0.094, abs=0.001)


# Arrays and signals -----------------------------------------------------------------------------
def channels_first():
    """Make the same signal as `eels`, kept in its array as (x, channels, y)."""
    signal = eels()
    order = (1, 2, 0)
    axes = signal.axes_manager.as_dictionary()
    axes = [axes[f"axis-{i}"] for i in order]
    turned = hs.signals.BaseSignal(signal.data.transpose(order), axes=axes)
    turned.set_signal_type("EELS")
    assert turned.axes_manager.signal_axes[0].name == "Energy loss"
    return turned


def test_spectra_come_last_wherever_they_are():
    signal, turned = eels(), channels_first()
    assert unwrap(signal) is signal.data
    found = unwrap(turned)
    np.testing.assert_array_equal(np.swapaxes(found, 0, 1), signal.data)
    assert np.shares_memory(found, turned.data)
    with pytest.raises(ValueError, match="2 signal axes"):
        unwrap(hs.signals.Signal2D(np.ones((2, 3, 4))))


def test_maps_of_a_turned_signal_keep_their_axes():
    turned = channels_first()
    maps = bridge.wrap_maps(unwrap(turned)[..., :3], turned)
    assert [axis.name for axis in axes_of(maps)] == ["component", "x", "y"]
    assert [axis.scale for axis in axes_of(maps)] == [1.0, 1.5, 0.5]


@pytest.mark.parametrize("domain", [(6,), (3, 4), (2, 3, 4)])
def test_maps_and_spectra_survive_being_saved(tmp_path, domain):
    signal, rng = eels(domain), np.random.default_rng(1)
    check_round_trip(tmp_path, signal, rng.random((*domain, 2)), rng.random((2, 50)))


@pytest.mark.parametrize(
    "name", ["eels/NMC_TM_O.dm3", "eels/LSMO_STO_linescan.hspy", "edxs/low_dose_TEM.bcf"]
)
def test_maps_and_spectra_of_real_signals_survive_being_saved(tmp_path, name):
    signal, rng = em.load(real(name)), np.random.default_rng(1)
    *domain, channels = unwrap(signal).shape
    maps, spectra = rng.random((*domain, 3), "f4"), rng.random((3, channels), "f4")
    check_round_trip(tmp_path, signal, maps, spectra)


def check_round_trip(folder, signal, maps, spectra):
    bridge.wrap_maps(maps, signal).save(folder / "maps.hspy")
    bridge.wrap_spectra(spectra, signal).save(folder / "spectra.hspy")
    images, lines = hs.load(folder / "maps.hspy"), hs.load(folder / "spectra.hspy")
    np.testing.assert_array_equal(images.data, np.moveaxis(maps, -1, 0))
    np.testing.assert_array_equal(lines.data, spectra)
    assert images.data.dtype == maps.dtype and lines.data.dtype == spectra.dtype
    components, *pixels = axes_of(images)
    assert (components.name, components.navigate) == ("component", True)
    before = [axis for axis in axes_of(signal) if axis.navigate]
    assert [vars(axis) | {"navigate": True} for axis in pixels] == [vars(a) for a in before]
    assert axes_of(lines) == (components, axes_of(signal)[-1])
    assert type(lines) is type(signal) and images.metadata.Signal.signal_type == ""
    for known in ("Acquisition_instrument", "Sample"):
        assert lines.metadata.as_dictionary().get(known) == (
            signal.metadata.as_dictionary().get(known)
        )


@pytest.mark.parametrize(("foreign", "kept"), [("\0", ""), ("\udc80", "?")])
@pytest.mark.parametrize("form", [list, np.array])
def test_what_no_file_takes_in_foreign_metadata_does_not_lose_a_save(foreign, kept, form, tmp_path):
    signal = eels()
    signal.metadata.set_item("General.title", f"a{foreign}")
    signal.metadata.set_item("Sample.labels", form([f"S{foreign}i", "O"]))
    for axis in (*signal.axes_manager.navigation_axes, *signal.axes_manager.signal_axes):
        axis.units = f"n{foreign}m"
    em.unmix(signal, em.NMF(2, random_state=0)).save(tmp_path / "kept")
    maps = em.open(tmp_path / "kept").maps
    assert maps.metadata.General.title == f"a{kept} maps"
    assert list(maps.metadata.Sample.labels) == [f"S{kept}i", "O"]
    assert maps.axes_manager.signal_axes[0].units == f"n{kept}m"
    assert b"\0" not in (tmp_path / "kept" / "report.html").read_bytes()


def test_uneven_axes_are_kept(tmp_path):
    energy, places = np.geomspace(700, 730, 30), np.array([0.0, 1.0, 4.0])
    axes = [{"axis": places, "name": "x", "units": "µm"}, {"axis": energy, "units": "eV"}]
    signal = hs.signals.Signal1D(np.ones((3, 30)), axes=[{"navigate": True, **a} for a in axes])
    signal.axes_manager[-1].navigate = False
    bridge.wrap_maps(np.ones((3, 2)), signal).save(tmp_path / "maps.hspy")
    bridge.wrap_spectra(np.ones((2, len(energy))), signal).save(tmp_path / "s.hspy")
    (kept,) = hs.load(tmp_path / "maps.hspy").axes_manager.signal_axes
    np.testing.assert_array_equal(kept.axis, places)
    (kept,) = hs.load(tmp_path / "s.hspy").axes_manager.signal_axes
    np.testing.assert_array_equal(kept.axis, energy)


def test_residuals_are_wrapped_on_the_axes_they_belong_to():
    signal = eels()
    whole = bridge.wrap_like(signal.data, signal, "residual")
    assert axes_of(whole) == axes_of(signal) and type(whole) is type(signal)


def test_shapes_that_do_not_belong_are_refused():
    with pytest.raises(ValueError, match=r"maps have shape \(4, 3\), but the signal has \(3, 4\)"):
        bridge.wrap_maps(np.ones((4, 3, 2)), eels())
    with pytest.raises(ValueError, match="spectra have shape"):
        bridge.wrap_spectra(np.ones((2, 49)), eels())


@pytest.mark.parametrize("domain", [(6,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("lazy", [False, True])
def test_hyperspy_rebuilds_maps_times_spectra(domain, lazy):
    signal, rng = eels(domain), np.random.default_rng(2)
    signal = signal.as_lazy() if lazy else signal
    maps, spectra = rng.random((*domain, 2)), rng.random((2, 50))
    bridge.fill_learning_results(signal, maps, spectra)
    model = signal.get_decomposition_model()
    np.testing.assert_allclose(np.asarray(model.data), maps @ spectra, rtol=1e-12)
    loadings, factors = signal.get_decomposition_loadings(), signal.get_decomposition_factors()
    np.testing.assert_array_equal(loadings.data, bridge.wrap_maps(maps, signal).data)
    np.testing.assert_array_equal(factors.data, spectra)


def test_learning_results_are_kept_by_hyperspy(tmp_path):
    signal, rng = eels(), np.random.default_rng(2)
    maps, spectra = rng.random((3, 4, 2)), rng.random((2, 50))
    bridge.fill_learning_results(signal, maps, spectra, "NMF")
    signal.save(tmp_path / "film.hspy")
    kept = hs.load(tmp_path / "film.hspy")
    assert kept.learning_results.decomposition_algorithm == "NMF"
    np.testing.assert_allclose(kept.get_decomposition_model().data, maps @ spectra)


def test_learning_results_need_channels_last():
    with pytest.raises(ValueError, match="channels last"):
        bridge.fill_learning_results(channels_first(), np.ones((4, 3, 1)), np.ones((1, 50)))


# Cropping ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("lazy", [False, True])
def test_region_keeps_the_channels_between_start_and_stop(lazy):
    signal = eels()
    energy = signal.axes_manager.signal_axes[0].axis
    before = signal.metadata.as_dictionary()
    given = signal.as_lazy() if lazy else signal
    for start, stop in (
        (410, 420),
        (410.2, 419.9),
        (410, 410.6),
        (None, 405),
        (420, None),
        (400, 425),
    ):
        inside = (energy >= (start or 0)) & (energy < (stop or 1e9))
        cropped = cropping.crop_energy(given, start, stop)
        np.testing.assert_allclose(cropped.axes_manager.signal_axes[0].axis, energy[inside])
        np.testing.assert_array_equal(np.asarray(cropped.data), signal.data[..., inside])
    assert signal.metadata.as_dictionary() == before and signal.data.shape == (3, 4, 50)


def test_region_of_a_turned_signal_crops_the_energy():
    cropped = cropping.crop_energy(channels_first(), 410, 420)
    np.testing.assert_array_equal(np.swapaxes(unwrap(cropped), 0, 1), eels().data[..., 20:40])


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ((300, 410), "leaves the axis"),
        ((410, 500), "leaves the axis"),
        ((420, 410), "reversed"),
        ((410, 410), "empty"),
        ((410.1, 410.6), "holds 1 channels, 2 are needed"),
    ],
)
def test_region_refuses_and_gives_the_range(window, said):
    with pytest.raises(ValueError, match=said) as caught:
        cropping.crop_energy(eels(), *window)
    assert "the Energy loss axis runs from 400 to 424.5 eV" in str(caught.value)
