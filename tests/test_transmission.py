"""Absorbance and its noise; baselines under lines."""

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.preprocess import absorbance, subtract_baseline

RNG = np.random.default_rng(0)
ENERGY = np.linspace(700.0, 730.0, 60)
SPECTRA = np.stack([1.5 * np.exp(-((ENERGY - at) ** 2) / 8) for at in (708, 721)])
MAPS = RNG.uniform(0, 2, (8, 9, 2))
I0 = 4e3 * (1 + 0.2 * np.sin(ENERGY))
THROUGH = I0 * np.exp(-MAPS @ SPECTRA)


def test_absorbance_is_that_of_the_law_of_beer_and_zeros_are_missing():
    np.testing.assert_allclose(absorbance(THROUGH, I0), MAPS @ SPECTRA, atol=1e-12)
    dark = THROUGH.copy()
    dark[2, 3, 5] = 0
    signal = hs.signals.Signal1D(dark)
    for data in (dark, signal, signal.as_lazy()):
        found = absorbance(data, I0)
        array = found if data is dark else found.data
        array = array.compute() if hasattr(array, "compute") else array
        assert np.argwhere(np.ma.getmaskarray(array)).tolist() == [[2, 3, 5]]
    fitted = em.NMF(2, random_state=0).fit(absorbance(dark, I0))
    np.testing.assert_allclose(fitted.inverse_transform(fitted.maps_), MAPS @ SPECTRA, atol=1e-3)


def test_the_noise_of_absorbance_is_carried_along_and_weighs_right():
    draws = [
        absorbance(RNG.poisson(THROUGH), RNG.poisson(I0), variance="counts") for _ in range(400)
    ]
    spread = np.var([A for A, _ in draws], axis=0)
    bright = THROUGH > 200
    np.testing.assert_allclose(np.median(spread[bright] / draws[0][1][bright]), 1, atol=0.05)
    A, variance = absorbance(RNG.poisson(THROUGH / 4), I0 / 4, variance=THROUGH / 4)
    off = [
        np.linalg.norm(model.inverse_transform(model.maps_) - MAPS @ SPECTRA)
        for model in (
            em.NMF(2, random_state=0).fit(A, weights=1 / variance),
            em.NMF(2, random_state=0).fit(A),
        )
    ]
    assert off[0] < off[1]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: absorbance(THROUGH, np.ones(7)), "I0 has the shape"),
        (lambda: absorbance(-THROUGH, I0), "swapped"),
        (lambda: absorbance(THROUGH, I0, variance="poison"), "counts"),
        (lambda: subtract_baseline(THROUGH, "aslss"), "asls"),
        (lambda: subtract_baseline(THROUGH, "asls", lamb=3), "lamb"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_baseline_is_taken_from_under_the_lines(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pybaselines")
    lines = MAPS @ SPECTRA
    ground = 5 + 0.1 * (ENERGY - 700)  # asymmetric least squares leave a straight line as it is
    axes = [{"name": name, "size": size} for name, size in zip("yxE", lines.shape, strict=True)]
    signal = hs.signals.Signal1D((lines + ground)[..., ::-1], axes=axes)
    signal.axes_manager[-1].scale, signal.axes_manager[-1].offset = -0.5, 730.0
    found = subtract_baseline(signal, lam=1e5, p=1e-3)
    assert np.abs(found.data[..., ::-1] - lines).max() < 0.1 * lines.max()
    np.testing.assert_allclose(
        subtract_baseline(signal.as_lazy(), lam=1e5, p=1e-3).data.compute(), found.data
    )
    signal.save(tmp_path / "raman.hspy")
    out = str(tmp_path / "out.hspy")
    assert main(["preprocess", str(tmp_path / "raman.hspy"), "--baseline", "asls", "-o", out]) == 0
    assert "Baseline subtracted: asls" in capsys.readouterr().out
    words = ["unmix", str(tmp_path / "raman.hspy"), "-k", "2", "--baseline", "asls"]
    assert main([*words, "-o", str(tmp_path / "fit"), "--starts", "2"]) == 0
    again = em.open(tmp_path / "fit").reproduce()
    assert again.record["steps"][0]["step"] == "subtract_baseline"
    monkeypatch.setitem(__import__("sys").modules, "pybaselines", None)
    with pytest.raises(ValueError, match=r'pip install "endmember\[baselines\]"'):
        subtract_baseline(signal)
