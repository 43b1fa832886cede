"""MLLS: exact on exact data, honest errors, shifts and scattering recovered, wrong references refused."""

import os
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize, nnls

import endmember as em
from endmember.factor.data.in_memory import Dense
from endmember.factor.regression import Limits, least_squares, poisson
from endmember.methods.standards import Axis, Standard, kernel

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
RNG = np.random.default_rng(0)
CHANNELS = np.arange(100)
R = np.array(
    [np.exp(-0.5 * ((CHANNELS - c) / w) ** 2) + 0.2 for c, w in ((25, 8), (40, 12), (70, 10))]
)
AMOUNTS = RNG.random((2000, 3)) * 50 * (RNG.random((2000, 3)) > 0.2)
EXACT = AMOUNTS @ R
LOSSES = [None, em.PoissonScaled(), em.Poisson()]


def edges(energy):
    """Return three edges with white lines."""
    shapes = [(420, 1.5, 3.0), (424, 2.0, 1.0), (435, 2.5, 2.0)]
    return np.array(
        [
            (1 + a * np.exp(-0.5 * ((energy - e - 3) / w) ** 2)) / (1 + np.exp((e - energy) / 0.8))
            for e, w, a in shapes
        ]
    )


def spectrum(values, start, title="", step=0.5, units="eV"):
    axes = [{"size": size, "navigate": True} for size in values.shape[:-1]]
    size = values.shape[-1]
    axes.append({"name": "E", "offset": start, "scale": step, "size": size, "units": units})
    return hs.signals.Signal1D(values, axes=axes, metadata={"General": {"title": title}})


def image(X, energy, shape=(20, 15)):
    made = hs.signals.Signal1D(X.reshape(*shape, -1))
    axis = made.axes_manager.signal_axes[0]
    axis.name, axis.units = "E", "eV"
    axis.offset, axis.scale = energy[0], energy[1] - energy[0]
    return made


WIDE = 390 + 0.5 * np.arange(160)
ENERGY = 400 + 0.5 * np.arange(120)
REFERENCES = [
    spectrum(values, 390, name)
    for values, name in zip(edges(WIDE), ("Fe", "Co", "Ni"), strict=True)
]
MIXED = RNG.random((300, 3)) * 200 + 20


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("non_negative", [True, False])
def test_exact_data_give_the_exact_amounts(loss, non_negative):
    model = em.MLLS(R, loss=loss, non_negative=non_negative).fit(EXACT)
    np.testing.assert_allclose(model.maps_, AMOUNTS, atol=1e-10)
    np.testing.assert_allclose(model.transform(EXACT[:50]), AMOUNTS[:50], atol=1e-10)


def test_least_squares_are_those_of_scipy_one_pixel_at_a_time():
    noisy = EXACT[:40] + RNG.normal(0, 20, (40, 100))
    bounded = [nnls(R.T, x)[0] for x in noisy]
    np.testing.assert_allclose(em.MLLS(R).fit_transform(noisy), bounded, atol=1e-9)
    free = np.linalg.lstsq(R.T, noisy.T, rcond=None)[0].T
    np.testing.assert_allclose(em.MLLS(R, non_negative=False).fit_transform(noisy), free, atol=1e-9)


def test_the_likelihood_is_the_largest():
    counts = RNG.poisson(EXACT[:30] / 20)
    counts = counts[counts.sum(axis=1) > 0]
    start = least_squares(Dense(counts), R.T, np.ones(100), Limits())
    found = poisson(Dense(counts), R.T, start, Limits())

    def cost(f, x):
        v = f @ R + 1e-300
        return np.sum(v - x * np.log(v))

    for f, x in zip(found, counts, strict=True):
        by_scipy = minimize(cost, f + 0.1, (x,), bounds=[(0, None)] * 3, method="L-BFGS-B")
        assert cost(f, x) <= by_scipy.fun + 1e-6
        gradient = (1 - x / (f @ R)) @ R.T
        assert np.abs(np.where(f > 0, gradient, np.minimum(gradient, 0))).max() < 1e-5


@pytest.mark.parametrize(("loss", "noise"), [(None, "gauss"), *((x, "counts") for x in LOSSES)])
def test_two_thirds_of_the_amounts_lie_within_one_standard_error(loss, noise):
    rng = np.random.default_rng(1)
    noisy = rng.poisson(EXACT) if noise == "counts" else EXACT + rng.normal(0, 5, EXACT.shape)
    model = em.MLLS(R, loss=loss).fit(noisy)
    sure = 3 * model.maps_error_ < AMOUNTS
    within = np.abs(model.maps_ - AMOUNTS) < model.maps_error_
    assert sure.sum() > 4000 and within[sure].mean() == pytest.approx(0.68, abs=0.05)
    assert np.nanmean(model.chi2_) == pytest.approx(1, abs=0.03)


def test_a_coefficient_at_zero_has_the_error_it_would_have_if_free():
    noisy = np.random.default_rng(2).normal(0, 1, (500, 100)) + R[0] * 30
    bounded, free = em.MLLS(R).fit(noisy), em.MLLS(R, non_negative=False).fit(noisy)
    held = (bounded.maps_[:, 1] == 0) & (bounded.maps_[:, 2] > 0)
    assert held.any()
    ratio = bounded.maps_error_[held, 1] / free.maps_error_[held, 1]
    np.testing.assert_allclose(ratio, 1, rtol=1e-6)


def test_the_scale_of_data_and_weights_plays_no_part():
    rng = np.random.default_rng(3)
    noisy, weights = EXACT[:300] + rng.normal(0, 5, (300, 100)), 1 + rng.random((300, 100))
    for loss in (None, em.Poisson()):
        X = np.maximum(noisy, 0) if loss else noisy
        once = em.MLLS(R, loss=loss).fit(X)
        again = em.MLLS(R * 1e3, loss=loss).fit(X * 1e-6)
        np.testing.assert_allclose(again.maps_ * 1e9, once.maps_, rtol=1e-6, atol=1e-6)
    once, again = (em.MLLS(R).fit(noisy, weights=w) for w in (weights, 1e5 * weights))
    for name in ("maps_", "maps_error_", "chi2_"):
        np.testing.assert_allclose(getattr(again, name), getattr(once, name), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_kind_of_input_gives_the_same_answer(loss):
    counts = RNG.poisson(EXACT[:300] / 300)
    mask = np.zeros(300, bool)
    mask[4] = True
    plain = em.MLLS(R, loss=loss).fit(counts, mask=mask)
    kept = em.MLLS(R, loss=loss).fit(sparse.csr_array(counts), mask=mask)
    cube = em.MLLS(R, loss=loss).fit(counts.reshape(20, 15, 100), mask=mask.reshape(20, 15))
    single = em.MLLS(R, loss=loss).fit(counts.astype(np.float32), mask=mask)
    assert single.maps_.dtype == np.float32
    for name in ("maps_", "maps_error_", "chi2_"):
        expected = getattr(plain, name)
        np.testing.assert_allclose(getattr(kept, name), expected, rtol=1e-6, atol=1e-9)
        flat = getattr(cube, name).reshape(expected.shape)
        np.testing.assert_allclose(flat, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(getattr(single, name), expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(plain.maps_[4]).all()


def test_masked_channels_and_missing_entries_have_no_say():
    spoilt, known = EXACT[:200].copy(), np.ones((200, 100))
    spoilt[:, 30] = np.nan
    channel_mask = CHANNELS == 30
    model = em.MLLS(R).fit(spoilt, channel_mask=channel_mask)
    np.testing.assert_allclose(model.maps_, AMOUNTS[:200], atol=1e-9)
    spoilt = EXACT[:200].copy()
    spoilt[:, 60:70], known[:, 60:70] = 1e6, 0
    for loss in (None, em.Poisson()):
        model = em.MLLS(R, loss=loss).fit(spoilt, weights=known)
        np.testing.assert_allclose(model.maps_, AMOUNTS[:200], atol=1e-7)


@pytest.mark.parametrize("loss", [None, em.Poisson()], ids=repr)
@pytest.mark.parametrize("noisy", [False, True])
def test_a_planted_shift_is_recovered(loss, noisy):
    planted = np.array([0.73, -0.42, 1.1])
    moved = np.diagonal([edges(ENERGY - s) for s in planted], axis1=0, axis2=1).T
    X = MIXED @ moved
    X = np.random.default_rng(4).poisson(X) if noisy else X
    model = em.MLLS(REFERENCES, shift=2.0, loss=loss).fit(image(X, ENERGY))
    assert np.abs(model.shifts_ - planted).max() < 0.1 * 0.5  # a tenth of a channel
    assert model.names_ == ["Fe", "Co", "Ni"]


@pytest.mark.parametrize("noisy", [False, True])
def test_planted_widths_and_a_planted_gain_are_recovered(noisy):
    shifts, widths, gain = np.array([0.4, -0.6, 0.2]), np.array([0.0, 2.0, 3.5]), 0.01
    fine = 0.02 * np.arange(-400, 401)
    centre = (ENERGY[0] + ENERGY[-1]) / 2

    def seen(j):
        places = centre + (ENERGY[:, None] - fine - shifts[j] - centre) / (1 + gain)
        blur = np.exp(-4 * np.log(2) * (fine / widths[j]) ** 2) if widths[j] else fine == 0
        return edges(np.clip(places, WIDE[0], WIDE[-1]))[j] @ (blur / blur.sum())

    X = 100 * MIXED @ np.array([seen(j) for j in range(3)])
    X = np.random.default_rng(4).poisson(X) if noisy else X
    model = em.MLLS(REFERENCES, shift=2.0, broaden=5.0, gain=0.02).fit(image(X, ENERGY))
    assert np.abs(model.shifts_ - shifts).max() < 0.05 and abs(model.gain_ - gain) < 2e-3
    assert np.abs(model.widths_ - widths).max() < 0.3
    assert np.median(np.abs(model.maps_.reshape(-1, 3) / (100 * MIXED) - 1)) < 0.01


def scattered(energy, weights, zero):
    """Convolve the edges with a low loss, one term after another."""
    total = sum(
        w * edges(np.clip(energy - 0.5 * (j - zero), WIDE[0], WIDE[-1]))
        for j, w in enumerate(weights)
    )
    return total / weights.sum()


@pytest.mark.parametrize("background", [None, "power_law"])
def test_plural_scattering_by_a_known_low_loss_is_exact(background):
    losses = -5 + 0.5 * np.arange(90)
    low = np.exp(-0.5 * (losses / 0.6) ** 2) + 0.2 * np.exp(-0.5 * ((losses - 15) / 3) ** 2)
    X = MIXED @ scattered(ENERGY, low, int(np.argmax(low)))
    if background:
        X = X + 1e9 * ENERGY**-3.0
    model = em.MLLS(REFERENCES, low_loss=spectrum(low, -5), background=background)
    found = model.fit(image(X, ENERGY)).maps_[..., :3].reshape(-1, 3)
    np.testing.assert_allclose(found, MIXED, atol=1e-8)
    without = em.MLLS(REFERENCES, background=background).fit(image(X, ENERGY))
    assert np.abs(without.maps_[..., :3].reshape(-1, 3) - MIXED).max() > 5


def test_the_zero_loss_is_where_the_low_loss_is_largest():
    weights, before = kernel(np.array([1.0, 6.0, 1.0]), Axis(np.arange(9.0)))
    np.testing.assert_allclose(weights, [0.125, 0.75, 0.125])
    assert before == 1


def test_references_come_as_arrays_signals_and_files(tmp_path):
    path = tmp_path / "Fe.msa"
    REFERENCES[0].save(path)
    X = image(MIXED @ edges(ENERGY), ENERGY)
    mixed = em.MLLS([path, REFERENCES[1], spectrum(edges(WIDE)[2], 390)]).fit(X)
    arrays = em.MLLS(edges(ENERGY)).fit(X)
    np.testing.assert_allclose(mixed.maps_, arrays.maps_, rtol=1e-5)
    assert mixed.names_ == ["Fe", "Co", "reference 3"]
    stacked = em.MLLS(spectrum(edges(ENERGY), 400)).fit(X)
    np.testing.assert_allclose(stacked.maps_, arrays.maps_, rtol=1e-12)


def test_a_background_is_brought_on_the_axis_of_the_data_or_refused():
    ground = np.exp(-(WIDE - 390) / 40)
    X = image(MIXED @ edges(ENERGY) + 50 * np.exp(-(ENERGY - 390) / 40), ENERGY)
    found = em.MLLS(REFERENCES, background=spectrum(ground, 390)).fit(X).maps_
    np.testing.assert_allclose(found[..., 3], 50, rtol=1e-6)
    with pytest.raises(ValueError, match="does not cover the data"):
        em.MLLS(REFERENCES, background=spectrum(ground[:120], 300)).fit(X)


@pytest.mark.filterwarnings(
    "ignore:overflow encountered:RuntimeWarning"
)  # tails of 1e-308 in SciPy
def test_a_finer_reference_is_averaged_over_the_channels():
    fine = np.arange(0, 50, 0.01)
    standard = Standard("peak", np.exp(-0.5 * ((fine - 25.3) / 0.4) ** 2), Axis(fine))
    coarse = standard.at(np.arange(2.0, 48.0), 1.0)
    assert coarse.sum() == pytest.approx(0.4 * np.sqrt(2 * np.pi), rel=1e-6)


def test_an_extra_component_is_added_only_where_the_residual_is_structured():
    noisy = EXACT + np.random.default_rng(5).normal(0, 3, EXACT.shape)
    assert em.MLLS(R, extra=1).fit(noisy).names_ == [f"reference {i}" for i in (1, 2, 3)]
    lone = np.where(np.abs(CHANNELS - 70) < 5, 1.0, 0.0)
    noisy = AMOUNTS[:, :2] @ R[:2] + np.outer(AMOUNTS[:, 2], lone)
    noisy += np.random.default_rng(5).normal(0, 3, EXACT.shape)
    plain, more = em.MLLS(R[:2]).fit(noisy), em.MLLS(R[:2], extra=1).fit(noisy)
    assert more.names_[-1] == "extra component"
    assert em.spectral_angle(more.components_[2], lone) < 8
    assert np.mean(plain.chi2_) > 2 and np.mean(more.chi2_) == pytest.approx(1, abs=0.02)


def test_an_extra_component_goes_with_references_of_any_sign():
    signed = R[:2] - 0.3
    noisy = AMOUNTS[:, :2] @ signed + np.outer(AMOUNTS[:, 2], R[2])
    noisy += np.random.default_rng(6).normal(0, 3, EXACT.shape)
    model = em.MLLS(signed, extra=1).fit(noisy)
    assert model.n_components_ == 3 and np.mean(model.chi2_) == pytest.approx(1, abs=0.02)


def test_nearly_collinear_references_are_named_and_wholly_collinear_ones_refused():
    near = np.array([R[0], R[1], R[0] + 1e-3 * R[2]])
    with pytest.warns(UserWarning, match="reference 1 and reference 3 are nearly collinear"):
        model = em.MLLS(near).fit(EXACT)
    assert model.correlation_[0, 2] > 0.9999 and model.condition_ > 1000
    with pytest.raises(ValueError, match="reference 1 and reference 2 and reference 3 are collin"):
        em.MLLS(np.array([R[0], R[1], R[0] + R[1]])).fit(EXACT)


def test_an_answer_of_nmf_is_refined():
    phantom = em.synthetic.mixed_phases((14, 11), channels=90, k=3, dose=400, seed=3)
    nmf = em.unmix(phantom.signal, em.NMF(3, random_state=0))
    refined = em.MLLS(nmf.spectra, loss=em.Poisson()).fit(phantom.signal)
    np.testing.assert_allclose(refined.components_, nmf.spectra.data, rtol=1e-12)
    again = em.NMF(3, init=(refined.maps_, refined.components_), max_iter=1).fit
    with pytest.warns(UserWarning):
        assert again(phantom.signal).objective_[0] <= nmf.model.objective_[-1] * (1 + 1e-3)


def test_a_result_is_saved_and_reopened_with_its_errors(tmp_path):
    X = image(MIXED @ edges(ENERGY) + RNG.normal(0, 1, (300, 120)), ENERGY)
    result = em.unmix(X, em.MLLS(REFERENCES, shift=1.0))
    result.save(tmp_path / "fit")
    again = em.open(tmp_path / "fit")
    np.testing.assert_allclose(again.model.maps_error_, result.model.maps_error_)
    np.testing.assert_allclose(again.model.chi2_, result.model.chi2_)
    np.testing.assert_allclose(again.reproduce(X).maps.data, result.maps.data, rtol=1e-12)
    page = (tmp_path / "fit" / "report.html").read_text()
    assert "Leapman" in page and "Fe" in page and "Reduced chi-square" in page
    assert (tmp_path / "fit" / "errors.hspy").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (em.MLLS(), "references are missing"),
        (em.MLLS(R[:, :50]), "known spectra have 50 channels and the data 100"),
        (em.MLLS(["none.msa"]), "none.msa does not exist"),
        (em.MLLS(R, loss="squared"), "is not a loss"),
        (em.MLLS(R, loss=em.BetaDivergence(0)), "allowed: em.SquaredError"),
        (em.MLLS(R, shift=-1), "shift=-1"),
        (em.MLLS(R, shift=1e9), "leave the data"),
        (em.MLLS(R, broaden=np.nan), "broaden=nan"),
        (em.MLLS(R, broaden=1e9), "leave the data"),
        (em.MLLS(R, gain=1), "gain=1"),
        (em.MLLS(R, extra=2), "extra=2"),
        (em.MLLS(R, extra=1, non_negative=False), "not negative"),
        (em.MLLS(R, maps=em.Ridge()), "allowed: maps=None"),
        (em.MLLS(R, maps=em.SumToOne(mode="scale")), "known spectra have known scales"),
        (em.MLLS(R, background="spline"), "background='spline' is not known"),
        (em.MLLS(R, background="power_law"), "energies are above zero"),
        (em.MLLS(np.vstack([R, 0 * R[:1]])), "zero or NaN everywhere"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_what_is_allowed(model, words):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=words):
        model.fit(EXACT)


def test_references_of_another_axis_are_refused():
    X = image(EXACT[:300], 400 + CHANNELS)
    with pytest.raises(
        ValueError, match="does not cover the data, 400 to 499; crop the data to what all"
    ):
        em.MLLS(REFERENCES).fit(X)
    with pytest.raises(ValueError, match="is in keV and the data are in eV"):
        em.MLLS(spectrum(R[0], 400, "Fe", 1.0, "keV")).fit(X)
    with pytest.raises(ValueError, match="Poisson.. needs data without negative"):
        em.MLLS(R, loss=em.Poisson()).fit(EXACT - 1)
    with pytest.raises(ValueError, match="takes no compressed data"):
        em.MLLS(R).fit(em.compress(EXACT, 5))


@pytest.mark.skipif(not DATA.exists(), reason="the real data are not here (ENDMEMBER_DATA)")
def test_iron_is_fitted_on_its_own_uneven_axis():
    with np.load(DATA / "other/stxm_iron_FeL.npz") as file:
        density = -np.log(file["I"] / file["i0"][:, 1])[40:80, 40:80]
        energy = file["energy_eV"]
        references = [file["reduced_t"][:, 1], file["oxidized_t"][:, 1]]
    stack = hs.signals.BaseSignal(
        density,
        axes=[
            *({"size": 40, "navigate": True} for _ in range(2)),
            {"axis": energy, "name": "Photon energy", "units": "eV", "navigate": False},
        ],
    )
    model = em.MLLS(references, background="constant", shift=0.5).fit(stack)
    assert np.abs(model.shifts_).max() < 0.5 and model.maps_.shape == (40, 40, 3)
    unexplained = density - model.inverse_transform(model.maps_)
    assert np.sum(unexplained**2) < 0.02 * np.sum(density**2)


def test_a_signal_without_calibration_goes_by_its_channels():
    phantom = em.synthetic.diode(shape=(6, 6), channels=40)
    bare = hs.signals.Signal1D(phantom.spectra)
    ours = em.MLLS(bare).fit(phantom.signal)
    np.testing.assert_array_equal(ours.maps_, em.MLLS(phantom.spectra).fit(phantom.signal).maps_)
    with pytest.raises(ValueError, match="channels"):
        em.MLLS(bare.isig[:30]).fit(phantom.signal)


@pytest.mark.parametrize("loss", [None, em.Poisson()], ids=repr)
@pytest.mark.parametrize("non_negative", [True, False])
def test_fractions_minimise_the_loss_among_all_that_sum_to_one(loss, non_negative):
    """Of a convex loss: its slope is the same along all references that are there, and larger along the others."""
    ground = np.exp(-CHANNELS / 30)[None]
    S = np.vstack([60 * R, ground])
    rng = np.random.default_rng(7)
    truth = np.column_stack([rng.dirichlet([0.4] * 3, 40), rng.random(40) * 50])
    counts = rng.poisson(truth @ S)
    model = em.MLLS(
        60 * R, loss=loss, non_negative=non_negative, background=ground, maps=em.SumToOne()
    )
    found = model.fit_transform(counts)
    np.testing.assert_allclose(found[:, :3].sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(model.transform(counts), found, atol=1e-12)

    V = found @ S
    slope = ((V - counts) if loss is None else (1 - counts / V)) @ S.T
    slope[:, :3] -= np.sum(found * slope, axis=1, where=[True] * 3 + [False])[:, None]
    size = np.abs(counts @ S.T).max() if loss is None else S.sum(axis=1).max()
    there = (found > 0) | (not non_negative)
    np.testing.assert_allclose(np.where(there, slope, np.minimum(slope, 0)) / size, 0, atol=1e-9)
    assert (found == 0).any() == non_negative


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_fractions_know_their_errors(loss):
    truth = np.random.default_rng(8).dirichlet([2, 2, 2], 2000)
    counts = np.random.default_rng(9).poisson(truth @ R * 30)
    model = em.MLLS(30 * R, loss=loss, maps=em.SumToOne()).fit(counts)
    sure = 3 * model.maps_error_ < truth
    within = np.abs(model.maps_ - truth) < model.maps_error_
    assert sure.sum() > 2000 and within[sure].mean() == pytest.approx(0.68, abs=0.05)
    assert np.nanmean(model.chi2_) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_few_counts_that_the_references_miss_have_a_large_chi2(loss):
    rng = np.random.default_rng(10)
    counts = rng.poisson(400 * (R[:1] + R[1:2] + 0.2 * R[2:]), (9, 100))
    full, missing = em.MLLS(R, loss=loss).fit(counts), em.MLLS(R[:2], loss=loss).fit(counts)
    assert np.all(np.abs(full.chi2_ - 1) < 0.6) and np.all(missing.chi2_ > 3)
    ratio = full.maps_.std(axis=0, ddof=1) / full.maps_error_.mean(axis=0)
    assert np.all((ratio > 0.5) & (ratio < 1.8))


def test_few_spectra_that_are_no_counts_leave_the_chi2_open():
    with pytest.warns(UserWarning, match="3 spectra of 100 channels that are no counts"):
        model = em.MLLS(R).fit(EXACT[:3] + RNG.normal(0, 1, (3, 100)))
    assert np.isnan(model.chi2_).all() and np.isfinite(model.maps_error_).all()
