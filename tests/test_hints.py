"""Element hints: the phantoms' elements are named, nothing is found in what holds none, and real files."""

import os
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


def named(hints):
    """Return the candidates of one component as one set."""
    return {candidate for hint in hints for candidate in hint.candidates}


@pytest.mark.parametrize("background", [False, True])
def test_edges_of_the_oxides_are_named(background):
    phantom = em.synthetic.mixed_phases((8, 8), k=4, background=background)
    metals = {"TiO2": "Ti L3", "Cr2O3": "Cr L3", "MnO": "Mn L3", "Mn2O3": "Mn L3"}
    found = em.assess.element_hints(phantom.spectra, phantom.energy, "EELS")
    for name, hints in zip(phantom.names, found, strict=True):
        assert {metals[name], "O K"} <= named(hints)
        assert all(hint.candidates for hint in hints) and len(hints) <= 3
        others = set(metals.values()) - {metals[name]}
        assert not others & named(hints)
        for hint in hints:
            if metals[name] in hint.candidates:
                first = phantom.energy[np.argmax(phantom.spectra[phantom.names.index(name)])]
                assert abs(hint.energy - first) < 12


@pytest.mark.parametrize(
    ("onset", "edge"), [(73.0, "Al L2,3"), (165.0, "S L2,3"), (31.0, "Na L2,3")]
)
def test_edges_that_two_shells_share_are_named(onset, edge):
    energy = np.arange(10.0, 260.0, 0.5)
    spectrum = 1.0 + np.where(energy >= onset, 3.0 * (energy / onset) ** -1, 0.0)
    (hints,) = em.assess.element_hints(spectrum, energy, "EELS")
    assert edge in named(hints)


def test_lines_of_the_minerals_are_named_and_weighed():
    phantom = em.synthetic.edxs_phases(shape=(8, 8))
    found = em.assess.element_hints(phantom.spectra, phantom.energy, "EDS")
    lines = {
        "bridgmanite": {"O Ka", "Si Ka", "Mg Ka", "Fe Ka"},
        "ferropericlase": {"O Ka", "Mg Ka", "Fe Ka"},
        "davemaoite": {"O Ka", "Si Ka", "Ca Ka"},
    }
    for name, hints in zip(phantom.names, found, strict=True):
        first = {hint.candidates[0] for hint in hints if hint.candidates}
        assert lines[name] <= first
        strengths = [hint.strength for hint in hints]
        assert strengths == sorted(strengths, reverse=True) and strengths[0] == 1.0
    assert not {"Ca Ka", "Si Ka"} & named(found[phantom.names.index("ferropericlase")])


def test_known_elements_come_first():
    energy = np.arange(500.0, 600.0, 0.5)
    edge = np.where(energy < 532, 0.0, np.exp(-(energy - 532) / 60))
    (plain,), (antimony,) = (
        em.assess.element_hints([edge], energy, "EELS", elements) for elements in ((), ["Sb"])
    )
    assert plain[0].candidates[0] == "O K" and antimony[0].candidates[0] == "Sb M5"
    assert plain[0].energy == pytest.approx(532, abs=1.0)


@pytest.mark.parametrize("named", [["Sb"], "Sb", "Sb, Fe", np.array(["Sb"]), ("Sb",)])
@pytest.mark.parametrize("kind", ["EELS", ""])
def test_elements_in_metadata_come_first_however_they_are_written(named, kind):
    energy = np.arange(500.0, 600.0, 0.5)
    edge = np.where(energy < 532, 0.0, np.exp(-(energy - 532) / 60))
    axis = {"size": 200, "offset": 500.0, "scale": 0.5, "units": "eV"}
    signal = hs.signals.Signal1D(edge, axes=[axis])
    signal.set_signal_type(kind)
    signal.metadata.set_item("Sample.elements", named)
    ((hint, *_),) = em.assess.element_hints(signal)
    assert hint.candidates[0] == "Sb M5"


def test_signals_and_results_know_their_kind_and_unit():
    phantom = em.synthetic.mixed_phases((9, 9), channels=128, k=2, dose=3000)
    result = em.unmix(phantom.signal, em.NMF(2, random_state=0))
    of_result = em.assess.element_hints(result)
    of_array = em.assess.element_hints(result.spectra.data, phantom.energy, "EELS")
    assert of_result == of_array and any(of_array)
    in_kev = result.spectra.deepcopy()
    axis = in_kev.axes_manager.signal_axes[0]
    axis.scale, axis.offset, axis.units = axis.scale / 1e3, axis.offset / 1e3, "keV"
    again = em.assess.element_hints(in_kev)
    assert [named(hints) for hints in again] == [named(hints) for hints in of_array]


def test_nothing_is_found_in_backgrounds_and_noise():
    energy = np.arange(400.0, 700.0)
    rng = np.random.default_rng(0)
    power_law = 1e4 * (energy / 400) ** -3.0
    flat = rng.poisson(100.0, len(energy))
    spectra = [power_law, rng.poisson(power_law), flat, np.zeros(len(energy))]
    assert em.assess.element_hints(spectra, energy, "EELS") == [[], [], [], []]
    keV = np.arange(0.2, 10, 0.01)
    noise = rng.poisson(200.0, len(keV))
    assert em.assess.element_hints([noise, 0 * keV], keV, "EDS") == [[], []]


def test_scale_changes_nothing():
    phantom = em.synthetic.mixed_phases((8, 8), k=3)
    found = em.assess.element_hints(phantom.spectra, phantom.energy, "EELS")
    for scale in (1e-9, 1e7):
        again = em.assess.element_hints(scale * phantom.spectra, phantom.energy, "EELS")
        assert [list(map(str, hints)) for hints in again] == [list(map(str, h)) for h in found]


def test_refusals():
    with pytest.raises(ValueError, match="neither EELS nor EDS"):
        em.assess.element_hints(np.ones((2, 50)))
    with pytest.raises(ValueError, match="set_signal_type"):
        em.assess.element_hints(np.ones((2, 50)), np.arange(50.0), "Raman")


@pytest.mark.skipif(not DATA.exists(), reason="the real data are not here (ENDMEMBER_DATA)")
def test_a_manganite_on_a_titanate():
    image = em.load(DATA / "eels" / "LSMO_STO_linescan.hspy")
    titanate, manganite = em.assess.element_hints(
        image.data[[0, -1]], image.axes_manager[-1].axis, "EELS"
    )
    assert {"Ti L3", "O K"} <= named(titanate) and not {"Mn L3", "La M5"} & named(titanate)
    assert {"Mn L3", "La M5", "O K"} <= named(manganite) and "Ti L3" not in named(manganite)


def test_an_edge_whose_partner_another_component_shows_is_a_candidate():
    energy = np.arange(780.0, 900.0)
    edge = lambda onset: np.where(energy < onset, 0.0, np.exp(-(energy - onset) / 12))  # noqa: E731
    both, last = edge(832) + edge(849), edge(849)  # La M5 and M4; Ni L3 lies 7 eV higher
    alone = em.assess.element_hints([last], energy, "EELS")[0][0]
    _, beside = em.assess.element_hints([both, last], energy, "EELS")
    assert "La M4" not in alone.candidates
    assert beside[0].candidates[0] == "La M4"
