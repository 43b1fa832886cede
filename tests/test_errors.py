"""Refusals: one class, in the words of the caller, with the way out, through every border."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.cli.console import explain
from endmember.errors import Argument, EndmemberError, EndmemberTypeError
from endmember.signals.files.reading import UnreadableFileError
from endmember.signals.result.folders import UnsavedError

SOURCE = Path(em.__file__).parent
#: What belongs to Python or to the libraries beneath, not to a command line.
FOREIGN = re.compile(
    r"\b\w+=(?!FILE)|\bem\.\w|n_samples|n_features|\bpars(e|ing)|pydantic|sklearn|\barray"
)
TWO = ["-k", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the calls name."""
    import hyperspy.api as hs

    place = tmp_path_factory.mktemp("files")
    image = em.synthetic.mixed_phases((8, 7), channels=40, k=2).signal
    image.save(place / "cube.hspy")
    image.inav[:, :6].save(place / "small.hspy")
    image.inav[0, 0].save(place / "ref.hspy")
    made = {
        "zero": np.zeros((4, 5, 6)),
        "other": np.zeros((4, 5, 6)),
        "nan": np.where(np.arange(6) == 0, np.nan, np.ones((4, 5, 6))),
        "flat": np.ones(6),
        "dark": np.zeros((8, 7, 40)),
        "signed": np.random.default_rng(0).normal(size=(8, 7, 40)),
    }
    for name, data in made.items():
        hs.signals.Signal1D(data).save(place / f"{name}.hspy")
    return place


def calls(command, files, *wrong):
    """Wrong words after a command and its files, each with what the sentence must begin with, or name."""
    return [([command, *files, *words.split()], said) for words, said in wrong]


WRONG_CALLS = [
    *calls("unmix", [], ("", "Missing argument"), ("cube.hspy --foo", "--foo")),
    *calls(
        "unmix", ["cube.hspy", *TWO],
        ("--signal x", "--signal x is no whole number"), ("--signal -1", "--signal -1"),
        ("--seed -1", "--seed -1 must be at least 0"), ("--sparse x", "--sparse x is neither a number nor auto"),
        ("--starts 0", "--starts 0"), ("--max-iter 0", "--max-iter 0"), ("--tol nan", "--tol nan"),
        ("--missing drop", "--missing"), ("--segments 0", "--segments 0"),
    ),
    *calls("rank", ["cube.hspy"], ("--max-rank 0", "--max-rank 0")),
    *calls("path", ["cube.hspy"], ("--sparse", "-k"), ("-k 0 --sparse", "-k 0")),
    *calls("preprocess", ["cube.hspy"], ("--denoise 0", "--denoise 0"), ("--denoise x", "--denoise x")),
    *calls("compare", [], ("", "Missing argument"), ("cube.hspy -k two", "-k two")),
    *calls("correlate", ["cube.hspy"], ("", "SECOND"), ("cube.hspy -k 0", "-k 0")),
    *calls("fuse", ["cube.hspy", "cube.hspy"], ("", "-k"), ("-k 2 --signal x", "--signal x")),
    *calls("mlls", ["cube.hspy"], ("", "--reference"), ("--reference ref.hspy --shift -1", "--shift -1")),
    *calls("workbench", [], ("--port 99999", "--port 99999 must be at most 65535"), ("--port x", "--port x")),
    *calls("report", [], ("", "FOLDER")),
    *calls("info", [], ("", "FILE"), ("cube.hspy zero.hspy", "zero.hspy")),
    *calls("demo", [], ("x", "x")),
]  # fmt: skip

REFUSALS = [
    *calls(
        "unmix", ["cube.hspy"],
        ("-k 9999", "-k 9999"), ("-k 2 -k 3", "-k/--components is given 2 times"), ("-k 9999 --method vca", "-k 9999"),
        ("-k 2 --method foo", "--method foo"),
        ("-k 99 --method cp", "-k 99"), ("-k 2 --on foo --method sss", "--on foo"),
        ("-k 2 --loss gauss", "--loss gauss"), ("-k 2 --solver foo", "--solver foo"),
        ("-k 2 --sparse -1", "--sparse -1"), ("-k 2 --smooth nan", "--smooth nan"),
        ("-k 2 --soft-orthogonal 3", "--soft-orthogonal 3"), ("-k 2 --minimum-volume -1", "--minimum-volume -1"),
        ("-k 2 --drift -1", "--drift -1"), ("-k 2 --drift 100", "--drift"),
        ("-k 2 --crop 9000:9001", "--crop 9000:9001"), ("-k 2 --crop 470:460", "--crop 470:460"),
        ("-k 2 --crop 450", "--crop"), ("-k 2 --background 460:450", "--background 460:450"),
        ("-k 2 --background -5:450", "--background -5:450"), ("-k 2 --method pca --sparse 1", "--sparse"),
        ("-k 2 --loss poisson --solver anls", "--solver anls cannot minimise --loss poisson; use --solver newton"),
        ("-k 2 --soft-orthogonal 0.1 --solver admm", "--soft-orthogonal is not compatible with --solver admm"),
        ("-k 2 --closure --solver hals --sparse 0.1", "--closure"), ("-k 2 --lazy --memory foo", "--memory foo"),
        ("-k 2 --lazy --memory 1B", "raise --memory or"), ("-k 2 --known 5=ref.hspy", "--known"),
        ("-k 2 --known 1=flat.hspy", "--known"), ("-k 2 --resume", "--resume"),
    ),
    *calls("unmix", ["signed.hspy", *TWO], ("--loss poisson", "use --loss squared")),
    *calls("unmix", ["nan.hspy", *TWO], ("", "--missing leave-out")),
    *calls("unmix", ["zero.hspy", *TWO], ("", "zero"), ("--drift 1", "zero")),
    *calls("rank", ["cube.hspy"], ("--crop 9000:9001", "--crop 9000:9001")),
    *calls("path", ["cube.hspy"], ("-k 2", "--sparse"), ("-k 9999 --sparse", "-k 9999")),
    *calls(
        "preprocess", ["cube.hspy"],
        ("", "--spikes"), ("--background 470:460", "--background 470:460"), ("--denoise 500", "--denoise 500"),
        ("--background 445:480 --method foo", "--method foo"), ("--method snip", "--background"),
        ("--align --dispersion --low-loss cube.hspy", "--low-loss"),
        ("--align --low-loss small.hspy", "--low-loss"),
    ),
    *calls("preprocess", ["zero.hspy"], ("--background 0:4", "--background 0:4")),
    *calls("compare", ["cube.hspy"], ("-k 9999", "-k 9999")),
    *calls(
        "correlate", ["cube.hspy", "zero.hspy"],
        ("-k 9999", "-k 9999"), ("-k 2 --method foo", "--method foo"),
    ),
    *calls("correlate", ["zero.hspy", "other.hspy"], ("-k 2", "-k 2")),
    *calls("workbench", [], ("--address foo", "--address foo")),
    *calls("fuse", ["cube.hspy", "small.hspy"], ("-k 2", "rebin"), ("-k 2 --loss foo", "--loss foo")),
    *calls("fuse", ["cube.hspy", "signed.hspy"], ("-k 9999", "-k 9999 is more")),
    *calls("fuse", ["cube.hspy", "dark.hspy"], ("-k 2", "zero")),
    *calls("fuse", ["cube.hspy", "ref.hspy"], ("-k 2", "ref.hspy")),
    *calls(
        "mlls", ["cube.hspy"],
        ("--reference ref.hspy --background foo", "--background foo"), ("--reference flat.hspy", "--reference"),
        ("--reference ref.hspy --loss foo", "--loss foo"), ("--reference ref.hspy --extra --closure", "--closure"),
    ),
]  # fmt: skip


def sentence(capsys, monkeypatch, folder, tmp_path, words):
    """Return the one line of a refused call: exit code 2, nothing on stdout, nothing foreign."""
    monkeypatch.chdir(tmp_path)
    named = [str(folder / word) if (folder / word).is_file() else word for word in words]
    named = [re.sub(r"^(\d)=(\w+\.hspy)$", rf"\1={folder}/\2", word) for word in named]
    capsys.readouterr()
    code = main(named)
    out, err = capsys.readouterr()
    (line,) = [one for one in err.splitlines() if not one.startswith("Note: ")]
    assert code == 2 and out == "" and line.startswith("endmember: ")
    assert not FOREIGN.search(line.replace(str(folder), "")), line
    return line


@pytest.mark.parametrize(("words", "said"), WRONG_CALLS, ids=lambda one: " ".join(one)[:60])
def test_a_wrong_call_is_pointed_to_the_help_of_its_command(
    capsys, monkeypatch, folder, tmp_path, words, said
):
    line = sentence(capsys, monkeypatch, folder, tmp_path, words)
    assert said in line and line.endswith(f"; see endmember {words[0]} --help.")


@pytest.mark.parametrize(("words", "said"), REFUSALS, ids=lambda one: " ".join(one)[:60])
def test_a_refusal_names_options(capsys, monkeypatch, folder, tmp_path, words, said):
    assert said in sentence(capsys, monkeypatch, folder, tmp_path, words)


def test_what_is_said_beside_an_answer_names_options(capsys, monkeypatch, folder):
    monkeypatch.chdir(folder)
    words = "unmix cube.hspy -k 2 --max-iter 1 --starts 1 --errors --ambiguity --overwrite -o kept"
    capsys.readouterr()
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert "raise --max-iter" in err and "a larger --tol" in err and "The loss of this model" in out
    assert not FOREIGN.search(out + err)


def test_every_refusal_is_of_our_class():
    plain = [
        f"{path.name}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and ast.unparse(node.exc.func) in ("ValueError", "TypeError")
    ]
    assert plain == []
    assert issubclass(EndmemberError, ValueError) and issubclass(EndmemberTypeError, TypeError)
    assert issubclass(UnreadableFileError, em.EndmemberError) and issubclass(UnsavedError, OSError)


def test_a_way_out_that_the_caller_cannot_take_is_left_away():
    error = EndmemberError("the file holds two images", way_out=("give ", Argument("signal", "N")))
    assert str(error) == "the file holds two images; give signal=N"
    assert error.spelled(lambda argument: None) == "the file holds two images"
    assert explain(error) == (2, "the file holds two images.")
    wrong = EndmemberError(Argument.of("max_shift", 2), " is too far")
    assert (str(wrong), wrong.spelled(lambda argument: None)) == (
        "max_shift=2 is too far", "max shift 2 is too far",
    )  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        EndmemberError("a ", Argument("b", 3), parameter="b", way_out=("c", Argument("d"))),
        EndmemberTypeError("no model", parameter="model"),
        UnreadableFileError("a.dm3", "Gatan", "it is empty", ("try ", Argument("lazy", True))),
        UnsavedError("the disk is ", Argument("full"), way_out="free some space"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_refusals_cross_the_border_of_a_process(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), back.parameter, back.way_out) == (str(error), error.parameter, error.way_out)
