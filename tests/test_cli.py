"""The command line: what it answers, what it refuses and how, and that Ctrl-C loses nothing."""

from __future__ import annotations

import errno
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import endmember as em
from endmember.catalogue import PENALTIES
from endmember.cli import commands, main
from endmember.cli.console import Watch, explain
from endmember.cli.options import dashed

COMMAND = [sys.executable, "-c", "import sys; from endmember.cli import main; sys.exit(main())"]
HEAVY = ("hyperspy", "exspy", "sklearn", "scipy", "numba", "dask", "matplotlib", "numpy")


@pytest.fixture
def cube(tmp_path):
    """A file with a small spectrum image of two phases."""
    path = tmp_path / "two phases.hspy"
    em.synthetic.mixed_phases((12, 10), channels=64, k=2).signal.save(path)
    return path


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; return exit code, stdout and stderr."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file as that of ``cube``, and a result of it."""
    folder = tmp_path_factory.mktemp("made")
    em.synthetic.mixed_phases((12, 10), channels=64, k=2).signal.save(folder / "cube.hspy")
    words = ["-k", "2", "--starts", "1", "-o", str(folder / "kept")]
    assert main(["unmix", str(folder / "cube.hspy"), *words]) == 0
    return folder / "kept"


def write(path, data, **axes):
    import hyperspy.api as hs

    made = hs.signals.Signal1D(data)
    for name, value in axes.items():
        setattr(made.axes_manager[-1], name, value)
    made.save(path)
    return path


def assert_refused(answer, *words):
    """Exit code 2, nothing on stdout, one line on stderr that holds the words."""
    code, out, err = answer
    assert code == 2, err
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("endmember: ") and lines[0].endswith(".")
    assert "Traceback" not in err and not any(ord(letter) < 32 for letter in lines[0])
    for word in words:
        assert word in err


def modules_after(*words):
    """Names of the modules that a fresh interpreter holds after the command."""
    source = (
        "import sys; from endmember.cli import main; main(sys.argv[1:]); "
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["unmix", "--help"]])
def test_help_and_version_import_nothing_heavy(words):
    assert not modules_after(*words) & set(HEAVY)


def test_help_of_unmix_fits_on_two_screens_and_names_every_penalty(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("unmix", "--help")[1].splitlines()
    assert len(lines) <= 80 and max(map(len, lines)) <= 80
    for name, row in PENALTIES.items():
        assert any(dashed(name) in line for line in lines) and row.help.split()[0] in str(lines)
    assert len(inspect.signature(commands.unmix.__wrapped__).parameters) <= 12


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("words", [("--loss", "Squared", "--starts", 1), ("--method", "VCA")])
def test_names_are_known_in_capitals_too(call, cube, words):
    assert call("unmix", cube, "-k", 2, *words, "-o", "x")[0] == 0


def test_names_of_files_that_are_no_text_are_printed(cube, tmp_path):
    name = tmp_path / "a\udcff.hspy"
    cube.rename(name)
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([*COMMAND, "info", name], capture_output=True, env=strict)
    assert done.returncode == 0 and b"a\xff.hspy" in done.stdout


def test_version_is_that_of_the_package(call):
    assert call("--version") == (0, f"endmember {em.__version__}\n", "")


def test_unmix_keeps_what_the_library_finds(call, cube):
    code, out, _ = call("unmix", cube, "-k", 2, "--starts", 3, "--seed", 5, "--loss", "squared")
    assert code == 0
    folder = cube.parent / "two phases-unmixed"
    assert out.splitlines()[-1] == f"Report:  {folder / 'report.html'}"
    assert (folder / "report.html").stat().st_size > 0
    assert (folder / "components.png").read_bytes().startswith(b"\x89PNG")
    found = em.open(folder)
    same = em.NMF(2, n_starts=3, random_state=5).fit(em.load(cube))
    np.testing.assert_allclose(found.spectra.data, same.components_, rtol=1e-10)
    np.testing.assert_allclose(np.moveaxis(found.maps.data, 0, -1), same.maps_, rtol=1e-10)


@pytest.mark.usefixtures("without_report")
def test_a_small_volume_goes_with_fractions_that_sum_to_one(call, cube):
    code, _, err = call("unmix", cube, "-k", 2, "--minimum-volume", 0.01, "-o", "answer")
    assert code == 0, err
    maps = em.open("answer").maps.data
    assert np.median(np.abs(maps.sum(axis=0) - 1)) < 0.1


def test_without_k_the_suggestion_is_taken_and_said(call, cube):
    report = em.assess.rank(em.load(cube))
    code, out, _ = call("unmix", cube, "--starts", 1, "-o", "suggested")
    assert code == 0 and report.sentence in out.splitlines()[0]
    assert em.open("suggested").model.n_components_ == report.suggested


def test_rank_prints_the_panel_and_draws_it(call, cube):
    code, out, _ = call("rank", cube, "--max-rank", 6)
    picture = cube.parent / "two phases-rank.png"
    assert code == 0 and out.splitlines()[-1] == f"Picture: {picture}"
    assert "parallel analysis" in out and picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words", [["rank"], ["path", "-k", 2, "--sparse"], ["compare"]], ids=lambda words: words[0]
)
def test_where_a_picture_cannot_go_is_said_before_the_file_is_read(call, tmp_path, words):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    no_file = tmp_path / "none.hspy"
    for picture in ("a.xyz", "a", tmp_path / "file" / "a.png", tmp_path / "folder.png"):
        answer = call(words[0], no_file, *words[1:], "-o", picture)
        assert_refused(
            answer, str(picture) if picture in ("a.xyz", "a") else "cannot be written to"
        )
    assert_refused(call(words[0], no_file, *words[1:], "-o", "new/a.png"), "none.hspy")
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "words",
    [["rank"], ["path", "-k", 2, "--sparse"], ["compare", "-k", 2]],
    ids=lambda words: words[0],
)
def test_numbers_are_written_in_place_of_a_picture(call, cube, words):
    code, out, _ = call(*words[:1], cube, *words[1:], "-o", "found.json")
    said = json.loads(Path("found.json").read_text(), parse_constant=pytest.fail)
    assert code == 0 and "Numbers: found.json" in out
    assert said["sentence"] in out
    assert {"rank": "visibility", "path": "misfit", "compare": "angles"}[words[0]] in said


def test_the_folder_of_a_picture_is_made(call, cube):
    code, _, err = call("rank", cube, "--max-rank", 2, "-o", "new/deep/a.pdf")
    assert code == 0 and err.splitlines()[-1] == f"The folder {Path('new/deep')} is new."
    assert Path("new/deep/a.pdf").read_bytes().startswith(b"%PDF")
    assert call("preprocess", cube, "--denoise", 2, "-o", "other/a.hspy")[0] == 0
    assert em.load("other/a.hspy").data.shape == (12, 10, 64)


@pytest.mark.parametrize("name", ["circle", "circle/inside", "n" * 240])
@pytest.mark.parametrize(
    "words",
    ["unmix FILE -o NAME", "rank FILE -o NAME.png", "preprocess FILE --spikes -o NAME.hspy"],
)
def test_a_name_that_cannot_be_made_is_found_before_anything_is_read(call, words, name):
    for circle in ("circle", "circle.png", "circle.hspy"):
        Path(circle).symlink_to(circle)
    assert_refused(call(*words.replace("NAME", name).split()), "cannot be written to")


@pytest.mark.parametrize("name", ["mine.hspy", "mine.zspy"])
def test_preprocess_replaces_no_folder_of_other_files(call, cube, name):
    Path(name).mkdir()
    Path(name, "notes.txt").write_text("mine")
    words = ("preprocess", cube, "--spikes", "-o", name, "--overwrite")
    assert_refused(call(*words), "holds something else")
    assert Path(name, "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    ["demo", "unmix FILE", "rank FILE", "path FILE -k 2 --sparse", "compare FILE", "compare . .",
     "mlls FILE --reference FILE", "fuse FILE OTHER -k 2", "correlate FILE OTHER -k 2",
     "preprocess FILE --spikes", "report kept", "workbench FILE"],
)  # fmt: skip
def test_a_place_that_takes_no_files_is_found_before_anything_is_read(call, monkeypatch, words):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    Path("kept").mkdir()
    Path("kept/unmixing.json").write_text("{}")
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert_refused(call(*words.split()), "cannot be written to", "Read-only file system")


@pytest.mark.usefixtures("without_report")
def test_crop_takes_the_window_in_the_unit_of_the_axis(call, cube):
    code, _, _ = call("unmix", cube, "-k", 2, "--starts", 1, "--crop", "500:600", "-o", "cropped")
    assert code == 0
    axis = em.open("cropped").spectra.axes_manager.signal_axes[0]
    assert 500 <= axis.low_value < 504 and 596 <= axis.high_value < 600


def test_a_background_is_fitted_on_its_own_window_outside_the_crop(call, cube):
    options = ("--crop", "540:600", "--background", "445:480", "-o", "net.hspy")
    code, out, err = call("preprocess", cube, *options)
    assert code == 0 and "Cropped after that" in out, err
    whole = em.preprocess.subtract_background(em.load(cube), (445, 480))
    np.testing.assert_allclose(em.load("net.hspy").data, whole.isig[540.0:600.0].data, rtol=1e-9)
    several = (*options[:4], "--crop", "500:510", "-o", "several.hspy")
    assert call("preprocess", cube, *several)[0] == 0
    kept = em.load("several.hspy")
    assert kept.axes_manager[-1].low_value >= 499.9
    energy = kept.axes_manager[-1].axis
    np.testing.assert_allclose(kept.data[..., energy > 539.9], whole.isig[540.0:600.0].data)


@pytest.mark.usefixtures("without_report")
def test_several_windows_leave_out_the_channels_between_them(call, cube):
    options = ("--crop", "540:600", "--crop", "450:500", "--starts", 1, "--loss", "squared")
    code, _, err = call("unmix", cube, "-k", 2, *options, "-o", "windows")
    assert code == 0, err
    image, result = em.load(cube), em.open("windows")
    axis = result.spectra.axes_manager.signal_axes[0].axis
    energy = image.axes_manager.signal_axes[0].axis
    between = (axis >= 499.999) & (axis < 539.999)
    assert between.any() and np.array_equal(np.isnan(result.spectra.data[0]), between)
    outside = (energy < 449.999) | ((energy >= 499.999) & (energy < 539.999)) | (energy >= 599.999)
    same = em.unmix(image, em.NMF(2, n_starts=1, random_state=0), channel_mask=outside)
    found, expected = result.spectra.data[:, ~between], same.spectra.data[:, ~outside]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(result.reproduce().spectra.data, result.spectra.data, rtol=1e-6)
    assert_refused(call("rank", cube, "--crop", "450:500", "--crop", "600:500"), "reversed")


@pytest.mark.usefixtures("without_report")
def test_missing_values_are_left_out_where_that_is_said(call, cube):
    image = em.load(cube)
    image.data = image.data.astype(float)
    image.data[3, 4], image.data[7, 2, 5], image.data[:, :, 60] = np.nan, np.inf, np.nan
    holed = cube.with_name("holed.hspy")
    image.save(holed)
    assert "unmix" in (last := call("info", holed)[1].splitlines()[-1])
    assert last.endswith("--missing leave-out")
    refusal = call("unmix", holed, "-k", 2, "-o", "kept")
    assert_refused(refusal, "--missing leave-out")
    assert "mask=" not in refusal[2]
    options = ("--missing", "leave-out")
    code, _, err = call("unmix", holed, "-k", 2, "--starts", 1, "-o", "kept", *options)
    assert code == 0 and "1 of 120 spectra, 1 of 64 channels, 1 single value." in err
    lost = np.zeros((12, 10), dtype=bool)
    lost[3, 4] = True
    assert np.array_equal(np.isnan(em.open("kept").maps.data[0]), lost)
    code, _, err = call("rank", holed, *options)
    assert code == 0 and "2 of 120 spectra (1 of them whole, for single values)" in err
    assert call("preprocess", holed, "--spikes", "-o", "mended.hspy", *options)[0] == 0
    hidden = np.isnan(em.load("mended.hspy").data)
    assert np.array_equal(hidden, ~np.isfinite(image.data))
    assert_refused(call("rank", holed, "--missing", "drop"), "--missing", "leave-out")


def test_report_is_written_anew(call, made):
    shutil.copytree(made, "kept")
    for name in ("report.html", "components.png"):
        (Path("kept") / name).unlink()
    code, out, _ = call("report", "kept")
    assert code == 0 and out.splitlines()[-1] == f"Report:  {Path('kept/report.html')}"
    assert Path("kept/report.html").exists() and Path("kept/components.png").exists()


@pytest.mark.usefixtures("without_report")
def test_an_earlier_result_stays_unless_overwrite_is_said(call, cube, made):
    shutil.copytree(made, "kept")
    before = em.open("kept").spectra.data.copy()
    again = ("unmix", cube, "-k", 1, "--starts", 1, "-o", "kept")
    assert_refused(call(*again), "kept exists already", "--overwrite")
    np.testing.assert_array_equal(em.open("kept").spectra.data, before)
    assert call(*again, "--overwrite")[0] == 0
    assert em.open("kept").spectra.data.shape[0] == 1


def test_a_folder_that_is_no_result_is_never_overwritten(call, cube):
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("years of work")
    refusal = call("unmix", cube, "-k", 2, "-o", "thesis", "--overwrite")
    assert_refused(refusal, "something else than a result")
    assert Path("thesis/chapter.txt").read_text() == "years of work"


def test_info_tells_what_the_file_holds_and_what_to_type(call, tmp_path):
    data = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    path = write(tmp_path / "map.hspy", data, name="Energy", units="keV", scale=0.5, offset=1.0)
    code, out, err = call("info", path)
    assert code == 0 and err == ""
    assert "3 x 4 pixels of 5 channels" in out and "from 1 to 3 keV" in out
    assert "uint16, counts" in out and "1.67 %; negative 0 %" in out
    assert out.splitlines()[-1] == f"  endmember unmix {path} -k 3"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["unmix"], "Missing argument"),
        (
            ["unmix", "FILE", "-k", "2", "--loss", "least"],
            "allowed: auto, squared, scaled, poisson",
        ),
        (["unmix", "FILE", "-k", "0"], "-k"),
        (["unmix", "FILE", "-k", "2.5"], "-k"),
        (["unmix", "FILE", "-k", "65"], "65"),
        (["unmix", "FILE", "-k", "2", "--crop", "450"], "--crop '450' is no window"),
        (["unmix", "FILE", "-k", "2", "--crop", ":"], "--crop ':' is no window"),
        (["unmix", "FILE", "-k", "2", "--crop", "low:high"], "--crop 'low:high' is no window"),
        (["unmix", "FILE", "-k", "2", "--crop", "450:9000"], "leaves the axis"),
        (["unmix", "FILE", "-k", "2", "--crop", "600:500"], "reversed"),
        (["unmix", "FILE", "-k", "2", "--signal", "7"], "no signal 7"),
        (["unmix", "nowhere.dm4", "-k", "2"], "does not exist"),
        (["unmix", ".", "-k", "2"], "folder"),
        (["unmix", "FILE", "-k", "2", "--memory", "1GB"], "add --lazy"),
        (["unmix", "FILE", "-k", "2", "--components", "3"], "--components is given 2 times"),
        (["workbench", "--crop", "450:470"], "add a FILE"),
        (["info", "nowhere.dm4"], "does not exist"),
        (["report", "nowhere"], "nowhere"),
        (["unfold", "FILE"], "unfold"),
    ],
)
def test_a_wrong_call_gets_one_sentence(call, cube, words, said):
    words = [cube if word == "FILE" else word for word in words]
    assert_refused(call(*words), said)
    assert not list(Path.cwd().iterdir())


def test_a_damaged_file_gets_one_sentence(call, cube):
    whole = cube.read_bytes()
    damaged = cube.with_name("damaged.hspy")
    damaged.write_bytes(whole[: len(whole) // 2])
    assert_refused(call("unmix", damaged, "-k", 2), "damaged.hspy", "cannot be read")
    assert_refused(call("info", damaged), "damaged.hspy", "cannot be read")


def _with_nan(data):
    data[1, 2, 3] = np.nan
    return data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.zeros((4, 5, 6)), "zero"),
        (_with_nan(np.ones((4, 5, 6))), "1 NaN"),
        (np.ones(6), "spectrum image"),
    ],
)
def test_data_that_cannot_be_unmixed_get_one_sentence(call, tmp_path, data, said):
    assert_refused(call("unmix", write(tmp_path / "odd.hspy", data), "-k", 2), said)


@pytest.mark.usefixtures("without_report")
def test_a_full_disk_loses_nothing(call, cube, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    save = em.Unmixing.save

    def full(self, folder, **options):
        if Path(folder).name == Path(folder).parent.name or Path(folder) == Path("target"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(self, folder, **options)

    monkeypatch.setattr(em.Unmixing, "save", full)
    code, _, err = call("unmix", cube, "-k", 2, "--starts", 1, "-o", "target")
    assert code == 2 and "No space left on device" in err and not Path("target").exists()
    (rescued,) = tmp_path.glob("endmember-*/target")
    assert em.open(rescued).spectra.data.shape == (2, 64)


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    path, folder = tmp_path / "slow.hspy", tmp_path / "kept"
    em.synthetic.mixed_phases((10, 10), channels=40, k=2).signal.save(path)
    words = ["unmix", path, "-k", 2, "-o", folder, "--starts", 3000, "--tol", 0]
    with subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        first = running.stderr.readline()
        assert first.startswith("Fitting"), first
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "stopped by you" in out and "Traceback" not in err and "\x1b" not in out + err
    assert em.open(folder).spectra.data.shape == (2, 40)


def test_nothing_is_kept_when_interrupted_before_the_first_sweep(call, cube, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(em, "load", interrupted)
    code, out, err = call("unmix", cube, "-k", 2)
    assert code == 130 and out == "" and len(err.splitlines()) == 1
    assert not cube.with_name("two phases-unmixed").exists()


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("signals.result.storage.write_record", False),
        ("Unmixing.report", True),
        ("Unmixing.plot", True),
    ],
)
def test_an_interrupt_of_what_comes_last_says_whether_the_result_is_kept(
    call, cube, monkeypatch, place, kept
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"endmember.{place}", interrupt)
    code, _, err = call("unmix", cube, "-k", 2, "--starts", 1, "-o", "answer")
    assert (code == 0, "the result is in answer" in err) == (kept, kept), err
    assert Path("answer", "unmixing.json").exists() is kept
    assert code == 0 or "before there was anything to keep" in err


def test_the_second_ctrl_c_interrupts_for_good():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Watch() as watch:
        signal.raise_signal(signal.SIGINT)
        assert watch.stopped
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_fault_of_the_program_is_told_from_wrong_input(call, cube, monkeypatch):
    def broken(*_, **__):
        return np.ones(3) + np.ones(4)  # a ValueError that nobody raised on purpose

    monkeypatch.setattr(em, "load", broken)
    code, out, err = call("unmix", cube, "-k", 2)
    assert code == 1 and out == "" and len(err.splitlines()) == 1
    assert "--debug" in err and "Traceback" not in err
    code, _, err = call("unmix", cube, "-k", 2, "--debug")
    assert code == 1 and "Traceback" in err and "in broken" in err


def test_an_error_of_ours_is_wrong_input_and_one_of_numpy_is_a_fault():
    with pytest.raises(ValueError) as ours:
        em.NMF(0).fit(np.ones((4, 5)))
    assert explain(ours.value)[0] == 2
    with pytest.raises(ValueError) as theirs:
        em.spectral_angle(np.ones(3), np.ones(4))
    assert explain(theirs.value)[0] == 1


def test_demo_comes_close_to_the_truth_and_replaces_an_earlier_one(call, made):
    shutil.copytree(made, "endmember-demo")
    code, out, _ = call("demo")
    assert code == 0
    assert em.open("endmember-demo").spectra.data.shape[0] == 4
    lines = out.splitlines()
    assert float(next(line for line in lines if "angle" in line).split()[-2]) < 3
    for name, line in zip(("components.png", "report.html"), lines[-2:], strict=True):
        assert line.endswith(str(Path("endmember-demo") / name))
        assert Path(line.split(maxsplit=1)[1]).exists()


def test_preprocess_keeps_what_the_library_does_and_says_it(call, cube):
    from endmember.signals.result.provenance import steps

    image = em.load(cube)
    image.data = np.rint(image.data).astype(float)
    image.data[5, 5, 30] += 5000
    spiky = cube.with_name("spiky.hspy")
    image.save(spiky)
    options = ("--spikes", "--background", "445:480", "--denoise", 2, "-o", "out.hspy")
    code, out, _ = call("preprocess", spiky, *options)
    assert code == 0 and out.splitlines()[0] == "1 spike in 1 spectrum repaired"
    assert out.splitlines()[-1] == "Saved: out.hspy"
    kept, image = em.load("out.hspy"), em.load(spiky)
    assert [step["step"] for step in steps(kept)] == [
        "remove_spikes", "subtract_background", "denoise",
    ]  # fmt: skip
    expected = em.preprocess.subtract_background(em.preprocess.remove_spikes(image), (445, 480))
    np.testing.assert_allclose(kept.data, em.preprocess.denoise(expected, 2).data, rtol=1e-6)
    assert_refused(call("preprocess", spiky, *options), "out.hspy exists already", "--overwrite")
    assert call("preprocess", spiky, *options, "--overwrite")[0] == 0
    assert [path.name for path in Path.cwd().iterdir()] == ["out.hspy"]


def test_unmix_takes_the_same_steps_reports_and_repeats_them(call, cube):
    options = ("--spikes", "--background", "445:480", "--starts", 1, "-o", "kept")
    code, out, _ = call("unmix", cube, "-k", 2, *options)
    assert code == 0 and out.startswith("0 spikes in 0 spectra repaired\nBackground subtracted")
    result = em.open("kept")
    assert [step["step"] for step in result.record["steps"]] == [
        "remove_spikes", "subtract_background",
    ]  # fmt: skip
    report = (Path("kept") / "report.html").read_text()
    assert "Preprocessing steps" in report and "window = [445.0, 480.0]" in report
    again = result.reproduce()
    np.testing.assert_allclose(again.spectra.data, result.spectra.data, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("-k", 2, "--max-iter", 1), ("--max-iter", "--tol")),
        (("-k", 4, "--method", "sss", "--on", "spectra"), ("--on maps", "--method nmf")),
    ],
)
def test_warnings_name_options(call, cube, words, options):
    code, _, err = call("unmix", cube, *words)
    noted = [line for line in err.splitlines() if line.startswith("Note:")]
    assert code == 0 and any(all(option in line for option in options) for line in noted)
    assert not any(python in err for python in ("max_iter", "em.", "on=", "unique_"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to do"),
        (["--background", "430"], "--background '430' is no window"),
        (["--background", "430:9000"], "9000"),
        (["--spikes", "-o", "out.tif"], ".hspy or .zspy"),
        (["--spikes", "-o", "../two phases.hspy/out.hspy"], "cannot be written to"),
        (["--background", "445:480", "--method", "guess"], "guess"),
        (["--spikes", "--method", "snip"], "add --background START:STOP"),
        (["--spikes", "--low-loss", "low.hspy"], "add --align"),
        (["--denoise", "0"], "--denoise"),
    ],
)
def test_a_wrong_preprocess_gets_one_sentence(call, cube, words, said):
    assert_refused(call("preprocess", cube, *words), said)
    assert not list(Path.cwd().iterdir())
