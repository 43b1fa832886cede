"""Titles, names and units of foreign files may hold anything: the answer is kept, with its report."""

import warnings

import numpy as np
import pytest

import endmember as em

#: Broken mathematics, the end of a text in C, an escape, a change of direction, mark-up.
WORDS = [r"$\frac{a$", "a\0b", "\x1b[31m\x07", "\u202eabc", "<script>{0}</script>"]


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")  # no font has control characters
@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_words_of_foreign_files_cost_nothing(word, tmp_path, count):
    signal = em.synthetic.diode(shape=(6, 7), channels=30).signal
    signal.metadata.General.title = word
    for axis in signal.axes_manager._axes:
        axis.name, axis.units = word, word
    result = em.unmix(signal, em.NMF(2, n_starts=1, random_state=0))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*without its report")
        folder = result.save(tmp_path / "x")
    result.plot().savefig(tmp_path / "components.png")
    np.testing.assert_array_equal(em.open(folder).maps.data, result.maps.data)
    assert b"\0" not in (folder / "report.html").read_bytes()
    count("foreign words in titles, names and units", "saved with its report")
