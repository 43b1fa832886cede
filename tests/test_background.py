"""Backgrounds: exact without noise, right on average and honest about their errors with it."""

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.factor.noise.model import NoiseModel
from endmember.preprocess import bremsstrahlung_shapes, fit_background, subtract_background
from endmember.preprocess.continuum import snip
from endmember.signals.result.provenance import steps

ENERGY = 400 + 0.5 * np.arange(400)
WINDOW = (420, 500)
INSIDE = (ENERGY >= 420) & (ENERGY < 500)
RNG = np.random.default_rng(1)
EXPONENTS = RNG.uniform(1.5, 4.5, (6, 7))
LAWS = RNG.uniform(20, 90, (6, 7, 1)) * (ENERGY / 450) ** -EXPONENTS[..., None]
COUNTS = RNG.poisson(LAWS)
OPTIONS = {
    "ml": {},
    "log": {},
    "weighted": {},
    "two_area": {},
    "local": {"neighbours": 2.0},
    "two_laws": {},
    "convex": {},
    "compressed": {"rank": 3},
    "bremsstrahlung": {"beam_energy": 2000.0},
}


def poisson_pixels(counts, pixels, seed, stop=500.0, channels=60):
    energy = np.linspace(400.0, stop, channels)
    law = (energy / 400) ** -3.0
    law *= counts / law.mean()
    rng = np.random.default_rng(seed)
    return energy, law, rng.poisson(np.broadcast_to(law, (pixels, channels)))


@pytest.mark.parametrize("method", ["ml", "log", "weighted"])
def test_power_laws_without_noise_are_recovered(method):
    fit = fit_background(LAWS, WINDOW, method, ENERGY)
    np.testing.assert_allclose(fit.exponent, EXPONENTS, rtol=1e-10)
    np.testing.assert_allclose(fit.background(ENERGY), LAWS, rtol=1e-10)
    np.testing.assert_allclose(fit.variance(ENERGY), 0, atol=1e-14 * LAWS.max())


def test_two_areas_are_near_and_agree_with_exspy():
    from exspy.signals import EELSSpectrum

    fit = fit_background(LAWS, WINDOW, "two_area", ENERGY)
    np.testing.assert_allclose(fit.exponent, EXPONENTS, rtol=2e-3)
    signal = EELSSpectrum(LAWS)
    signal.axes_manager[-1].offset, signal.axes_manager[-1].scale = ENERGY[0], 0.5
    theirs = signal.remove_background((420.0, 500.0), fast=True, show_progressbar=False).data
    ours = subtract_background(LAWS, WINDOW, "two_area", ENERGY)
    start = np.argmax(INSIDE)
    assert np.abs(ours - theirs)[..., start:].max() < 5e-3 * LAWS.max()


def test_exspy_agrees_where_both_are_exact():
    from exspy.signals import EELSSpectrum

    signal = EELSSpectrum(LAWS[:2, :2])
    signal.axes_manager[-1].offset, signal.axes_manager[-1].scale = ENERGY[0], 0.5
    theirs = signal.remove_background((420.0, 500.0), fast=False, show_progressbar=False)
    ours = subtract_background(signal, WINDOW)
    scale = LAWS[:2, :2].max()
    np.testing.assert_allclose(theirs.data[..., INSIDE] / scale, 0, atol=1e-6)
    np.testing.assert_allclose(ours.data / scale, 0, atol=1e-12)


def test_at_five_counts_maximum_likelihood_is_unbiased_and_logarithms_are_not():
    energy, _, counts = poisson_pixels(5, 6000, 2)
    bias = {
        method: np.nanmean(fit_background(counts, (400, 501), method, energy).exponent) - 3
        for method in ("ml", "log", "weighted")
    }
    assert abs(bias["ml"]) < 0.04
    assert abs(bias["log"]) > 0.09 and abs(bias["weighted"]) > 0.2


def test_maximum_likelihood_is_the_maximum_of_the_likelihood():
    from scipy.optimize import minimize

    y, E = COUNTS[2, 3, INSIDE], ENERGY[INSIDE]

    def loss(p):
        model = np.exp(p[0] - p[1] * np.log(E / 450))
        return model.sum() - y @ np.log(model)

    best = minimize(loss, [4.0, 3.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    fit = fit_background(COUNTS, WINDOW, "ml", ENERGY)
    np.testing.assert_allclose(fit.exponent[2, 3], best.x[1], atol=1e-5)
    np.testing.assert_allclose(fit.background([450.0])[2, 3, 0], np.exp(best.x[0]), rtol=1e-6)


@pytest.mark.parametrize("method", ["ml", "local"])
def test_residual_in_the_window_has_no_area(method):
    net = subtract_background(COUNTS, WINDOW, method, ENERGY)
    np.testing.assert_allclose(net[..., INSIDE].sum(axis=-1), 0, atol=1e-9)
    assert np.all(net[..., : np.argmax(INSIDE)] == 0) and net.min() < 0


@pytest.mark.parametrize("method", ["two_laws", "convex", "compressed"])
def test_residual_in_the_window_is_zero_within_its_standard_error(method):
    net = subtract_background(COUNTS, WINDOW, method, ENERGY, rank=2)[..., INSIDE]
    assert abs(net.mean()) < 3 * np.sqrt(COUNTS[..., INSIDE].sum()) / net.size


@pytest.mark.parametrize("method", ["ml", "convex"])
def test_standard_error_of_the_extrapolation_covers_the_truth_two_times_in_three(method):
    pixels = 6000 if method == "ml" else 1500
    energy, law, counts = poisson_pixels(30, pixels, 3, stop=480.0, channels=80)
    fit = fit_background(counts, (400, 481), method, energy)
    away = np.array([480.0, 520.0, 560.0] if method == "ml" else [440.0, 480.0])
    truth = law[0] * (away / 400) ** -3
    inside = np.abs(fit.background(away) - truth) < np.sqrt(fit.variance(away))
    np.testing.assert_allclose(inside.mean(axis=0), 0.683, atol=0.05)


@pytest.mark.parametrize("method", ["ml", "two_area", "local", "two_laws", "compressed"])
@pytest.mark.parametrize(("gain", "read"), [(0.25, 0.0), (1.0, 3.0), (4.0, 0.0)])
def test_standard_errors_are_those_of_the_noise_whatever_its_gain(method, gain, read):
    """68 % of the truth lies within one error; what is whole need not be counts."""
    rng, energy = np.random.default_rng(5), ENERGY[:240]
    amount = np.broadcast_to([1.0, 0.0], (20, 20, 2))
    if method in ("two_laws", "compressed"):
        amount = rng.dirichlet([1, 1], (20, 20))
    truth = 100 * amount @ (energy / 400) ** -np.array([[2.0], [4.0]])
    data = gain * (rng.poisson(truth) + rng.normal(0, read, truth.shape))
    if (
        method == "compressed"
    ):  # judged by what it would find without noise: one power law a mixture
        truth = fit_background(truth, (400, 480), "ml", energy).background(energy)
    options = {**OPTIONS[method], "rank": 2, "exponents": (2, 4)}
    fit = fit_background(data, (400, 480), method, energy, **options)
    within = (fit.background(energy) - gain * truth) ** 2 < fit.variance(energy)
    assert within[..., 160:].mean() == pytest.approx(0.68, abs=0.06)


def test_errors_are_not_made_of_the_noise_that_was_taken_out():
    signal = hs.signals.Signal1D(COUNTS)
    signal.axes_manager[-1].offset, signal.axes_manager[-1].scale = 400, 0.5
    denoised = em.preprocess.denoise(signal, 3)
    with pytest.raises(ValueError, match="went through denoise before.*give it as noise="):
        fit_background(denoised, WINDOW)
    counting = NoiseModel(poisson=True)
    stated = fit_background(denoised, WINDOW, noise=counting).variance([550.0])
    recorded = fit_background(signal, WINDOW, noise=counting).variance([550.0])
    assert np.median(stated / recorded) == pytest.approx(1, abs=0.1)


def test_a_compressed_background_is_that_of_the_denoised_data():
    plain = fit_background(em.preprocess.denoise(COUNTS, 3), WINDOW, "ml", ENERGY)
    fit = fit_background(COUNTS, WINDOW, "compressed", ENERGY, rank=3)
    np.testing.assert_allclose(fit.exponent, plain.exponent, rtol=1e-9)
    net = subtract_background(COUNTS, WINDOW, "compressed", ENERGY, rank=3)
    np.testing.assert_allclose((COUNTS - net)[..., 40:], plain.background(ENERGY[40:]), rtol=1e-9)


def test_neighbours_lend_their_exponent_and_lessen_the_error():
    energy, law, counts = poisson_pixels(5, 400, 6)
    counts = counts.reshape(20, 20, -1)
    alone = fit_background(counts, (400, 501), "ml", energy)
    lent = fit_background(counts, (400, 501), "local", energy, neighbours=3.0)
    middle = slice(4, -4)
    assert np.std(lent.exponent) < 0.4 * np.std(alone.exponent)
    said = np.sqrt(lent.covariance[middle, middle, 1, 1].mean())
    assert 0.8 < said / np.std(lent.exponent[middle, middle]) < 1.25


def test_two_laws_are_exact_for_their_mixtures_where_one_is_not():
    mixed = LAWS[:3, :3, :1] * (0.4 * (ENERGY / 450) ** -2.0 + 0.6 * (ENERGY / 450) ** -4.0)
    two = subtract_background(mixed, WINDOW, "two_laws", ENERGY, exponents=(2, 4))
    convex = subtract_background(mixed, WINDOW, "convex", ENERGY)
    one = subtract_background(mixed, WINDOW, "ml", ENERGY)
    size = mixed.max()
    assert np.abs(two).max() < 1e-9 * size
    assert np.abs(one).max() > 1e-3 * size > 10 * np.abs(convex).max()


def test_convex_background_is_positive_falling_and_convex():
    b = fit_background(COUNTS, WINDOW, "convex", ENERGY).background(ENERGY)
    assert b.min() > 0 and np.diff(b).max() < 0 and np.diff(b, 2).min() > -1e-9


def test_compression_steadies_the_extrapolation():
    maps = np.random.default_rng(7).dirichlet([1, 1], 900)
    laws = np.stack([(ENERGY / 400) ** -2.5, (ENERGY / 400) ** -3.5])
    counts = np.random.default_rng(8).poisson(6 * maps @ laws)
    truth = 6 * maps @ laws[:, -1:]
    error = {}
    for method in ("ml", "compressed"):
        b = fit_background(counts, (400, 480), method, ENERGY, rank=2).background(ENERGY[-1:])
        error[method] = np.sqrt(np.mean((b - truth) ** 2))
    assert error["compressed"] < 0.5 * error["ml"]


def test_bremsstrahlung_is_found_between_the_lines():
    E = np.linspace(0.2, 20, 400)
    shapes = bremsstrahlung_shapes(E, 200.0)
    lines = 40 * np.exp(-(((E - 6.4) / 0.1) ** 2))
    spectra = np.stack([shapes @ [3.0, 5.0], shapes @ [0.0, 9.0]]) + lines
    clear = [(1.0, 5.5), (7.5, 20.0)]
    net = subtract_background(spectra, clear, "bremsstrahlung", E, beam_energy=200.0)
    np.testing.assert_allclose(net, np.stack([lines, lines]), atol=1e-8)
    passed = np.linspace(0.1, 1, 400)
    dimmed = subtract_background(
        spectra * passed, clear, "bremsstrahlung", E, beam_energy=200.0, efficiency=passed
    )
    np.testing.assert_allclose(dimmed, np.stack([lines, lines]) * passed, atol=1e-8)


def test_snip_leaves_the_lines_and_takes_what_is_below():
    E = np.linspace(0, 10, 500)
    below = 200 * np.exp(-E / 5)
    lines = 900 * np.exp(-(((E[:, None] - [3.0, 7.0]) / 0.08) ** 2)).sum(axis=1)
    net = subtract_background(below + lines, method="snip", width=12)
    np.testing.assert_allclose(net, lines, atol=0.02 * lines.max())
    np.testing.assert_allclose(snip(1e6 * (below + lines), 12), 1e6 * snip(below + lines, 12))


@pytest.mark.parametrize(("level", "width"), [(400.0, 5), (400.0, 20), (4.0, 20)])
def test_snip_leaves_no_pedestal_of_noise(level, width):
    E = np.linspace(0, 10, 600)
    below = level * np.exp(-E / 8)
    lines = 2 * level * np.exp(-(((E[:, None] - [3.0, 7.0]) / 0.05) ** 2)).sum(axis=1)
    Y = np.random.default_rng(0).poisson(below + lines, (200, 600)).astype(float)
    left = subtract_background(Y, method="snip", width=width).mean(axis=0) / np.sqrt(below)
    assert abs(left[(lines < 0.01 * level) & (E > 0.5) & (E < 9.5)].mean()) < 0.25


@pytest.mark.parametrize("method", OPTIONS)
def test_scale_lazy_float32_signal_and_input(method):
    given = COUNTS.copy()
    one = subtract_background(given, WINDOW, method, ENERGY, **OPTIONS[method])
    np.testing.assert_array_equal(given, COUNTS)
    for scale in (1e-9, 1e7):
        other = subtract_background(scale * COUNTS, WINDOW, method, ENERGY, **OPTIONS[method])
        np.testing.assert_allclose(other, scale * one, atol=2e-6 * scale * COUNTS.max())
    lazy = da.from_array(COUNTS, chunks=(4, 3, 150))
    found = subtract_background(lazy, WINDOW, method, ENERGY, **OPTIONS[method])
    assert isinstance(found, da.Array)
    np.testing.assert_allclose(found.compute(), one, atol=1e-6 * COUNTS.max())
    single = subtract_background(
        COUNTS.astype(np.float32), WINDOW, method, ENERGY, **OPTIONS[method]
    )
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, one, atol=2e-5 * COUNTS.max())
    signal = hs.signals.Signal1D(COUNTS)
    signal.axes_manager[-1].offset, signal.axes_manager[-1].scale = 400, 0.5
    net = subtract_background(signal, WINDOW, method, **OPTIONS[method])
    np.testing.assert_array_equal(net.data, one)
    (step,) = steps(net)
    assert step["step"] == "subtract_background" and step["method"] == method


@pytest.mark.parametrize("method", ["ml", "two_laws", "compressed"])
def test_lazy_data_have_the_same_fit(method):
    eager = fit_background(COUNTS, WINDOW, method, ENERGY, rank=3)
    lazy = fit_background(da.from_array(COUNTS, chunks=(4, 3, 150)), WINDOW, method, ENERGY, rank=3)
    np.testing.assert_allclose(lazy.background(ENERGY), eager.background(ENERGY), rtol=1e-5)
    np.testing.assert_allclose(lazy.variance(ENERGY), eager.variance(ENERGY), rtol=1e-4)


def test_missing_channels_and_empty_pixels_are_left_out():
    holed = LAWS.copy()
    holed[1, 2, 60:90] = np.nan
    holed[3, 3] = 0
    for method in ("ml", "log", "weighted", "local", "convex"):
        fit = fit_background(holed, WINDOW, method, ENERGY)
        b = fit.background(ENERGY)
        assert np.all(b[3, 3] == 0)
        if method in ("ml", "log", "weighted"):
            np.testing.assert_allclose(b[1, 2], LAWS[1, 2], rtol=1e-9)
            assert np.isnan(fit.exponent[3, 3])


def test_exponents_out_of_bounds_are_stopped_and_marked():
    rising = np.stack([(ENERGY / 450) ** 2.0, (ENERGY / 450) ** -3.0])
    for method in ("ml", "log", "two_area"):
        fit = fit_background(rising, WINDOW, method, ENERGY)
        assert fit.limited.tolist() == [True, False] and fit.exponent[0] == 0.5


def test_background_as_a_component_needs_no_subtraction():
    phantom = em.synthetic.oxygen_edge(shape=(20, 20), channels=128, dose=2000, seed=1)
    start = int(np.searchsorted(phantom.energy, 524))
    net = phantom.spectra - phantom.background
    absent = np.zeros((4, phantom.energy.size), dtype=bool)
    absent[1:, :start] = True
    spectra = [em.PowerLaws(phantom.energy, columns=[0]), em.Absent(absent)]
    model = em.NMF(4, solver=em.HALS(), spectra=spectra, n_starts=4, tol=1e-5, random_state=0)
    model.fit(phantom.data)
    found = model.components_[1:]
    order = em.match_components(found, net)
    assert np.all(found[:, :start] == 0)
    # Non-negativity leaves open how the two oxides share their edge: one of them may be off.
    assert np.sort(em.spectral_angle(found[order], net))[1] < 5
    law = model.components_[0]
    assert law.min() > 0 and np.diff(law).max() < 0 and np.diff(law, 2).min() > -1e-9
    background = model.maps_[..., 0] * law.sum()
    truth = phantom.maps @ phantom.background.sum(axis=1)
    np.testing.assert_allclose(background.mean(), truth.mean(), rtol=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "polynomial"}, "allowed: ml, log"),
        ({"window": (500, 420)}, "start below stop"),
        ({"window": (420, 421)}, "at least 3"),
        ({"window": 420}, "no .start, stop."),
        ({"method": "compressed"}, "needs rank="),
        ({"method": "compressed", "rank": 400}, "whole number from 1 to 42"),
        ({"method": "local", "neighbours": 0}, "not positive"),
        ({"energy": None}, "give energy="),
        ({"method": "two_laws", "exponents": []}, "are no numbers"),
        ({"method": "convex", "exponents": "steep"}, "are no numbers"),
        ({"energy": ENERGY[::-1]}, "must rise"),
        ({"method": "bremsstrahlung", "beam_energy": -1}, "not positive"),
        ({"method": "snip", "width": 300}, "fewer than half"),
    ],
)
def test_wrong_input_gives_one_clear_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        subtract_background(COUNTS, **{"window": WINDOW, "energy": ENERGY, **options})
    with pytest.raises(ValueError, match="reaches zero"):
        subtract_background(COUNTS, (-5, 40), energy=ENERGY - 420)
