"""The commands that align and that let the axis drift, as a user calls them."""

import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.signals.result.provenance import steps

pytestmark = pytest.mark.usefixtures("without_report")

PHANTOM = em.synthetic.mixed_phases((12, 12), channels=256, k=2, drift=2.0, stretch=0.008)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command in a folder with a cube."""
    monkeypatch.chdir(tmp_path)
    PHANTOM.signal.save("cube.hspy")

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_unmix_finds_the_drift_that_the_library_finds(call):
    options = ("unmix", "cube.hspy", "-k", 2, "--loss", "squared", "--starts", 2, "--drift", 3)
    assert call(*options, "-o", "moved")[0] == 0
    assert call(*options, "--dispersion", "-o", "drawn")[0] == 0
    for folder, dispersion in (("moved", False), ("drawn", True)):
        kept = em.open(folder).model
        nmf = em.NMF(2, n_starts=2, loss=kept.model.loss, random_state=0)
        same = em.Drifting(nmf, dispersion=dispersion).fit(PHANTOM.signal)
        np.testing.assert_allclose(kept.shifts_, same.shifts_, atol=1e-9)
        assert hasattr(kept, "stretches_") == dispersion
    np.testing.assert_allclose(kept.stretches_, same.stretches_, atol=1e-9)


def test_preprocess_aligns_as_the_library_does_and_says_by_how_much(call):
    options = ("preprocess", "cube.hspy", "--align", "-o", "out.hspy")
    code, out, err = call(*options, "--dispersion")
    assert code == 0 and out.splitlines()[1].startswith("Stretched by ")
    assert "were cropped" in err
    kept = em.load("out.hspy")
    same = em.preprocess.align(PHANTOM.signal, dispersion=True)
    np.testing.assert_array_equal(kept.data, same.data)
    assert kept.axes_manager[-1].offset == pytest.approx(same.axes_manager[-1].offset)
    (step,) = steps(kept)
    assert step["step"] == "align" and step["dispersion"] is True and step["interpolate"] is True


def test_dispersion_alone_is_refused(call):
    for words, said in [
        (("unmix", "cube.hspy", "-k", 2, "--dispersion"), "add --drift 3"),
        (("preprocess", "cube.hspy", "--denoise", 2, "--dispersion"), "add --align"),
        (("preprocess", "cube.hspy", "--align", "--dispersion", "--low-loss", "cube.hspy"),
         "the zero-loss peak alone"),
    ]:  # fmt: skip
        code, out, err = call(*words)
        assert code == 2 and out == "" and said in err and len(err.splitlines()) == 1
