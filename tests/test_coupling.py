"""Several detectors from signals to a folder and back."""

import shutil

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.cli import main


@pytest.fixture(scope="module")
def both():
    return em.synthetic.concurrent((10, 12), 2, 200, 20, seed=0)


@pytest.fixture(scope="module")
def result(both):
    image = hs.signals.Signal2D(both.maps @ [1.0, 3.0])
    image.metadata.General.title = "ADF"
    model = em.Coupled(2, random_state=0, n_starts=2)
    return em.unmix([both.eels.signal, both.edxs.signal, image], model)


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    return result.save(tmp_path_factory.mktemp("saved") / "answer")


def test_every_detector_keeps_its_axis_and_class(both, result):
    for spectra, phantom in zip(result.spectra, (both.eels, both.edxs), strict=False):
        assert type(spectra) is type(phantom.signal)
        axis = spectra.axes_manager.signal_axes[0]
        np.testing.assert_allclose(axis.axis, phantom.energy)
        order = em.match_components(spectra.data, phantom.spectra)
        assert em.spectral_angle(spectra.data[order], phantom.spectra).max() < 5
    assert result.maps.data.shape == (2, 10, 12)


def test_brightness_in_the_image_is_three_to_one(both, result):
    """Maps carry the scale of EELS, so brightness is compared per unit of its spectra."""
    order = em.match_components(result.spectra[0].data, both.eels.spectra)
    brightness = result.spectra[2].data[order] * np.linalg.norm(both.eels.spectra, axis=1)
    assert brightness[1] / brightness[0] == pytest.approx(3.0, rel=0.1)


def test_saved_and_opened_again_it_is_the_same(result, saved):
    opened = em.open(saved)
    np.testing.assert_array_equal(opened.maps.data, result.maps.data)
    for one, other in zip(opened.spectra, result.spectra, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert opened.model.gamma_ == np.inf and opened.model.weights_ == result.model.weights_
    assert repr(opened.model) == repr(result.model)
    report = (saved / "report.html").read_text()
    assert "structured data fusion" in report and "ADF" in report and "Residual of" in report


def test_answers_about_several_detectors_are_compared_with_none(saved, tmp_path, capsys):
    other = shutil.copytree(saved, tmp_path / "other")
    assert main(["compare", str(saved), str(other)]) == 2
    assert "unmix each detector by itself" in capsys.readouterr().err


def test_plot_shows_a_spectrum_of_every_detector_for_every_component(result):
    with_data = [axes for axes in result.plot().axes if axes.has_data()]
    assert len(with_data) >= 2 * (1 + 3)


def test_again_on_the_same_data_gives_the_same_answer(both, result):
    image = hs.signals.Signal2D(both.maps @ [1.0, 3.0])
    again = result.reproduce([both.eels.signal, both.edxs.signal, image])
    np.testing.assert_array_equal(again.maps.data, result.maps.data)
    with pytest.raises(ValueError, match="not in memory; give them"):
        result.reproduce()


def test_several_signals_need_a_model_of_several(both):
    with pytest.raises(ValueError, match="Coupled"):
        em.unmix([both.eels.signal, both.edxs.signal], em.NMF(2))
    with pytest.raises(TypeError, match="at least two"):
        em.unmix(both.eels.signal, em.Coupled(2))
    smaller = both.edxs.signal.inav[:5]
    with pytest.raises(ValueError, match="pixels"):
        em.unmix([both.eels.signal, smaller], em.Coupled(2))
    with pytest.raises(ValueError, match="twice"):
        em.unmix([both.eels.signal] * 2, em.Coupled(2))


def test_command_fuses_two_files(both, tmp_path, capsys):
    files = [str(tmp_path / "eels.hspy"), str(tmp_path / "edxs.hspy")]
    for file, phantom in zip(files, (both.eels, both.edxs), strict=True):
        phantom.signal.save(file)
    options = ["-k", "2", "--starts", "2", "--tol", "1e-4"]
    assert main(["fuse", *files, *options]) == 0
    assert "2 components of 2 detectors" in capsys.readouterr().out
    opened = em.open(tmp_path / "eels-fused")
    found = opened.spectra[1].data
    order = em.match_components(found, both.edxs.spectra)
    assert em.spectral_angle(found[order], both.edxs.spectra).max() < 5
    assert main(["fuse", files[0], *options]) == 2
    assert "at least two files" in capsys.readouterr().err
    assert main(["fuse", files[0], files[0], *options, "-o", str(tmp_path / "twice")]) == 2
    assert "given twice" in capsys.readouterr().err
    assert main(["fuse", *files, *options, "--overwrite", "--loss", "poisson"]) == 0
    assert isinstance(em.open(tmp_path / "eels-fused").model.loss, em.Poisson)
    capsys.readouterr()
    assert main(["fuse", *files, *options, "--loss", "gauss"]) == 2
    assert "allowed: auto, squared, scaled, poisson" in capsys.readouterr().err
