"""What editors see without running anything: names, signatures and types, as Jedi reads them from source and stubs."""

import jedi
import pytest

import endmember as em


def after(code):
    """Return what an editor offers at the end of some lines."""
    return {found.name for found in jedi.Script(code).complete()}


def test_all_public_names_are_offered():
    rooms = ("assess", "preprocess", "synthetic")
    assert {*em.__all__} <= after("import endmember as em\nem.")
    for room in rooms:
        assert {*getattr(em, room).__all__} <= after(f"import endmember as em\nem.{room}.")


@pytest.mark.parametrize("call", ["em.unmix(signal)", "em.open('folder')"])
def test_an_answer_is_known_for_what_it_is(call):
    offered = after(f"import endmember as em\nresult = {call}\nresult.")
    assert {"maps", "spectra", "report", "save", "export", "fractions", "composition"} <= offered


@pytest.mark.parametrize(
    ("call", "first"),
    [("NMF", "n_components"), ("unmix", "signal"), ("assess.rank", "X"), ("load", "path")],
)
def test_a_signature_stands_with_its_docstring(call, first):
    (found,) = jedi.Script(f"import endmember as em\nem.{call}(").get_signatures()
    assert found.params[0].name == first and "Parameters" in found.docstring()
