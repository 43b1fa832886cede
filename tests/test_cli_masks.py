"""What a command leaves out, weighs, frees or holds is what the library does with the same arguments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import endmember as em
from endmember.cli import commands, main, several, targets

pytestmark = pytest.mark.usefixtures("without_report")

UNMIX = ("unmix", "cube.hspy", "-k", 2, "--starts", 1, "--overwrite", "-o", "kept")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a spectrum image of two phases, and masks and weights of it."""
    folder = tmp_path_factory.mktemp("files")
    signal = em.synthetic.mixed_phases((12, 10), channels=64, k=2).signal
    signal.save(folder / "cube.hspy")
    rng = np.random.default_rng(0)
    np.save(folder / "pixels.npy", rng.random((12, 10)) < 0.2)
    np.save(folder / "channels.npy", (np.arange(64) % 9 == 4).astype(np.uint8))
    np.save(folder / "weights.npy", (rng.random((12, 10, 64)) > 0.1).astype(float))
    return folder, signal


@pytest.fixture
def image(files, monkeypatch):
    """The spectrum image; the folder of its file is the current one."""
    monkeypatch.chdir(files[0])
    return files[1].deepcopy()


@pytest.fixture
def call(capsys, image):
    """Run the command beside the files; return exit code, stdout and stderr."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fitted(call, monkeypatch):
    """Run the command; return what it would keep, without pictures and report, and what it says."""
    kept = []
    monkeypatch.setattr(commands, "keep_result", lambda result, *_: kept.append(result))

    def run(*words):
        code, _, err = call(*words)
        assert code == 0, err
        return kept[-1], err

    return run


def same(result, other):
    for one, two in ((result.maps, other.maps), (result.spectra, other.spectra)):
        np.testing.assert_allclose(one.data, two.data, rtol=1e-6, atol=1e-9)


def test_masks_are_those_of_the_library_also_with_a_window(call, image, monkeypatch):
    monkeypatch.setattr(targets, "show_where", lambda *_: None)
    masks = ("--mask", "pixels.npy", "--channel-mask", "channels.npy")
    code, _, err = call(*UNMIX, *masks, "--crop", "450:600", "--loss", "squared")
    assert code == 0, err
    pixels, channels = np.load("pixels.npy"), np.load("channels.npy")
    axis = image.axes_manager[-1].axis
    inside = np.flatnonzero((axis > 449.999) & (axis < 599.999))
    model = em.NMF(2, n_starts=1, random_state=0)
    window = image.isig[int(inside[0]) : int(inside[-1]) + 1]
    same(em.open("kept"), em.unmix(window, model, mask=pixels, channel_mask=channels[inside]))
    same(em.open("kept").reproduce(), em.open("kept"))


def test_weights_are_those_of_the_library(fitted, image):
    result, _ = fitted(*UNMIX, "--weights", "weights.npy")
    model = em.NMF(2, loss=em.Poisson(), n_starts=1, random_state=0)
    same(result, em.unmix(image, model, weights=np.load("weights.npy")))


def test_an_exposure_is_that_of_the_library(fitted, image):
    seconds = np.linspace(0.5, 2.0, 120).reshape(12, 10)
    np.save("seconds.npy", seconds)
    result, _ = fitted(*UNMIX, "--loss", "poisson", "--exposure", "seconds.npy")
    model = em.NMF(2, loss=em.Poisson(), n_starts=1, random_state=0)
    same(result, em.unmix(image, model, exposure=seconds))


def test_a_picture_masks_what_is_not_black(fitted):
    imageio = pytest.importorskip("imageio.v3")
    pixels = np.load("pixels.npy")
    imageio.imwrite("drawn.png", 255 * pixels.astype(np.uint8))
    result, _ = fitted(*UNMIX, "--mask", "drawn.png")
    assert np.array_equal(np.isnan(result.maps.data[0]), pixels)


def test_all_commands_leave_out_the_same_pixels(call, image, monkeypatch):
    for module, name in ((commands, "draw"), (several, "keep_result")):
        monkeypatch.setattr(module, name, lambda *_: None)
    spoiled = image.deepcopy()
    spoiled.data = spoiled.data.astype(float)
    pixels = np.load("pixels.npy")
    spoiled.data[pixels] = np.nan
    spoiled.save("spoiled.hspy")
    image.inav[0, 0].save("one.hspy")
    image.inav[9, 11].save("two.hspy")
    for words in (
        ("rank",), ("path", "-k", 2, "--sparse"),
        ("mlls", "--reference", "one.hspy", "--reference", "two.hspy"),
    ):  # fmt: skip
        command, *options = words
        masked = call(command, "cube.hspy", *options, "--mask", "pixels.npy")
        missing = call(command, "spoiled.hspy", *options, "--missing", "leave-out")
        assert masked[0] == missing[0] == 0, (masked, missing)
        lines = [
            [line for line in out.splitlines() if ": " not in line]
            for _, out, _ in (masked, missing)
        ]
        assert lines[0] == lines[1]


@pytest.mark.parametrize("name", ["maps", "spectra"])
def test_free_factors_follow_signed_data(fitted, name):
    import hyperspy.api as hs

    rng = np.random.default_rng(0)
    maps, spectra = rng.random((12, 10, 2)), rng.random((2, 40))
    (maps if name == "maps" else spectra)[...] -= 0.5
    hs.signals.Signal1D(maps @ spectra).save(f"signed {name}.hspy")
    words = ("unmix", f"signed {name}.hspy", "-k", 2, "--starts", 1)
    result, _ = fitted(*words, "--free", name)
    product = np.moveaxis(result.maps.data, 0, -1) @ result.spectra.data
    np.testing.assert_allclose(product, maps @ spectra, atol=1e-3)
    assert (getattr(result, name).data < 0).any()


def test_fractions_of_known_spectra_are_found(call, fitted):
    import hyperspy.api as hs

    rng, channel = np.random.default_rng(0), np.arange(50)
    spectra = np.stack([np.exp(-(((channel - c) / 6) ** 2)) for c in (12, 25, 38)]) + 0.05
    truth = rng.dirichlet(np.ones(3), size=(8, 9))
    hs.signals.Signal1D(truth @ spectra).save("mixed.hspy")
    known = []
    for j, spectrum in enumerate(spectra):
        hs.signals.Signal1D(spectrum).save(f"{j}.hspy")
        known += ["--known", f"{j + 1}={j}.hspy"]
    for number in (6, 2):  # all of them, or the first alone
        words = (
            "unmix",
            "mixed.hspy",
            "-k",
            3,
            "--starts",
            2,
            "--closure",
            "--overwrite",
            "-o",
            "kept",
        )
        result, _ = fitted(*words, *known[:number])
        maps = np.moveaxis(result.maps.data, 0, -1)
        np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-6)
        if number == 6:
            np.testing.assert_allclose(maps, truth, atol=1e-3)
    code, _, err = call(*words, *known, "--minimum-volume", 0.01)
    assert code == 2 and "--known" in err and "--minimum-volume" in err and "mode=" not in err


@pytest.mark.parametrize("method", ["nmf", "vca"])
def test_only_what_is_missing_is_left_out_where_the_method_can(fitted, image, method):
    data = image.data.astype(float)
    rng = np.random.default_rng(0)
    few = rng.integers(0, [12, 10, 64], size=(9, 3)).T
    data[tuple(few)] = np.nan
    image.data = data
    image.save(f"holed {method}.hspy")
    words = ("unmix", f"holed {method}.hspy", "--missing", "leave-out", "--method", method)
    for more in (("-k", 2), ()):
        result, err = fitted(*words, *more)
        lost = np.isnan(result.maps.data[0])
        whole = "of them whole" in err
        assert np.array_equal(lost, np.isnan(data).any(axis=-1) & whole)
        assert (
            whole
            if method == "vca"
            else "0 of 120 spectra, 0 of 64 channels, 9 single values" in err
        )
    if method == "nmf":
        same(result.reproduce(), result)


@pytest.mark.parametrize(
    ("option", "array", "said"),
    [
        ("--mask", np.zeros((10, 12)), "10 x 12 and the image has 12 x 10 pixels"),
        ("--mask", np.arange(120.0).reshape(12, 10), "more than two values"),
        ("--channel-mask", np.zeros(63), "63 and the image has 64 channels"),
        ("--weights", np.ones((12, 10)), "12 x 10 and the image has 12 x 10 x 64 values"),
        ("--weights", -np.ones((12, 10, 64)), "not negative"),
        ("--mask", np.zeros((12, 10), dtype=complex), "no numbers"),
    ],
)
def test_what_is_no_mask_of_the_image_is_said_in_one_sentence(call, option, array, said):
    np.save("wrong.npy", array)
    code, out, err = call(*UNMIX[:-1], "refused", option, "wrong.npy")
    assert code == 2 and not out and said in err and len(err.splitlines()) == 1
    assert not Path("refused").exists()
