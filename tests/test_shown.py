"""What an answer shows of itself: a few lines where somebody types, a picture and a table in a notebook."""

import base64
import re

import pytest

import endmember as em


@pytest.fixture(scope="module")
def answers():
    signal = em.synthetic.mixed_phases((12, 12), channels=60, k=2).signal
    model = em.NMF(2, random_state=0)
    result = em.unmix(signal, model)
    path = em.assess.path(em.NMF(2, maps=em.Smooth(0.1)), signal, "maps__weight", [0.0, 1.0])
    return {
        "Unmixing": result,
        "CoupledUnmixing": em.unmix([signal, signal.deepcopy()], em.Coupled(2, random_state=0)),
        "JointUnmixing": em.unmix([signal, signal.inav[:5]], model),
        "Anomalies": em.assess.anomalies(result),
        "Recurrence": em.assess.recurrence(result, n_draws=2),
        "RankReport": em.assess.rank(signal),
        "Bands": em.assess.ambiguity(result, signal),
        "Errors": em.assess.uncertainty(result, signal),
        "Interval": em.assess.displacement(result, of=("maps", 0)),
        "Path": path,
        "Comparison": em.compare(signal, {"NMF": model, "VCA": em.VCA(2)}),
    }


SHOWN = (
    "Unmixing", "CoupledUnmixing", "JointUnmixing", "RankReport", "Bands", "Errors", "Interval", "Path", "Comparison",
    "Anomalies", "Recurrence",
)  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_an_answer_shows_its_sentence_its_picture_and_folded_its_details(answers, name):
    one = answers[name]
    assert repr(one).startswith(f"<{name}: ")
    assert len(repr(one)) < 700
    page = one._repr_html_()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == hasattr(one, "plot")
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)
    assert ("<details>" in page) == (str(one) != repr(one))
    assert "<script" not in page


def test_what_a_notebook_shows_is_escaped(answers):
    result = answers["Unmixing"]
    result.record["reasons"] = ["<script>alert(1)</script>"]
    assert "<script" not in result._repr_html_()
