"""Every option of every command changes what comes out or is refused by name; each has a row here."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

import endmember as em
from effects import differ, numbers
from endmember.catalogue import METHODS, PARAMETERS
from endmember.cli import commands, main, preprocess, several

COMMANDS = typer.main.get_command(commands.app).commands
#: Words that stand for the place of a file among those of a call.
PLACES = {"FILE": 1, "SECOND": 2}
#: Options that are used together where they are given again.
SEVERAL = {"--reference", "--crop", "--known"}
ANY = "cube.hspy -k 2 --starts 4 --max-iter 40"
TWO = "cube.hspy other.hspy -k 2"
#: For every command the words of a call, and for every option what is added to it. Where the option only means
#: something beside others, the words before " | " are added to the baseline as well; "=" before the option: the same
#: numbers come out, by design.
ROWS: dict[str, tuple[str, dict[str, str]]] = {
    "demo": ("", {}),
    "info": ("cube.hspy", {"reader": "--reader start=x", "energy_axis": "--energy-axis 9"}),
    "report": ("a", {}),
    "export": ("result -o kept.csv", {"output": "-o other.csv", "overwrite": "--overwrite"}),
    "unmix": (
        ANY,
        {
            "components": "-k 3",
            "method": "--method vca",
            "loss": "--loss squared",
            "crop": "--crop 500:640",
            "mask": "--mask pixels.npy",
            "channel_mask": "--channel-mask channels.npy",
            "weights": "--loss squared | --weights weights.npy",
            "exposure": "--exposure exposure.npy",
            "free": "--loss squared | --free spectra",
            "missing": "FILE holed.hspy | --missing leave-out",
            "spikes": "FILE spiky.hspy | --spikes",
            "baseline": "--baseline asls",
            "together": "other.hspy -o both | --together",
            "background": "--background 445:480",
            "signal": "FILE two.hspy | --signal 1",
            "reader": "--reader energy_axis=0",
            "energy_axis": "--energy-axis 0",
            "lazy": "= --lazy",
            "memory": "--lazy | = --memory 1GB",
            "scheduler": "--lazy | --scheduler tcp://127.0.0.1:9",
            "resume": "--lazy | = --resume",
            "output": "-o elsewhere",
            "seed": "--seed 1",
            "overwrite": "-o a | --overwrite",
            "sparse": "--sparse 0.1",
            "smooth": "--smooth 0.1",
            "soft_orthogonal": "--soft-orthogonal 0.1",
            "relevance": "--relevance",
            "segments": "--method vca | --segments 2",
            "on": "--method sss | --on maps",
            "drift": "--drift 1",
            "dispersion": "--drift 1 | --dispersion",
            "closure": "--closure",
            "known": "--known 1=pure.hspy",
            "elements": "FILE xray.hspy | --elements Fe,O,Si",
            "quantify": "FILE xray.hspy --elements Fe,O,Si | --quantify",
            "minimum_volume": "--minimum-volume 0.1",
            "solver": "--loss squared | --solver multiplicativeupdate",
            "starts": "--starts 7",
            "max_iter": "--max-iter 2",
            "tol": "--tol 0.01",
            "errors": "--errors",
            "ambiguity": "--ambiguity",
            "recurrence": "--recurrence",
            "anomalies": "--anomalies",
            "crosscheck": "--crosscheck",
            "assume": "--assume distinct-spectra",
        },
    ),
    "rank": (
        "cube.hspy",
        {
            "crop": "--crop 500:640",
            "mask": "--mask pixels.npy",
            "channel_mask": "--channel-mask channels.npy",
            "missing": "FILE holed.hspy | --missing leave-out",
            "signal": "FILE two.hspy | --signal 1",
            "reader": "--reader energy_axis=0",
            "energy_axis": "--energy-axis 0",
            "lazy": "= --lazy",
            "output": "-o elsewhere.pdf",
            "max_rank": "--max-rank 3",
        },
    ),
    "path": (
        "cube.hspy -k 2",
        {
            "components": "--sparse | -k 3",
            "soft_orthogonal": "--soft-orthogonal",
            "sparse": "--sparse",
            "smooth": "--smooth",
            "crop": "--sparse | --crop 500:640",
            "mask": "--sparse | --mask pixels.npy",
            "channel_mask": "--sparse | --channel-mask channels.npy",
            "missing": "--sparse FILE holed.hspy | --missing leave-out",
            "signal": "--sparse FILE two.hspy | --signal 1",
            "reader": "--sparse | --reader energy_axis=0",
            "energy_axis": "--sparse | --energy-axis 0",
            "output": "--sparse | -o elsewhere.pdf",
            "seed": "--sparse | --seed 1",
        },
    ),
    "preprocess": (
        "drifting.hspy",
        {
            "spikes": "FILE spiky.hspy --background 445:480 | --spikes",
            "align": "--align",
            "low_loss": "--align | --low-loss low.hspy",
            "dispersion": "--align | --dispersion",
            "background": "--background 445:480",
            "method": "--background 445:480 | --method log",
            "denoise": "--spikes | --denoise 2",
            "baseline": "--spikes | --baseline asls",
            "crop": "--spikes | --crop 500:640",
            "missing": "--spikes FILE holed.hspy | = --missing leave-out",
            "signal": "--spikes FILE two.hspy | --signal 1",
            "reader": "--spikes | --reader energy_axis=0",
            "energy_axis": "--spikes | --energy-axis 0",
            "lazy": "--spikes | = --lazy",
            "output": "--spikes | -o elsewhere.hspy",
            "overwrite": "--spikes -o cube.hspy | --overwrite",
        },
    ),
    "workbench": (
        "",
        {
            "signal": "two.hspy | --signal 1",
            "crop": "cube.hspy | --crop 500:640",
            "address": "--address 0.0.0.0",
            "port": "--port 5999",
            "upload_limit": "--upload-limit 7",
            "workspace": "--workspace elsewhere",
            "public_url": "--public-url https://lab.example/workbench",
            "show": "--show",
        },
    ),
    "compare": (
        "cube.hspy -k 2 --no-bands",
        {
            "components": "-k 3",
            "crop": "--crop 500:640",
            "mask": "--mask pixels.npy",
            "channel_mask": "--channel-mask channels.npy",
            "missing": "FILE holed.hspy | --missing leave-out",
            "signal": "FILE two.hspy | --signal 1",
            "reader": "--reader energy_axis=0",
            "energy_axis": "--energy-axis 0",
            "output": "-o elsewhere.pdf",
            "seed": "--seed 1",
            "bands": "--bands",
        },
    ),
    "correlate": (
        TWO,
        {
            "components": "-k 1",
            "method": "--method pls",
            "crop": "--crop 500:640",
            "mask": "--mask pixels.npy",
            "channel_mask": "--channel-mask channels.npy",
            "missing": "FILE holed.hspy | --missing leave-out",
            "signal": "FILE two.hspy | --signal 1",
            "reader": "--reader start=x",
            "energy_axis": "--energy-axis 9",
            "second_signal": "SECOND two.hspy | --second-signal 1",
            "output": "-o elsewhere",
            "overwrite": "-o a | --overwrite",
        },
    ),
    "mlls": (
        "cube.hspy --reference pure.hspy --reference second.hspy",
        {
            "reference": "--reference third.hspy",
            "shift": "--shift 4",
            "broaden": "--broaden 2",
            "gain": "--gain 0.01",
            "background": "--background linear",
            "low_loss": "--low-loss plural.hspy",
            "loss": "--loss squared",
            "extra": "FILE other.hspy | --extra",
            "closure": "--closure",
            "crop": "--crop 500:640",
            "mask": "--mask pixels.npy",
            "channel_mask": "--channel-mask channels.npy",
            "weights": "--loss squared | --weights weights.npy",
            "missing": "FILE holed.hspy | --missing leave-out",
            "signal": "FILE two.hspy | --signal 1",
            "reader": "--reader start=x",
            "energy_axis": "--energy-axis 9",
            "lazy": "= --lazy",
            "output": "-o elsewhere",
            "overwrite": "-o a | --overwrite",
        },
    ),
    "fuse": (
        f"{TWO} --starts 4 --max-iter 20",
        {
            "components": "-k 1",
            "weak": "--weak",
            "loss": "--loss squared",
            "missing": "FILE holed.hspy | --missing leave-out",
            "signal": "FILE two.hspy | --signal 1 --signal 0",
            "output": "-o elsewhere",
            "seed": "--seed 1",
            "overwrite": "-o a | --overwrite",
            "starts": "--max-iter 2 | --starts 1",
            "max_iter": "--max-iter 2",
            "tol": "--max-iter 2000 | --tol 0.01",
        },
    ),
}


def options(command: str) -> set[str]:
    """The options that a command takes."""
    return {
        one.name
        for one in COMMANDS[command].params
        if one.param_type_name == "option" and one.name != "help"
    }


def two(folder: Path, first: Any, second: Any) -> None:
    """Write a file with two spectrum images."""
    import h5py

    for number, signal in enumerate((first, second)):
        named = signal.deepcopy()
        named.metadata.General.title = f"image {number}"
        named.save(folder / f"two{number}.hspy")
    with h5py.File(folder / "two0.hspy", "a") as into, h5py.File(folder / "two1.hspy") as out:
        out.copy("Experiments/image 1", into["Experiments"])
    (folder / "two0.hspy").rename(folder / "two.hspy")


def write(data: Any, like: Any) -> Any:
    signal = like.deepcopy()
    signal.data = data
    return signal


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with spectrum images, single spectra, and a result."""
    import hyperspy.api as hs

    folder = tmp_path_factory.mktemp("files")
    phantom = em.synthetic.mixed_phases((7, 6), channels=48, k=3, seed=1)
    cube, rng = phantom.signal, np.random.default_rng(0)
    cube.save(folder / "cube.hspy")
    em.unmix(cube, em.NMF(2, random_state=0)).save(folder / "result")
    (folder / "kept.csv").touch()
    other = em.synthetic.mixed_phases((7, 6), channels=48, k=3, seed=2, dose=900).signal
    other.save(folder / "other.hspy")
    two(folder, cube, other)
    np.save(folder / "pixels.npy", np.arange(42).reshape(7, 6) < 3)
    np.save(folder / "channels.npy", np.arange(48) > 44)
    em.synthetic.edxs_phases((7, 6), channels=256).signal.save(folder / "xray.hspy")
    np.save(folder / "weights.npy", rng.uniform(0.1, 1.0, (7, 6, 48)))
    np.save(folder / "exposure.npy", rng.uniform(0.5, 2.0, (7, 6)))
    holed = cube.data.astype(float)
    holed[2, 3, 5] = np.nan
    write(holed, cube).save(folder / "holed.hspy")
    spiky = cube.data.copy()
    spiky[4, 4, 30] += 9000
    write(spiky, cube).save(folder / "spiky.hspy")
    moved = em.synthetic.mixed_phases((7, 6), channels=48, k=3, seed=1, drift=1.5, dose=3000).signal
    moved.save(folder / "drifting.hspy")
    for name, spectrum in zip(("pure", "second", "third"), phantom.spectra, strict=True):
        write(spectrum, cube.inav[0, 0]).save(folder / f"{name}.hspy")
    energy = np.arange(-10.0, 30.0)
    peaks = 1e4 * np.exp(-0.5 * ((energy - rng.normal(0, 0.7, (7, 6, 1))) / 1.5) ** 2)
    axis = {"name": "E", "size": 40, "offset": -10.0, "scale": 1.0, "units": "eV"}
    pixels = [{"name": name, "size": size, "units": "nm"} for name, size in (("y", 7), ("x", 6))]
    hs.signals.Signal1D(peaks, axes=[*pixels, axis]).save(folder / "low.hspy")
    plural = np.exp(-0.5 * (energy / 1.5) ** 2) + 0.3 * np.exp(-0.5 * ((energy - 15) / 4) ** 2)
    hs.signals.Signal1D(plural, axes=[axis]).save(folder / "plural.hspy")
    return folder


@pytest.fixture(scope="module")
def known():
    """What came out of calls that were made before."""
    return {}


@pytest.fixture
def outcome(files, known, monkeypatch, capsys):
    """Run a command; return its exit code, what it says where it refuses, and the numbers that it would write."""
    monkeypatch.chdir(files)
    kept: list[Any] = []

    def keep(*what: Any, **also: Any) -> None:
        kept.append([what, also])

    def serve(root: Path, store: Any, first: Any, **also: Any) -> Any:
        if first is not None:
            first(SimpleNamespace(use=keep, settle=keep))
        kept.append(also)
        return SimpleNamespace(url="here", serve=keep)

    server = importlib.import_module("endmember.app.server.server")
    for module, name in (
        (commands, "keep_result"), (several, "keep_result"),
        (commands, "draw"), (several, "draw"), (preprocess, "save"), (several, "_save"), (typer, "launch"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, keep)
    monkeypatch.setattr(server, "make_server", serve)
    monkeypatch.setattr(server, "share_memory", lambda: None)
    store = SimpleNamespace(
        room=Path.cwd(),
        open=lambda file, number: em.load(file, signal=number),
        prepare=lambda *what: what[-1],
    )
    monkeypatch.setattr(server, "make_store", lambda: store)
    monkeypatch.setattr("endmember.cli.options.ANSWER_SECONDS", 0.1)

    def run(words: list[str]) -> tuple[int, str, list[Any]]:
        if tuple(words) in known:
            return known[tuple(words)]
        kept.clear()
        capsys.readouterr()
        code = main(words)
        err = capsys.readouterr().err
        known[tuple(words)] = code, err.splitlines()[-1] if code else "", numbers(kept)
        return known[tuple(words)]

    return run


def merged(words: list[str], added: str) -> list[str]:
    """The words of a call with more: an option that is there already is replaced, and so are FILE and SECOND."""
    words, more = list(words), added.split()
    for place, word in enumerate(more):
        if word == "--method" and words[0] == "unmix":
            del words[4:]  # which are for NMF
        if word in PLACES:
            words[PLACES[word]] = more[place + 1]
        elif word.startswith("-") and word in words and word not in SEVERAL:
            at = words.index(word)
            valued = words[at + 1 : at + 2] and not words[at + 1].startswith("-")
            del words[at : at + 1 + valued]
    return words + [
        word for i, word in enumerate(more) if not {word, *more[max(i - 1, 0) : i]} & {*PLACES}
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_row(command):
    assert options(command) == set(ROWS[command][1])


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command, (_, rows) in ROWS.items() for option in rows],
)
def test_an_option_changes_what_comes_out_or_is_refused_by_name(outcome, command, option):
    base, (rows) = ROWS[command]
    beside, _, added = rows[option].rpartition("|")
    same, added = added.strip().startswith("="), added.replace("=", "", "=" in added.split())
    words = merged([command, *base.split()], beside)
    before, after = outcome(words), outcome(merged(words, added))
    (name,) = (one.opts[-1] for one in COMMANDS[command].params if one.name == option)
    for code, said, _ in (before, after):
        assert code == 0 or (code == 2 and name in said), said
    assert (before[0] or after[0]) or differ(before[2], after[2]) != same


@pytest.mark.parametrize("method", METHODS)
def test_a_method_refuses_by_name_what_it_has_no_use_for(outcome, method):
    takes = getattr(em, METHODS[method].kind)().get_params(deep=False)
    for option, parameter in PARAMETERS.items():
        if parameter in takes or option in takes:
            continue
        beside, _, added = ROWS["unmix"][1][option].rpartition("|")
        code, said, _ = outcome(["unmix", "none.hspy", "--method", method, *added.split()])
        assert code == 2 and added.split()[0] in said and method in said, said
