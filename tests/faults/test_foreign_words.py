"""Titles, names and units of foreign files may hold anything: the answer is kept, with its report."""

import warnings

import numpy as np
import pytest

import endmember as em

#: Broken mathematics, the end of a text in C, an escape, a change of direction, mark-up.
WORDS = [r"$\frac{a$", "a\0b", "\x1b[31m\x07", "\u202eabc", "<script>{0}</script>"]


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")  # no font has control characters
def test_words_of_foreign_files_cost_nothing(tmp_path, often, count):
    for turn in often([0, 3], range(len(WORDS))):  # every word in every place in the end
        words = [*WORDS[turn:], *WORDS[:turn]]
        signal = em.synthetic.diode(shape=(6, 7), channels=30).signal
        signal.metadata.General.title = words[0]
        for axis, name, units in zip(
            signal.axes_manager._axes, words[1:4], words[2:5], strict=True
        ):
            axis.name, axis.units = name, units
        result = em.unmix(signal, em.NMF(2, n_starts=1, random_state=0))
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*without its report")
            folder = result.save(tmp_path / str(turn))
        result.plot().savefig(tmp_path / "components.png")
        np.testing.assert_array_equal(em.open(folder).maps.data, result.maps.data)
        assert b"\0" not in (folder / "report.html").read_bytes()
        count("foreign words in titles, names and units", "saved with its report")
