"""A folder is replaced whole or not at all, and nothing that was not written here is touched."""

import json
import multiprocessing
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import endmember as em
from endmember.signals.result.folders import FILES, RECORD, existing, replacing

RESULT = em.unmix(
    em.synthetic.diode(shape=(6, 7), channels=30).signal, em.NMF(2, n_starts=1, random_state=0)
)


def put(folder: Path, words: str) -> None:
    """Save a result whose record says who wrote it."""
    with replacing(folder, overwrite=True) as new:
        for name in ("maps.hspy", "spectra.hspy", RECORD):
            (new / name).write_text(words)


def words_in(folder: Path) -> set[str]:
    return {file.read_text() for file in existing(folder).iterdir()}


def test_neighbours_with_likely_names_are_the_users(tmp_path):
    for name in ("run", "run.new", "run.old"):
        put(tmp_path / name, name)
    put(tmp_path / "run", "again")
    found = {place.name: words_in(place) for place in tmp_path.iterdir()}
    assert found == {"run": {"again"}, "run.new": {"run.new"}, "run.old": {"run.old"}}


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path):
    put(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    put(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert words_in(tmp_path / "real") == {"two"}


def test_a_circle_of_links_is_neither_opened_nor_replaced(tmp_path):
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        existing(circle)
    with pytest.raises(OSError, match="symbolic links"):
        put(circle, "one")
    assert circle.is_symlink()


def test_a_mounted_share_keeps_its_name_and_gets_the_files(tmp_path, monkeypatch):
    share = tmp_path / "share"
    share.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda place: place == share)
    put(share, "one")
    put(share, "two")
    assert words_in(share) == {"two"}
    assert {place.name for place in share.iterdir()} <= FILES


def test_what_is_not_a_result_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("work of years")
    with pytest.raises(FileExistsError, match="something else"):
        put(tmp_path / "thesis", "x")
    assert [place.name for place in tmp_path.rglob("*")] == ["thesis", "chapter.tex"]


def test_a_report_that_fails_loses_nothing(tmp_path, monkeypatch):
    def fail(self, file):
        raise RuntimeError("no such font")

    monkeypatch.setattr(em.Unmixing, "report", fail)
    with pytest.warns(UserWarning, match="no such font"):
        RESULT.save(tmp_path / "x")
    np.testing.assert_array_equal(em.open(tmp_path / "x").maps.data, RESULT.maps.data)


def test_an_interrupt_during_the_report_leaves_the_new_result_whole(tmp_path, monkeypatch):
    def interrupt(self, file):
        raise KeyboardInterrupt

    monkeypatch.setattr(em.Unmixing, "report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RESULT.save(tmp_path / "x")
    np.testing.assert_array_equal(em.open(tmp_path / "x").maps.data, RESULT.maps.data)
    assert [place.name for place in tmp_path.iterdir()] == ["x"]


def save_often(folder: Path, words: str, times: int) -> None:
    for _ in range(times):
        put(folder, words)


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_of_several_savers_one_wins_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    savers = [
        context.Process(target=save_often, args=(tmp_path / "x", words, 20)) for words in "abcd"
    ]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join()
        assert saver.exitcode == 0
    assert len(words_in(tmp_path / "x")) == 1
    assert [place.name for place in tmp_path.iterdir()] == ["x"]


def damages():
    """Return what may happen to a saved result, by name."""

    def record(**new):
        def change(folder, other):
            known = json.loads((folder / RECORD).read_text())
            (folder / RECORD).write_text(json.dumps({**known, **new, "files": {}}))

        return change

    def declare(folder, other):
        """Write arrays that take 8 TB by their own account."""
        record()(folder, other)
        with (
            zipfile.ZipFile(folder / "arrays.npz", "w") as stored,
            stored.open("a.npy", "w") as file,
        ):
            header = {"shape": (10**12,), "fortran_order": False, "descr": "<f8"}
            np.lib.format.write_array_header_1_0(file, header)

    def swap(folder, other):
        record()(folder, other)
        (other / "maps.hspy").replace(folder / "maps.hspy")

    def lead_elsewhere(folder, other):
        record()(folder, other)
        (folder / "maps.hspy").unlink()
        (folder / "maps.hspy").symlink_to(other / "maps.hspy")

    deep = "[" * 100_000 + "]" * 100_000
    return {
        "a file is missing": lambda folder, other: (folder / "maps.hspy").unlink(),
        "maps of another": lambda folder, other: shutil.copy(other / "maps.hspy", folder),
        "maps of another, of more components": swap,
        "maps elsewhere": lead_elsewhere,
        "arrays that are not there": declare,
        "a digit": lambda folder, other: (folder / RECORD).write_text(
            (folder / RECORD).read_text().replace('"n_components": 2', '"n_components": 3')
        ),
        "too deep": lambda folder, other: (folder / RECORD).write_text(deep),
        "a model that is none": record(model=5),
        "an unknown field": record(starts={"list": [{"dict": [["boo", 1]]}]}),
        "a class": record(learned={"dict": [["__class__", "x"]]}),
        "a method": record(learned={"dict": [["fit", "x"]]}),
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two results of the same data, of which the other has one component more."""
    place = tmp_path_factory.mktemp("saved")
    RESULT.save(place / "x")
    em.unmix(RESULT.data_again(), em.NMF(3, n_starts=1, random_state=5)).save(place / "other")
    return place


@pytest.mark.parametrize("what", damages())
def test_a_damaged_result_is_said_to_be_one(what, saved, tmp_path):
    place = shutil.copytree(saved, tmp_path / "saved")
    damages()[what](place / "x", place / "other")
    with pytest.raises(em.EndmemberError, match="is a damaged result"):
        em.open(place / "x")


@pytest.mark.parametrize(
    "model", [em.PCA(2), em.Drifting(em.NMF(2, n_starts=1))], ids=["PCA", "Drifting"]
)
def test_an_answer_that_lacks_what_its_model_needs_says_so(model, tmp_path):
    """As folders of version 0.1 do."""
    data = em.synthetic.diode(shape=(6, 7), channels=30).signal
    folder = em.unmix(data, model).save(tmp_path / "x")
    record = json.loads((folder / RECORD).read_text())
    kept = record["learned"]["dict"]
    kept[:] = [pair for pair in kept if pair[0] not in ("channel_weights_", "model_")]
    (folder / RECORD).write_text(json.dumps({**record, "files": {}}))
    answer = em.open(folder)
    answer.report(tmp_path / "report.html")
    with pytest.raises(em.EndmemberError, match=r"does not know its .*_: .*reproduce\(\)"):
        answer.model.transform(data)
