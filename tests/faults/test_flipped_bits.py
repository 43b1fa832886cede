"""A saved result of which a bit has flipped gives the same answer or one sentence, never another answer."""

import contextlib
import json
import shutil

import numpy as np
import pytest

import endmember as em

RESULT = em.unmix(
    em.synthetic.diode(shape=(6, 7), channels=30).signal, em.NMF(2, n_starts=2, random_state=0)
)
RESULT.errors = em.assess.uncertainty(RESULT.model, RESULT.data_again())
FILES = (
    "maps.hspy",
    "spectra.hspy",
    "misfit.hspy",
    "errors.hspy",
    "arrays.npz",
    "unmixing.json",
    "report.html",
)
SEEDS = dict(zip(FILES, range(100, 200), strict=False))


def said(value):
    """Return everything that an answer says, to be compared."""
    model = value.model
    return [
        value.maps.data.tobytes(),
        value.spectra.data.tobytes(),
        value.maps.axes_manager.as_dictionary(),
        value.spectra.axes_manager.as_dictionary(),
        *(array.tobytes() for array in vars(value.misfit()).values() if hasattr(array, "tobytes")),
        *(np.asarray(array).tobytes() for array in vars(value.errors).values()),
        repr(model),
        {name: repr(learned) for name, learned in model.learned().items()},
        {name: repr(option) for name, option in value.options.items()},
        json.dumps(value.record, sort_keys=True),
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return RESULT.save(tmp_path_factory.mktemp("saved") / "whole")


def flip(file, rng):
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(content)


@pytest.mark.parametrize("sums", ["checked", "taken away"])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_never_gives_another_answer(name, sums, saved, tmp_path, often, count):
    whole, rng = shutil.copytree(saved, tmp_path / "whole"), np.random.default_rng(SEEDS[name])
    known = said(em.open(whole))
    if sums == "taken away":  # as a stranger may: then values may differ, but nothing breaks
        record = json.loads((whole / "unmixing.json").read_text())
        del record["files"]
        (whole / "unmixing.json").write_text(json.dumps(record))
    for _ in range(often(2, 60)):
        folder = shutil.copytree(whole, tmp_path / "flipped")
        flip(folder / name, rng)
        ended = "a sentence"
        with contextlib.suppress(em.EndmemberError):
            answer = em.open(folder)
            ended = "an answer"
            if sums == "checked":
                assert said(answer) == known
                ended = "the same answer"
        count(f"bit flipped in {name}, sums {sums}", ended)
        shutil.rmtree(folder)
