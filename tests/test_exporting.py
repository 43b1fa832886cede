"""Files for other programs, opened by readers of others; and what differs between two answers."""

import csv
import json

import hyperspy.api as hs
import numpy as np
import pytest
from PIL import Image

import endmember as em
from endmember.cli import main


@pytest.fixture(scope="module")
def answer():
    signal = em.synthetic.mixed_phases((10, 12), channels=60, k=3).signal
    mask, channels = np.zeros((10, 12), bool), np.zeros(60, bool)
    mask[0], channels[:3] = True, True
    model = em.NMF(3, random_state=0)
    return em.unmix(signal, model, mask=mask, channel_mask=channels)


def test_a_table_holds_energies_and_spectra(answer, tmp_path):
    (file,) = answer.export(tmp_path / "a.csv")
    head, *rows = csv.reader(file.open())
    assert head == ["Energy loss (eV)", "Component 1", "Component 2", "Component 3"]
    values = np.array(rows, dtype=float)
    np.testing.assert_allclose(values[:, 0], answer.spectra.axes_manager[-1].axis)
    np.testing.assert_allclose(values[:, 1:].T, answer.spectra.data, rtol=1e-6)


def test_pages_hold_the_maps(answer, tmp_path):
    (file,) = answer.export(tmp_path / "a.tif")
    with Image.open(file) as image:
        assert image.n_frames == 3
        for j in range(3):
            image.seek(j)
            np.testing.assert_array_equal(np.array(image), answer.maps.data[j].astype("float32"))


def test_archives_read_what_a_folder_holds(answer, tmp_path):
    from rocrate.rocrate import ROCrate

    folder = answer.save(tmp_path / "kept", data=True)
    crate = ROCrate(folder)
    assert crate.root_dataset["datePublished"] == crate.get("#unmixing")["endTime"]
    files = {part.id: part for part in crate.root_dataset["hasPart"]}
    assert set(files) == {file.name for file in folder.iterdir()} - {"ro-crate-metadata.json"}
    for name, part in files.items():
        assert part["description"] and int(part["contentSize"]) == (folder / name).stat().st_size
        assert part["encodingFormat"].count("/") == 1
    action = crate.get("#unmixing")
    assert action["instrument"]["softwareVersion"] == em.__version__
    assert action["object"]["identifier"] == answer.record["data"]["hash"]
    assert em.open(folder).model.n_components_ == 3


def test_every_spectrum_has_its_file(answer, tmp_path):
    files = answer.export(tmp_path / "a.msa")
    assert [file.name for file in files] == ["a-1.msa", "a-2.msa", "a-3.msa"]
    read = hs.load(files[1])
    np.testing.assert_allclose(read.data, answer.spectra.data[1], atol=1e-6)
    assert read.axes_manager[-1].units == "eV"


def test_no_number_is_null_wherever_it_stands():
    from types import SimpleNamespace

    from endmember.signals.result.exporting import as_json

    found = SimpleNamespace(sentence="so", one=float("nan"), more=[1.0, np.float64("inf")])
    assert json.loads(as_json(found), parse_constant=pytest.fail) == {
        "sentence": "so", "one": None, "more": [1.0, None],
    }  # fmt: skip


def test_everything_is_strict_json(answer, tmp_path):
    (file,) = answer.export(tmp_path / "a.json")
    content = json.loads(file.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert np.shape(content["maps"]) == (3, 10, 12)
    assert content["maps"][0][0][0] is None
    assert content["model"].startswith("NMF(")


def test_letters_of_pictures_stay_letters(answer, tmp_path):
    (file,) = answer.export(tmp_path / "a.svg")
    assert "Component 1</text>" in file.read_text()


def test_what_cannot_be_written_is_refused_and_leaves_nothing(answer, tmp_path):
    with pytest.raises(ValueError, match=r"ends in none of .*\.csv"):
        answer.export(tmp_path / "a.xyz")
    with pytest.raises(FileNotFoundError, match="make it first"):
        answer.export(tmp_path / "none" / "a.csv")
    assert not [*tmp_path.iterdir()]


def test_patterns_are_refused_where_they_do_not_fit(tmp_path):
    scan = hs.signals.Signal2D(np.random.default_rng(0).poisson(5, (4, 5, 6, 7)).astype("uint16"))
    answer = em.unmix(scan, em.NMF(2, random_state=0))
    for kind in ("csv", "msa"):
        with pytest.raises(ValueError, match="patterns"):
            answer.export(tmp_path / f"a.{kind}")
    (file,) = answer.export(tmp_path / "a.json")
    assert np.shape(json.loads(file.read_text())["spectra"]) == (2, 6, 7)


def test_the_command_exports_and_keeps_what_is_there(answer, tmp_path, capsys):
    folder, file = answer.save(tmp_path / "result"), tmp_path / "a.csv"
    call = ["export", str(folder), "-o", str(file)]
    assert main(call) == 0
    assert capsys.readouterr().out == f"Written: {file}\n"
    assert main(call) == 2
    assert "exists already" in capsys.readouterr().err


def test_two_answers_differ_in_what_is_said(answer):
    other = em.unmix(answer.data_again(), em.NMF(3, loss=em.PoissonScaled(), random_state=0))
    found = em.compare(answer, other)
    said = found.as_dict()
    assert said["parameters"]["loss"] == ["None", "PoissonScaled()"]
    assert "channel_mask" in said["parameters"]
    assert not said["data"]
    assert len(said["degrees"]) == 3
    assert json.loads(json.dumps(said))
    with pytest.raises(ValueError, match="bands has no effect"):
        em.compare(answer, other, bands=False)
    with pytest.raises(TypeError, match="another such answer"):
        em.compare(answer, {"NMF": em.NMF(3)})
