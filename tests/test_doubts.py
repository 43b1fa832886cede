"""Errors, bands and agreement kept with an answer, and what the report makes of them."""

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.assess.detection import detectability
from endmember.cli import main
from endmember.signals.result.doubts import verdicts

PHANTOM = em.synthetic.mixed_phases(shape=(16, 14), channels=90, k=2, dose=300, seed=1)


@pytest.fixture(scope="module")
def result():
    result = em.unmix(PHANTOM.signal, em.NMF(2, loss=em.PoissonScaled(), random_state=0))
    result.errors = em.assess.uncertainty(result, PHANTOM.signal)
    result.bands = em.assess.ambiguity(result, PHANTOM.signal)
    others = {"NMF": result.model, "VCA": em.VCA(2, random_state=0)}
    result.comparison = em.compare(PHANTOM.signal, others, bands=False)
    return result


@pytest.mark.usefixtures("without_report")
def test_errors_and_bands_read_back_as_they_were(result, tmp_path):
    again = em.open(result.save(tmp_path / "kept"))
    for kept, given in ((again.errors, result.errors), (again.bands, result.bands)):
        assert type(kept) is type(given)
        for name, value in vars(given).items():
            np.testing.assert_array_equal(getattr(kept, name), value)
    assert verdicts(again) == verdicts(result)
    assert (again.save(tmp_path / "again") / "bands.hspy").exists()


@pytest.mark.usefixtures("without_report")
def test_others_can_read_errors_and_bands_on_the_axes_of_the_answer(result, tmp_path):
    folder = result.save(tmp_path / "kept")
    parts = {part.metadata.General.title: part for part in hs.load(folder / "bands.hspy")}
    low, high = parts["lowest spectra"], parts["highest spectra"]
    assert (low.data <= high.data).all()
    np.testing.assert_allclose(low.axes_manager.signal_axes[0].axis, PHANTOM.energy)
    (errors,) = [
        part
        for part in hs.load(folder / "errors.hspy")
        if part.metadata.General.title == "standard errors of the maps"
    ]
    assert errors.axes_manager.signal_axes[0].units == "nm"
    np.testing.assert_array_equal(np.moveaxis(errors.data, 0, -1), result.errors.maps)


def test_how_strong_a_component_is_does_not_hang_on_the_unit_of_the_counts():
    """A gain of four is four times the noise of counts, and not a component twice as strong."""
    said = [
        verdicts(em.unmix(PHANTOM.data * unit, em.NMF(2, loss=em.PoissonScaled(), random_state=0)))
        for unit in (1.0, 4.0)
    ]
    strengths = [sorted(float(words[0].split()[0]) for words in one.values()) for one in said]
    np.testing.assert_allclose(strengths[0], strengths[1], rtol=0.01)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_components_of_which_nothing_is_left_have_no_strength():
    model = em.NMF(2, loss=em.PoissonScaled(), maps=em.Sparse(1e3), random_state=0)
    answer = em.unmix(PHANTOM.data, model)
    assert not answer.model.maps_.any()
    assert all(said[0].startswith("0.0 times") for said in verdicts(answer).values())


def test_verdicts_say_the_numbers(result):
    strengths = detectability(result.model.maps_, result.model.components_)
    for j, (name, said) in enumerate(verdicts(result).items()):
        assert name == f"Component {j + 1}"
        times, noise, bands, others, candidates = said
        of_counts = strengths.strengths[j] / (1 + strengths.limit) ** 2
        assert float(times.split(" times as strong")[0]) == pytest.approx(of_counts, rel=0.05)
        share = np.linalg.norm(result.errors.spectra[j]) / np.linalg.norm(result.spectra.data[j])
        assert f"its spectrum uncertain by {100 * share:.2g} %" in noise
        expected = f"up to {result.bands.angle[j]:.1f}° away"
        assert bands == "Fixed by the data." if result.bands.fixed[j] else expected in bands
        angle = result.comparison.angles[0, 1, j]
        assert others == f"Others find it: VCA {angle:.1f}° away."
        assert candidates.startswith("Candidates: ")


def test_a_component_that_is_not_there_is_doubted():
    rng = np.random.default_rng(0)
    there, absent = np.repeat(np.eye(2), 20, axis=1)
    image = rng.uniform(3, 5, (20, 20, 1)) * there + 0.3 * rng.standard_normal((20, 20, 40))
    model = em.NMF(2, spectra=em.Known({0: there, 1: absent}), random_state=0)
    first, second = verdicts(em.unmix(image, model)).values()
    assert "may be noise" not in first[0] and "may be noise" in second[0]


def test_the_report_tells_all_of_it(result, tmp_path):
    text = result.report(tmp_path / "report.html").read_text()
    for said in ("How sure", "Bands", "times as strong", "Others find it", "Candidates"):
        assert said in text
    plain = em.unmix(PHANTOM.signal, em.NMF(2, random_state=0, n_starts=1))
    text = plain.report(tmp_path / "plain.html").read_text()
    assert "times as strong" in text and "uncertain by" not in text and ">Bands<" not in text


def test_flags_of_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    em.synthetic.mixed_phases((10, 10), channels=48, k=2).signal.save("two.hspy")
    words = ["unmix", "two.hspy", "-k", "2", "--starts", "2", "-o", "out"]
    assert main([*words, "--errors", "--ambiguity", "--crosscheck"]) == 0
    found = em.open("out")
    out = capsys.readouterr().out
    for sentence in (
        found.errors.sentence.split(";")[0],
        found.bands.sentence,
        found.comparison.sentence,
    ):
        assert sentence in out
    direct = em.assess.ambiguity(found.model, em.load("two.hspy"))
    np.testing.assert_allclose(found.bands.spectra_high, direct.spectra_high, atol=1e-9)


@pytest.mark.usefixtures("without_report")
def test_what_cannot_be_judged_loses_no_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    em.synthetic.mixed_phases((10, 10), channels=48, k=2).signal.save("two.hspy")
    assert (
        main(["unmix", "two.hspy", "-k", "2", "--method", "pca", "--ambiguity", "-o", "out"]) == 0
    )
    assert "Note: " in capsys.readouterr().err and em.open("out").bands is None
