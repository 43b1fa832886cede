"""Models side by side: the story of the demo phantoms, matching, and two saved answers."""

import numpy as np
import pytest

import endmember as em
from endmember.assess.comparison import side_by_side
from endmember.cli import main
from endmember.methods.estimator import Learning

DIODE = em.synthetic.diode(shape=(32, 32), channels=120)


def models(k, on="maps"):
    return {
        "NMF": em.NMF(k, random_state=0),
        "NMF-SO": em.NMF(k, maps=em.SoftOrthogonal(0.01), random_state=0),
        "SSS": em.SubspaceSampling(k, on=on, random_state=0),
    }


@pytest.fixture(scope="module")
def of_diode():
    return em.compare(DIODE.signal, models(3))


@pytest.mark.parametrize("name", ["diode", "demo"])
def test_the_story_is_told_without_the_truth(name, of_diode):
    phantom = DIODE if name == "diode" else em.synthetic.mixed_phases()
    found = of_diode if name == "diode" else em.compare(phantom.signal, models(4))
    assert found.groups == [["NMF-SO", "SSS"], ["NMF"]]
    assert "fit the data equally well" in found.sentence
    assert "NMF-SO and SSS agree" in found.sentence
    assert "NMF disagrees with NMF-SO and SSS" in found.sentence
    assert "The bands of NMF are wide" in found.sentence
    assert "The misfit does not decide" in found.sentence
    # The truth, which was not asked, says the same: the two that agree are right.
    off = [
        em.spectral_angle(S[em.match_components(S, phantom.spectra)], phantom.spectra).max()
        for S in found.spectra
    ]
    assert max(off[1], off[2]) < 0.5 * off[0]


def test_everything_is_in_the_order_of_the_first_and_reproduces_its_model(of_diode):
    for model, spectra, maps in zip(of_diode.models, of_diode.spectra, of_diode.maps, strict=True):
        product = np.tensordot(maps, spectra, axes=1)
        np.testing.assert_allclose(product, model.inverse_transform(model.maps_), atol=1e-9)
        order = em.match_components(model.components_, of_diode.models[0].components_)
        np.testing.assert_allclose(
            em.spectral_angle(model.components_[order], spectra), 0, atol=1e-6
        )
    np.testing.assert_allclose(of_diode.agreement, of_diode.agreement.T)
    residual = DIODE.data - of_diode.models[0].inverse_transform(of_diode.models[0].maps_)
    assert of_diode.misfit[0] == pytest.approx(np.sqrt(np.mean(residual**2)))


def test_consensus_is_nearer_to_the_truth_than_plain_nmf(of_diode):
    consensus = of_diode.consensus
    order = em.match_components(DIODE.spectra, consensus)
    np.testing.assert_allclose(np.linalg.norm(consensus, axis=1), 1)
    mine = em.spectral_angle(consensus, DIODE.spectra[order])
    plain = em.spectral_angle(of_diode.spectra[0], DIODE.spectra[order])
    assert mine.max() < 0.3 * plain.max()


def test_against_the_truth(of_diode):
    found = em.compare(DIODE.data, models(3), truth=DIODE, bands=False, n_jobs=2)
    assert found.component_names == DIODE.names and found.bands is None
    np.testing.assert_allclose(
        found.truth, em.spectral_angle(found.spectra, DIODE.spectra[None]), atol=1e-9
    )
    assert found.truth.max() < 10  # matched to the right one: others are tens of degrees away
    order = em.match_components(of_diode.spectra[1], DIODE.spectra)
    np.testing.assert_allclose(found.spectra[1], of_diode.spectra[1][order], rtol=1e-6)


class Fixed(Learning):
    """A fitted model of given spectra."""

    def __init__(self, spectra, pixels=50):
        self.components_ = np.asarray(spectra, dtype=float)
        self.flat_components = self.components_
        self.maps_ = np.eye(len(spectra)).repeat(pixels, axis=0)


def put(*given, misfit=None, noise=0.0, **more):
    misfit = [noise] * len(given) if misfit is None else misfit
    return side_by_side(
        [chr(65 + i) for i in range(len(given))], [Fixed(S) for S in given], misfit=misfit,
        n_pixels=150, seconds=[0.0] * len(given), energy=np.arange(3.0), energy_label="Channel", **more,
    )  # fmt: skip


def test_agreement_is_up_to_noise():
    turned = [[1, np.tan(np.radians(3)), 0], [0, 1, 0], [0, 0, 1]]
    # sigma sqrt(3 channels / 50 pixels) radians for each of the two
    for noise, agree in ((0.02, False), (0.2, True)):
        found = put(np.eye(3), turned, noise=noise)
        assert found.angles[0, 1, 0] == pytest.approx(3.0)
        assert found.noise[0, 0] == pytest.approx(np.degrees(noise * np.sqrt(3 / 50)), rel=1e-3)
        assert found.agree[0, 1] == agree
    assert put(np.eye(3), turned).sentence.startswith(
        "A and B fit the data equally well. They disagree"
    )


def test_missing_components_are_empty_and_no_agreement():
    found = put(np.eye(3), np.eye(3)[[2, 0]])
    np.testing.assert_array_equal(np.isnan(found.spectra[1]).all(axis=1), [False, True, False])
    assert np.isnan(found.angles[0, 1]).tolist() == [False, True, False]
    assert not found.agree[0, 1] and found.agreement[0, 1] == 0
    assert put(np.eye(3)[:2], np.eye(3)[[2, 1, 0]]).agreement[0, 1] < 1e-9


def test_worse_fits_are_named_and_other_data_are_not_judged():
    found = put(np.eye(3), np.eye(3), misfit=[1.0, 30.0])
    assert found.sentence.startswith("B fits worse than A. All agree")
    assert "misfits cannot be compared" in put(np.eye(3), np.eye(3), same_data=False).sentence


def test_counts_are_judged_with_their_noise():
    phantom = em.synthetic.mixed_phases(shape=(20, 20), channels=80, k=2, dose=30)
    plain = {
        "plain": em.NMF(2, random_state=0),
        "scaled": em.NMF(2, loss=em.PoissonScaled(), random_state=0),
    }
    found = em.compare(phantom.signal, plain, bands=False)
    assert found.misfit[0] < found.misfit[1] and found.excess[1] == 0


def test_scale_changes_nothing(of_diode):
    tiny = em.compare(1e-9 * DIODE.data, models(3))
    assert tiny.groups == of_diode.groups
    np.testing.assert_allclose(tiny.agreement, of_diode.agreement, atol=0.05)
    np.testing.assert_allclose(tiny.excess, of_diode.excess, atol=1e-2)


def test_refusals():
    with pytest.raises(ValueError, match="at least two models"):
        em.compare(DIODE.data, {"NMF": em.NMF(3)})
    with pytest.raises(TypeError, match="'B' is no model"):
        em.compare(DIODE.data, {"A": em.NMF(3), "B": 3})


def test_the_picture_has_a_panel_for_everything_and_says_the_story(of_diode):
    figure = of_diode.plot()
    assert [axes.get_title(loc="left") for axes in figure.axes[:4]] == [
        "NMF",
        "NMF-SO",
        "SSS",
        "Component 1",
    ]
    written = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert of_diode.sentence in written.replace("\n", " ")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    DIODE.signal.save(file := folder / "diode.hspy")
    for name, more in (
        ("A", []),
        ("B", ["--soft-orthogonal", "0.01"]),
        ("C", ["--crop", "95:120"]),
    ):
        command = ["unmix", str(file), "-k", "3", "--starts", "3", "-o", str(folder / name)]
        assert main([*command, *more]) == 0
    return folder


@pytest.fixture
def results(saved, monkeypatch):
    monkeypatch.chdir(saved)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return saved


def test_two_results_on_the_command_line(results, capsys):
    capsys.readouterr()
    assert main(["compare", "A", "B"]) == 0
    out = capsys.readouterr().out
    assert "The same data, different maps." in out and "SoftOrthogonal" in out
    assert (results / "A-B-compare.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", "A", "C", "-o", "other.png"]) == 0
    out = capsys.readouterr().out
    assert "Different data, the same model and parameters." in out and "'stop': 120.0" in out
    assert main(["compare", "A", "A"]) == 0
    assert "the same model and parameters. " in capsys.readouterr().out


def test_methods_on_the_command_line(results, capsys):
    capsys.readouterr()
    assert main(["compare", "diode.hspy", "-k", "3"]) == 0
    out = capsys.readouterr().out
    assert (
        "NMF-SO, VCA and SSS agree" in out and out.splitlines()[-1] == "Picture: diode-compare.png"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A"], "is a folder"),
        (["A", "diode.hspy"], "one file, or the folders"),
        (["A", "B", "-k", "3"], "go with a file"),
        (["A", "."], "no result in it"),
        (["nowhere.hspy"], "does not exist"),
    ],
)
def test_a_wrong_call_gets_one_sentence(results, capsys, words, said):
    capsys.readouterr()
    assert main(["compare", *words]) == 2
    answer = capsys.readouterr()
    assert said in answer.err and len(answer.err.splitlines()) == 1 and not answer.out


def test_the_callback_follows_every_model():
    told = []
    models = {name: em.NMF(2, random_state=0, n_starts=1) for name in ("one", "other")}
    X = np.eye(2).repeat(6, axis=0) @ np.eye(2).repeat(4, axis=1)
    em.compare(X, models, domain=(3, 4), callback=lambda progress: told.append(progress.sweep))
    assert told.count(1) >= 2
