"""The commands that fit references and relate two signals, as a user calls them."""

import shutil

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.cli import main

pytestmark = pytest.mark.usefixtures("without_report")

PHANTOM = em.synthetic.mixed_phases((12, 10), channels=64, k=2)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command in a folder with a cube and its two references."""
    monkeypatch.chdir(tmp_path)
    PHANTOM.signal.save("cube.hspy")
    axis = PHANTOM.signal.axes_manager.signal_axes[0]
    for name, values in zip(("oxide", "metal"), PHANTOM.spectra, strict=True):
        one = hs.signals.Signal1D(values, axes=[axis.get_axis_dictionary()])
        one.set_signal_type("EELS")
        one.save(f"{name}.msa")

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_mlls_says_and_keeps_what_the_library_finds(call):
    references = ("--reference", "oxide.msa", "--reference", "metal.msa")
    code, out, _ = call("mlls", "cube.hspy", *references, "--loss", "poisson")
    assert code == 0 and "oxide" in out and "Reduced chi-square: median" in out
    assert out.splitlines()[-1].startswith("Report:  cube-mlls")
    same = em.MLLS(["oxide.msa", "metal.msa"], loss=em.Poisson()).fit(PHANTOM.signal)
    kept = em.open("cube-mlls")
    np.testing.assert_allclose(np.moveaxis(kept.maps.data, 0, -1), same.maps_, rtol=1e-9)
    errors = np.moveaxis(hs.load("cube-mlls/errors.hspy").data, 0, -1)
    np.testing.assert_allclose(errors, same.maps_error_, rtol=1e-9)
    mean, error = (
        same.maps_[..., 0].mean(),
        np.sqrt(np.mean(errors[..., 0] ** 2) / errors[..., 0].size),
    )
    assert f"oxide: mean {mean:.4g} ± {error:.2g}, " in out
    code, _, err = call("mlls", "cube.hspy", *references, "--background", "cubic", "-o", "none")
    assert code == 2 and "--background cubic is not known; allowed" in err
    assert call("mlls", "cube.hspy", *references, "--background", "power-law", "-o", "on")[0] == 0
    np.testing.assert_allclose(kept.reproduce().maps.data, kept.maps.data, rtol=1e-9)


def test_fractions_of_known_spectra_are_the_same_by_both_commands(call):
    squared = "--closure", "--loss", "squared"
    known = "-k", 2, "--known", "1=oxide.msa", "--known", "2=metal.msa"
    references = "--reference", "oxide.msa", "--reference", "metal.msa"
    assert call("unmix", "cube.hspy", *known, *squared, "-o", "closed")[0] == 0
    assert call("mlls", "cube.hspy", *references, *squared, "-o", "fitted")[0] == 0
    closed, fitted = (em.open(folder).maps.data for folder in ("closed", "fitted"))
    np.testing.assert_allclose(closed.sum(axis=0), 1)
    np.testing.assert_allclose(closed, fitted, atol=1e-6)
    code, _, err = call("unmix", "cube.hspy", *known, "--known", "3=metal.msa", "-o", "three")
    assert code == 2 and "counted from 1 to 2" in err
    code, _, err = call("unmix", "cube.hspy", *known, "--known", "2=oxide.msa", "-o", "twice")
    assert code == 2 and "--known names component 2 twice" in err


def test_wrong_references_are_one_sentence(call):
    for words, said in [
        (("--reference", "oxid.msa"), "did you mean oxide.msa"),
        (("--reference", "cube.hspy"), "0 single spectra"),
        (("--reference", "oxide.msa", "--background", "spline"), "allowed: constant, linear, power-law"),
        (("--reference", "oxide.msa", "--reference", "oxide.msa"), "are collinear"),
    ]:  # fmt: skip
        code, out, err = call("mlls", "cube.hspy", *words)
        assert code == 2 and out == "" and said in err and len(err.splitlines()) == 1


@pytest.mark.filterwarnings("ignore:.*nearly Gaussian:UserWarning")  # noise
@pytest.mark.parametrize(("method", "kind"), [("pca", em.PCA), ("ica", em.ICA)])
def test_projections_are_kept_as_the_library_finds_them(call, method, kind):
    assert call("unmix", "cube.hspy", "-k", 2, "--method", method)[0] == 0
    same = kind(2, scaling="poisson", random_state=0).fit(PHANTOM.signal)
    found = em.open("cube-unmixed").spectra.data
    np.testing.assert_allclose(found, same.components_, atol=1e-9)
    assert "--sparse" not in call("unmix", "cube.hspy", "--method", method, "-o", "other")[1]
    refused = call("unmix", "cube.hspy", "-k", 2, "--method", method, "--sparse", 1, "-o", "new")
    assert refused[0] == 2 and f"--method {method} takes no --sparse" in refused[2]


@pytest.mark.parametrize(("method", "kind"), [("pls", em.PLS), ("cca", em.CCA)])
def test_two_signals_are_correlated(call, method, kind):
    code, _, err = call("correlate", "cube.hspy", "cube.hspy", "-k", 2, "--method", method)
    assert code == 2 and "given twice" in err
    shutil.copy("cube.hspy", "other.hspy")
    code, out, _ = call("correlate", "cube.hspy", "other.hspy", "-k", 2, "--method", method)
    assert code == 0 and "Component 1: correlation 1.0000" in out
    same = kind(2).fit(PHANTOM.signal, PHANTOM.signal)
    found = hs.load(f"cube-{method}/spectra_2.hspy").data
    np.testing.assert_allclose(found, same.components_y_, rtol=1e-9, atol=1e-12)
    code, _, err = call("correlate", "cube.hspy", "oxide.msa", "-k", 2, "-o", "none")
    assert code == 2 and "no spectrum image" in err
