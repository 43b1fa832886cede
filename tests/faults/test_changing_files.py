"""A file that changes while it is read lazily: noticed, or the answer is that of what it held."""

import os
import re
import shutil
from functools import partial
from itertools import product

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.factor.data import lazy, observed


def overwrite(file, other):
    file.write_bytes(other.read_bytes())


def truncate(file, other):
    os.truncate(file, file.stat().st_size // 2)


def replace(file, other):
    shutil.copy(other, other.with_suffix(".copy"))
    other.with_suffix(".copy").replace(file)


def touch(file, other):
    os.utime(file)


def remove(file, other):
    file.unlink()


CHANGES = (overwrite, truncate, replace, touch, remove)


def spectrum_image(seed):
    rng = np.random.default_rng(seed)
    return hs.signals.Signal1D(rng.random((12, 10, 3)) @ rng.random((3, 32)) + 0.01)


def saved(seed, place):
    """Save an image; return what to load, and the file of it that is changed."""
    signal = spectrum_image(seed)
    chunks = {"chunks": (4, 10, 32)} if place.suffix in (".hspy", ".zspy") else {}
    signal.save(place, **chunks)
    parts = place.rglob("*") if place.is_dir() else place.parent.glob(f"{place.stem}.*")
    return place, max(parts, key=lambda part: part.is_file() * part.stat().st_size)


@pytest.fixture
def small_blocks(monkeypatch):
    """Small images are read as large ones are: block by block, in one thread."""
    monkeypatch.setattr(observed, "KEPT_UP_TO", 0)
    monkeypatch.setattr(lazy, "SMALL_BLOCK", 0)
    monkeypatch.setenv("ENDMEMBER_THREADS", "1")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["hspy", "zspy", "rpl"])
def test_no_answer_is_of_two_contents(suffix, tmp_path, small_blocks, monkeypatch, often, count):
    read, n_read = lazy.read, 0

    def fit(file, moment=None, change=None):
        """Unmix lazily; the change happens before that reading of a block, or before any, right after loading."""
        nonlocal n_read
        n_read = 0

        def read_or_change(part):
            nonlocal n_read
            if n_read == moment:
                change()
            n_read += 1
            return read(part)

        monkeypatch.setattr(lazy, "read", read_or_change)
        signal = em.load(file, lazy=True)
        if moment == -1:
            change()
        return em.unmix(signal, em.NMF(3, n_starts=2, random_state=0)).spectra.data

    def a_file(name, seed=1):
        (tmp_path / name).mkdir()
        return saved(seed, tmp_path / name / f"x.{suffix}")

    (whole, _), (_, other) = a_file("whole"), a_file("other", seed=2)
    right = fit(whole)
    moments = np.unique(np.linspace(-1, n_read - 1, often(5, 30)).round().astype(int))
    cases = product(CHANGES, moments) if often(0, 1) else zip(CHANGES, moments, strict=True)
    for number, (change, moment) in enumerate(cases):
        file, part = a_file(str(number))
        kind = f"{suffix} file, {change.__name__} while it is read"
        try:
            found = fit(file, moment, partial(change, part, other))
        except em.EndmemberError as refused:
            assert re.search("(changed|vanished) while it was being read", str(refused))
            count(kind, "noticed")
        else:
            np.testing.assert_array_equal(found, right)
            count(kind, "answer of the old content")


def test_what_derives_from_a_file_is_watched_with_it(tmp_path):
    file, _ = saved(1, tmp_path / "x.hspy")
    derived = em.load(file, lazy=True).isig[3:20]
    derived.data = (2 * derived.data)[::-1].rechunk((2, 2, 17))
    assert em.NMF(3, random_state=0).fit(derived).components_.shape == (3, 17)
    os.utime(file)
    with pytest.raises(em.EndmemberError, match="changed while it was being read"):
        em.NMF(3, random_state=0).fit(derived)
