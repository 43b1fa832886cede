"""Drifting: shifts and spectra that are known come back, whatever kind the data are."""

import pickle

import dask.array as da
import numpy as np
import pytest
from scipy import sparse
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import endmember as em
from endmember.factor.data import observed as inputs
from endmember.factor.data.in_memory import Dense, Sparse, Weighted
from endmember.factor.drift import smoothing
from endmember.factor.drift.shifted import STEPS, Shifted, reader, shifted_weights
from endmember.factor.drift.smoothing import SmoothField

PHANTOM = em.synthetic.mixed_phases(shape=(20, 20), k=2, dose=300, drift=2.0, channels=256)


def drifting(**options):
    return em.Drifting(em.NMF(2, n_starts=3, random_state=0, **options))


def error(shifts, truth=PHANTOM.drift):
    difference = shifts - truth
    return np.nanstd(difference)


@pytest.fixture(scope="module")
def fitted():
    """Return the model of the phantom, fitted once."""
    return drifting().fit(PHANTOM.data)


def matrix_of(data):
    """Return shifted data by another road: one dense reading matrix for each row."""
    X = data.X.rows(np.arange(data.shape[0]))
    channels = np.arange(X.shape[1])
    rows = [reader(channels, data.columns + d, 4) @ x for d, x in zip(data.shifts, X, strict=True)]
    return np.array(rows)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_products_of_shifted_data_are_those_of_the_rows_read_one_by_one(kind):
    rng = np.random.default_rng(0)
    X = rng.poisson(0.7, (30, 24)).astype(float)
    source = Dense(X) if kind == "dense" else Sparse(sparse.csr_array(X))
    data = Shifted(source, rng.uniform(-2, 2, 30))
    Y = matrix_of(data)
    Z, F = rng.random((Y.shape[1], 3)), rng.random((30, 3))
    np.testing.assert_allclose(data.dot(Z), Y @ Z)
    np.testing.assert_allclose(data.transposed_dot(F), Y.T @ F)
    np.testing.assert_allclose(data.channel_gram(), Y.T @ Y)
    np.testing.assert_allclose(data.squared_norm, np.sum(Y**2))
    np.testing.assert_allclose(data.rows(np.array([3, 1])), Y[[3, 1]], atol=1e-15)
    np.testing.assert_allclose(data.misfit([F, Z]), 0.5 * np.sum((Y - F @ Z.T) ** 2))


def test_whole_shifts_move_counts_and_nothing_else():
    rng = np.random.default_rng(1)
    spectra, shifts = rng.poisson(2.0, (40, 30)), rng.integers(-3, 4, 40)
    recorded = np.array([np.roll(x, d) for x, d in zip(spectra, shifts, strict=True)])
    for source in (Dense(recorded), Sparse(sparse.csr_array(recorded))):
        data = Shifted(source, shifts)
        inside = spectra[:, data.columns]
        np.testing.assert_array_equal(data.rows(np.arange(40)), inside)
        entries = data.entries(dense=True).x
        np.testing.assert_array_equal(entries, inside)
    assert data.columns[0] == 3 and data.columns[-1] == 26  # neither wrapped nor guessed


def test_reading_between_channels_is_exact_for_cubics_and_never_negative_by_lines():
    channels, places = np.arange(12), np.array([1.25, 4.5, 9.0, 10.5])
    for power in range(4):
        inner = places[:3]
        np.testing.assert_allclose(reader(channels, inner, 4) @ channels**power, inner**power)
    assert (reader(channels, places, 2).data > 0).all()
    np.testing.assert_allclose(reader(channels, places, 2).sum(axis=1), 1.0)


def test_missing_entries_stay_missing_when_read_at_a_shift():
    X = np.arange(20.0).reshape(2, 10)
    weights = np.ones((2, 10))
    weights[0, 4] = 0
    moved = shifted_weights(Weighted(Dense(X), weights), np.array([1, 1]))
    assert moved.W[0, 3] == 0 and moved.W[1, 3] == 1 and (moved.W[:, -1] == 0).all()
    np.testing.assert_array_equal(moved.X[1, :-1], X[1, 1:])


def evidence_of(truth, noise, seed):
    """Return what is known of a field measured with noise: a, U, b of the whole image, and the measurement."""
    noisy = truth + noise * np.random.default_rng(seed).standard_normal(truth.shape)
    a, U = np.full((truth.size, 1, 1), 1 / noise**2), np.zeros((truth.size, 1, 1))
    return a, U, noisy.reshape(-1, 1) / noise**2, noisy


def test_the_evidence_finds_the_length_that_errs_least_along_each_axis():
    y, x = np.mgrid[:24, :24] / 24
    truth = np.sin(12 * y) * np.cos(2 * x)
    a, U, b, noisy = evidence_of(truth, 0.3, seed=2)
    field = SmoothField(truth.shape)
    best, ((down, across),) = field.best(a, U, b, 0 * b)
    assert down < across / 2

    def wrong(lengths):
        return np.std(field.solve(a, U, b, (lengths,))[0].reshape(truth.shape) - truth)

    assert wrong((down, across)) == np.std(best.reshape(truth.shape) - truth)
    assert wrong((down, across)) < 0.4 * np.std(noisy - truth)
    others = [(down / 2, across), (down * 2, across), (down, across / 2), (down, across * 2)]
    assert wrong((down, across)) < 1.05 * min(map(wrong, others))


@pytest.mark.parametrize("asked, slow", [(24 * 24, 1.0), (12 * 12, 9.0)])
def test_of_a_large_image_a_part_tells_the_lengths(monkeypatch, asked, slow):
    # The slow field is nearly a plane in the window in the middle: only bins of all pixels see it bend.
    y, x = np.mgrid[:48, :48] / 10
    a, U, b, noisy = evidence_of(np.sin(5 * y / slow) * (1 + 0.1 * x), 0.2, seed=3)
    monkeypatch.setattr(smoothing, "ASKED", 48 * 48)
    whole, lengths = SmoothField((48, 48)).best(a, U, b, 0 * b)
    monkeypatch.setattr(smoothing, "ASKED", asked)
    quick, told = SmoothField((48, 48)).best(a, U, b, 0 * b)
    assert 0.4 < told[0][0] / lengths[0][0] < 2.1
    assert np.std(quick - whole) < 0.2 * np.std(whole.reshape(48, 48) - noisy)


@pytest.mark.parametrize("domain", [(5, 6), (1, 7), (2, 4), (3, 2, 4)])
def test_planes_cost_nothing_and_all_else_is_in_the_determinant(domain):
    field, strengths = SmoothField(domain), np.arange(1.0, 1 + len(domain))
    whole = sum(s * P.toarray() for s, P in zip(strengths, field.penalties, strict=True))
    plane = sum((2 - axis) * place for axis, place in enumerate(np.indices(domain))).ravel()
    flat = np.ones(plane.size)
    np.testing.assert_array_equal(whole @ (plane if min(domain) > 2 else flat), 0)
    values = np.linalg.eigvalsh(whole)
    expected = np.log(values[values > 1e-9 * values.max()]).sum()
    np.testing.assert_allclose(field.log_determinant(strengths), expected)


def test_drift_is_found_and_the_spectra_are_those_of_a_still_axis(fitted):
    still = em.synthetic.mixed_phases(shape=(20, 20), k=2, dose=300, channels=256)
    plain = em.NMF(2, n_starts=3, random_state=0)

    def angle(model):
        order = em.match_components(model.components_, PHANTOM.spectra)
        return em.spectral_angle(model.components_[order], PHANTOM.spectra).max()

    assert error(fitted.shifts_) < 0.04
    assert abs(fitted.shifts_.mean()) < 1e-12
    best = angle(plain.fit(still.data))
    assert angle(fitted) < 1.2 * best < angle(plain.fit(PHANTOM.data)) / 1.3
    assert angle(drifting().fit(still.data)) < 1.05 * best


@pytest.mark.filterwarnings(
    "ignore:not converged:sklearn.exceptions.ConvergenceWarning"
)  # 50 sweeps
@pytest.mark.parametrize("dose, largest", [(200, 0.1), (5000, 0.03)])
def test_the_error_of_the_field_falls_with_the_dose(dose, largest):
    phantom = em.synthetic.mixed_phases(shape=(32, 32), dose=dose, drift=1.5)
    model = em.Drifting(em.NMF(4, n_starts=1, max_iter=50, tol=1e-4, random_state=0))
    assert error(model.fit(phantom.data).shifts_, phantom.drift) < largest


def test_lazy_sparse_and_two_dimensional_data_give_the_same_shifts(fitted):
    flat = PHANTOM.data.reshape(400, -1)
    lazy = drifting().fit(da.from_array(PHANTOM.data, chunks=(7, 20, 256)))
    counts = drifting().fit(sparse.csr_array(flat.astype(np.int64)), domain=(20, 20))
    for other in (lazy, counts):
        np.testing.assert_allclose(other.shifts_, fitted.shifts_, atol=1e-9)
        np.testing.assert_allclose(other.components_, fitted.components_, atol=1e-6)


def test_data_that_stay_on_disk_give_the_same_shifts(monkeypatch, fitted):
    monkeypatch.setattr(inputs, "KEPT_UP_TO", 0)  # else data this small are read once and kept
    chunks = da.from_array(PHANTOM.data, chunks=(7, 6, 256))
    lazy = drifting().fit(chunks)
    np.testing.assert_allclose(lazy.shifts_, fitted.shifts_, atol=1e-9)
    np.testing.assert_allclose(lazy.transform(chunks), fitted.transform(PHANTOM.data), rtol=1e-6)


def test_a_drifting_model_is_an_estimator_like_any_other():
    model = drifting(max_iter=30)
    copy = clone(model).set_params(model__n_components=2, smooth="auto")
    assert copy is not model and copy.get_params().keys() == model.get_params().keys()
    with pytest.raises(NotFittedError):
        copy.transform(PHANTOM.data)
    before = PHANTOM.data.copy()
    before.setflags(write=False)
    one = copy.fit(before).maps_
    np.testing.assert_array_equal(one, copy.fit_transform(np.asfortranarray(before)))
    np.testing.assert_array_equal(before, PHANTOM.data)
    assert not hasattr(copy.model, "components_")  # the model given stays as it was
    again = pickle.loads(pickle.dumps(copy))
    np.testing.assert_array_equal(again.transform(before), copy.transform(before))
    with pytest.raises(ValueError, match="255 features"):
        copy.transform(before[..., :-1])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_single_channels_left_out_anywhere_do_no_harm(dtype):
    """Around them, every shift leaves other channels to read."""
    channels = np.zeros(PHANTOM.data.shape[-1], bool)
    channels[[9, len(channels) // 2]] = True
    model = drifting().fit(PHANTOM.data.astype(dtype), channel_mask=channels)
    assert error(model.shifts_) < 0.05
    assert np.isfinite(em.assess.uncertainty(model, PHANTOM.data, channel_mask=channels).maps).any()


@pytest.mark.filterwarnings(
    "ignore:not converged:sklearn.exceptions.ConvergenceWarning"
)  # 30 sweeps
def test_masks_missing_entries_and_poisson_find_the_same_drift():
    mask = np.zeros((20, 20), bool)
    mask[3:6, 4:9] = True
    masked = drifting().fit(PHANTOM.data, mask=mask)
    assert (np.isnan(masked.shifts_) == mask).all() and error(masked.shifts_) < 0.04
    channels = np.zeros(256, bool)
    channels[[100, 101, 102]] = True
    without = drifting().fit(PHANTOM.data, channel_mask=channels)
    assert (np.isnan(without.components_) == channels).all() and error(without.shifts_) < 0.04
    weights = (np.random.default_rng(0).random(PHANTOM.data.shape) > 0.1).astype(float)
    assert error(drifting().fit(PHANTOM.data, weights=weights).shifts_) < 0.04
    assert error(drifting(loss=em.Poisson(), max_iter=30).fit(PHANTOM.data).shifts_) < 0.04


def test_only_the_scale_follows_the_scale_and_float32_stays():
    counts = PHANTOM.data.astype(np.float32)
    single, tiny = drifting().fit(counts), drifting().fit(PHANTOM.data * 1e-9)
    assert single.shifts_.dtype == single.maps_.dtype == single.components_.dtype == np.float32
    np.testing.assert_allclose(single.shifts_, tiny.shifts_, atol=1e-4)


def test_planted_whole_shifts_come_back():
    phantom = em.synthetic.mixed_phases(shape=(20, 20), k=2, dose=2000, channels=256)
    planted = np.repeat(np.arange(-2, 3), 4)[:, None] * np.ones((1, 20), int)
    rows = zip(phantom.data.reshape(400, -1), planted.ravel(), strict=True)
    X = np.array([np.roll(row, shift) for row, shift in rows]).reshape(phantom.data.shape)
    for smooth in ("auto", 0):
        model = em.Drifting(em.NMF(2, n_starts=2, random_state=0), smooth=smooth).fit(X)
        np.testing.assert_array_equal(np.rint(model.shifts_), planted)


def test_shifts_that_jump_from_line_to_line_are_averaged_along_the_lines_alone():
    phantom = em.synthetic.mixed_phases(shape=(24, 24), k=2, dose=1000, channels=256)
    planted = np.random.default_rng(0).integers(-2, 3, 24)
    rows = zip(phantom.data, planted, strict=True)
    X = np.array([np.roll(row, shift, axis=-1) for row, shift in rows])
    model = drifting().fit(X)
    down, across = model.smooth_
    assert down < 0.5 < 4 < across
    truth = np.repeat(planted[:, None], 24, axis=1)
    alone = em.Drifting(drifting().model, smooth=0).fit(X)
    assert error(model.shifts_, truth) < 0.5 * error(alone.shifts_, truth)
    np.testing.assert_array_equal(np.rint(model.shifts_ - model.shifts_[0]), truth - truth[0])


def test_transform_finds_shifts_for_spectra_that_are_held(fitted):
    np.testing.assert_allclose(
        fitted.transform(PHANTOM.data), fitted.maps_, atol=0.01 * fitted.maps_.max()
    )


def test_the_model_moved_back_is_what_was_recorded(fitted):
    recorded = fitted.drifted(fitted.inverse_transform(fitted.maps_))
    known = np.isfinite(recorded)
    wrong = np.std((recorded - PHANTOM.clean)[known])
    still = np.std(fitted.inverse_transform(fitted.maps_) - PHANTOM.clean)
    assert known.mean() > 0.97 and wrong < 0.4 * still


def test_answers_are_kept_and_run_again(tmp_path):
    result = em.unmix(PHANTOM.signal, em.Drifting(em.NMF(2, n_starts=2)))
    result.save(tmp_path / "answer")
    again = em.open(tmp_path / "answer")
    np.testing.assert_array_equal(again.model.shifts_, result.model.shifts_)
    np.testing.assert_array_equal(again.reproduce(PHANTOM.signal).maps.data, result.maps.data)
    noise = np.sqrt(PHANTOM.clean.mean())
    assert np.nanmean(result.misfit().map) < 1.05 * noise
    assert "Energy drift" in (tmp_path / "answer" / "report.html").read_text()


@pytest.mark.parametrize(
    "model, said",
    [
        (em.Drifting(3), "no model of spectra and maps"),
        (em.Drifting(em.NMF()), "n_components is missing"),
        (em.Drifting(em.NMF(2), max_shift=0), "max_shift=0"),
        (em.Drifting(em.NMF(2), max_shift=200), "n_features = 256 channels are too few"),
        (em.Drifting(em.NMF(300)), "at most 256 components"),
        (em.Drifting(em.MLLS(PHANTOM.spectra)), "MLLS has no n_components"),
        (em.Drifting(em.NMF), "no model of spectra and maps"),
        (em.Drifting(em.NMF(2), smooth="much"), "smooth='much'"),
    ],
)
def test_what_cannot_work_is_refused(model, said):
    with pytest.raises((TypeError, ValueError), match=said):
        model.fit(PHANTOM.data)


def test_shifts_are_rounded_to_a_fraction_and_told():
    data = Shifted(Dense(np.ones((2, 9))), np.array([0.2, -0.7]))
    np.testing.assert_allclose(data.shifts * STEPS, [3, -11])


def test_one_spectrum_drifts_by_what_a_fit_of_every_pixel_finds():
    """Amount and shift of each pixel by SciPy's splines and line search, within a twentieth of a channel."""
    channels = np.arange(120.0)
    peaks = np.exp(-0.5 * ((channels - 50) / 4) ** 2) + np.exp(-0.5 * ((channels - 75) / 6) ** 2)
    planted = np.linspace(-1.4, 1.4, 12)[:, None] + 0.3 * np.sin(np.arange(12))
    moved = CubicSpline(channels, 2000 * (peaks + 0.05))(
        np.clip(channels - planted[..., None], 0, 119)
    )
    X = np.random.default_rng(1).poisson(moved)
    model = em.Drifting(em.NMF(1, random_state=0), smooth=0).fit(X)
    curve = CubicSpline(channels, model.components_[0])

    def missed(shift, x):
        shape = curve(np.clip(channels - shift, 0, 119))
        return np.sum((x - (x @ shape) / (shape @ shape) * shape)[5:-5] ** 2)

    found = [minimize_scalar(missed, (-2, 2), args=(x,)).x for x in X.reshape(-1, 120)]
    np.testing.assert_allclose(model.shifts_.ravel(), found, atol=0.06)
    assert error(model.shifts_, planted) < 0.04
