"""Axes that are stretched as well as shifted: what was planted comes back, whatever kind the data are."""

import dask.array as da
import numpy as np
import pytest
from scipy import sparse

import endmember as em
from endmember.factor.data import observed as inputs
from endmember.factor.data.in_memory import Dense, Sparse, Weighted
from endmember.factor.drift.shifted import Shifted, courses, reader, shifted_weights
from endmember.factor.drift.smoothing import SmoothField
from endmember.preprocess import align, find_shifts

SIZE, CHANNELS = (20, 20), 256
#: A stretch of one moves the ends by so many channels.
HALF = (CHANNELS - 1) / 2
PHANTOM = em.synthetic.mixed_phases(
    shape=SIZE, k=2, dose=300, drift=2.0, stretch=0.01, channels=CHANNELS
)


def drifting(dispersion=True, smooth="auto", max_shift=3, **options):
    nmf = em.NMF(2, n_starts=3, random_state=0, **options)
    return em.Drifting(nmf, max_shift=max_shift, smooth=smooth, dispersion=dispersion)


def errors(model, truth=PHANTOM):
    """Return the errors at the middle and at the ends, root mean square in channels."""
    ends = HALF * (model.stretches_ - truth.stretch)
    return np.nanstd(model.shifts_ - truth.drift), np.nanstd(ends)


def angle(model, truth=PHANTOM):
    order = em.match_components(model.components_, truth.spectra)
    return em.spectral_angle(model.components_[order], truth.spectra).max()


@pytest.fixture(scope="module")
def fitted():
    """Return the model of the phantom, fitted once."""
    return drifting().fit(PHANTOM.data)


@pytest.mark.parametrize("kind", [Dense, Sparse])
def test_products_are_those_of_rows_read_one_by_one_at_their_own_places(kind):
    rng = np.random.default_rng(0)
    X = rng.poisson(0.7, (30, 24)).astype(float)
    along = courses(np.arange(24), 24, stretch=True)
    data = Shifted(
        kind(X if kind is Dense else sparse.csr_array(X)), rng.uniform(-2, 2, (30, 2)), along=along
    )
    places = np.arange(24) + data.shifts @ along.T
    rows = [reader(np.arange(24), where[data.columns], 4) for where in places]
    Y = np.array([A @ x for A, x in zip(rows, X, strict=True)])
    Z, F = rng.random((Y.shape[1], 3)), rng.random((30, 3))
    np.testing.assert_allclose(data.dot(Z), Y @ Z)
    np.testing.assert_allclose(data.transposed_dot(F), Y.T @ F)
    np.testing.assert_allclose(data.channel_gram(), Y.T @ Y)
    np.testing.assert_allclose(data.misfit([F, Z]), 0.5 * np.sum((Y - F @ Z.T) ** 2))
    assert (data.entries(dense=True).x >= 0).all()


def test_a_line_is_read_where_it_lies_and_beyond_the_ends_nothing_is_known():
    along = courses(np.arange(21), 21, stretch=True)
    line = np.arange(21.0)  # a spectrum that says where it is read
    moved = shifted_weights(
        Weighted(Dense(line[None]), np.ones((1, 21))), np.array([[1.0, 2.0]]), along=along
    )
    known = moved.W[0] > 0
    places = line + 1 + 0.2 * (line - 10)
    np.testing.assert_allclose(moved.X[0, known], places[known])
    assert (places[~known] < 0).sum() + (places[~known] > 20).sum() == (~known).sum() > 0


def test_fields_that_do_not_know_of_each_other_are_found_as_each_alone():
    rng = np.random.default_rng(1)
    a, b = rng.uniform(1, 2, (12, 2)), rng.standard_normal((12, 2))
    both = np.einsum("ip,pq->ipq", a, np.eye(2))
    field, lengths = SmoothField((3, 4)), ((1.0, 3.0), (2.0, 0.5))
    together, evidence = field.solve(both, np.zeros((12, 2, 1)), b, lengths)
    alone = [
        field.solve(a[:, [q], None], np.zeros((12, 1, 1)), b[:, [q]], (own,))
        for q, own in enumerate(lengths)
    ]
    np.testing.assert_allclose(together, np.column_stack([one for one, _ in alone]))
    np.testing.assert_allclose(evidence, sum(found for _, found in alone), atol=1e-5)


def test_planted_stretches_come_back_with_their_sign_and_the_spectra_with_them(fitted):
    shift, end = errors(fitted)
    assert shift < 0.05 and end < 0.07
    assert np.ptp(HALF * PHANTOM.stretch) > 1.2
    assert abs(fitted.shifts_.mean()) < 1e-12 and abs(fitted.stretches_.mean()) < 1e-12
    still = em.synthetic.mixed_phases(shape=SIZE, k=2, dose=300, channels=CHANNELS)
    best = angle(drifting().model.fit(still.data))
    assert angle(fitted) < 1.2 * best
    idle = drifting().fit(still.data)
    assert angle(idle) < 1.05 * best
    assert idle.shifts_.std() < 0.03 and HALF * idle.stretches_.std() < 0.03


def test_with_many_counts_shifts_alone_leave_an_error_that_stretches_remove():
    bright = em.synthetic.mixed_phases(
        shape=(24, 24), k=3, dose=5000, drift=2.0, stretch=0.008, seed=1
    )
    nmf = em.NMF(3, n_starts=3, random_state=0)
    model = em.Drifting(nmf, dispersion=True).fit(bright.data)
    assert np.std(model.shifts_ - bright.drift) < 0.02
    assert 255.5 * np.std(model.stretches_ - bright.stretch) < 0.03
    assert angle(model, bright) < 0.5 * angle(em.Drifting(nmf).fit(bright.data), bright)


def test_lazy_sparse_and_flat_data_give_the_same_stretches(monkeypatch, fitted):
    flat = sparse.csr_array(PHANTOM.data.reshape(400, -1).astype(np.int64))
    counts = drifting().fit(flat, domain=SIZE)
    monkeypatch.setattr(inputs, "KEPT_UP_TO", 0)  # lazy data are read block by block
    lazy = drifting().fit(da.from_array(PHANTOM.data, chunks=(7, 6, CHANNELS)))
    for other in (lazy, counts):
        np.testing.assert_allclose(other.shifts_, fitted.shifts_, atol=1e-9)
        np.testing.assert_allclose(other.stretches_, fitted.stretches_, atol=1e-9)


def test_masks_missing_entries_and_poisson_find_the_same_stretches():
    mask = np.zeros(SIZE, bool)
    mask[3:6, 4:9] = True
    masked = drifting().fit(PHANTOM.data, mask=mask)
    assert (np.isnan(masked.stretches_) == mask).all() and max(errors(masked)) < 0.07
    channels = np.isin(np.arange(CHANNELS), [100, 101, 102])
    assert max(errors(drifting().fit(PHANTOM.data, channel_mask=channels))) < 0.07
    weights = (np.random.default_rng(0).random(PHANTOM.data.shape) > 0.1).astype(float)
    assert max(errors(drifting().fit(PHANTOM.data, weights=weights))) < 0.1
    poisson = drifting(loss=em.Poisson(), max_iter=60).fit(PHANTOM.data)
    assert max(errors(poisson)) < 0.07 and poisson.components_[:, 5:-5].min() >= 0


def test_transform_and_the_way_back_to_what_was_recorded(fitted):
    largest = fitted.maps_.max()
    np.testing.assert_allclose(fitted.transform(PHANTOM.data), fitted.maps_, atol=0.01 * largest)
    np.testing.assert_allclose(
        fitted.transform(PHANTOM.data[:2]), fitted.maps_[:2], atol=0.01 * largest
    )
    still = fitted.inverse_transform(fitted.maps_)
    recorded = fitted.drifted(still)
    known = np.isfinite(recorded)
    assert known.mean() > 0.95
    assert np.std((recorded - PHANTOM.clean)[known]) < 0.3 * np.std(still - PHANTOM.clean)


def test_a_model_that_does_not_explain_the_data_does_not_spoil_the_shifts():
    model = em.Drifting(em.SubspaceSampling(2), dispersion=True).fit(PHANTOM.data)
    assert max(errors(model)) < 0.07


def test_no_channel_goes_further_than_allowed():
    model = drifting(max_shift=0.5, smooth=0).fit(PHANTOM.data)
    furthest = np.abs(model.shifts_) + HALF * np.abs(model.stretches_)
    assert 0.4 < furthest.max() < 0.5 + 1e-9


def test_the_answer_is_kept_and_both_maps_are_in_the_report(tmp_path):
    PHANTOM.signal.save(tmp_path / "image.hspy")
    result = em.unmix(em.load(tmp_path / "image.hspy"), drifting())
    result.save(tmp_path / "answer", residual=True)
    again = em.open(tmp_path / "answer")
    np.testing.assert_array_equal(again.model.stretches_, result.model.stretches_)
    np.testing.assert_array_equal(again.model.smooth_, result.model.smooth_)
    assert result.model.smooth_.shape == (2, 2)  # of shifts and stretches, along y and x
    np.testing.assert_array_equal(again.reproduce(PHANTOM.signal).maps.data, result.maps.data)
    assert np.nanmean(result.misfit().map) < 1.05 * np.sqrt(PHANTOM.clean.mean())
    residual = em.load(tmp_path / "answer" / "residual.hspy").data
    assert np.nanstd(residual) < 1.05 * np.sqrt(PHANTOM.clean.mean())
    report = (tmp_path / "answer" / "report.html").read_text()
    assert (
        "Energy shift and Stretch of the axis" in report and "stretched about its middle" in report
    )


def test_the_picture_shows_shifts_and_stretches_in_their_units():
    figure = em.show.shifts(PHANTOM.drift, stretches=PHANTOM.stretch)
    lines = [axes.get_lines()[0].get_ydata() for axes in figure.axes if axes.get_lines()]
    np.testing.assert_allclose(lines[0], PHANTOM.drift.ravel())
    np.testing.assert_allclose(lines[1], 100 * PHANTOM.stretch.ravel())
    line = em.show.shifts(PHANTOM.drift[0], stretches=PHANTOM.stretch[0])
    assert [axes.get_title(loc="left") for axes in line.axes] == [
        "Energy shift (channels)", "Stretch of the axis (%)",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="do not fit"):
        em.show.shifts(PHANTOM.drift, stretches=PHANTOM.stretch[0])


def test_what_cannot_work_is_refused():
    with pytest.raises(TypeError, match="dispersion='yes'"):
        drifting(dispersion="yes").fit(PHANTOM.data)


def edges(shifts, stretches, rng=None):
    """Return spectra (*domain, 160) with two peaks and an edge, drawn out about the middle of the axis."""
    middle = 159 / 2
    shifts, stretches = np.asarray(shifts)[..., None], np.asarray(stretches)[..., None]
    E = middle + (np.arange(160) - middle - shifts) / (1 + stretches)
    clean = 60 * np.exp(-E / 90) + 40 / (1 + np.exp(-(E - 40) / 1.5))
    for place, height in ((46, 80), (120, 60)):
        clean = clean + height * np.exp(-0.5 * ((E - place) / 3.5) ** 2)
    return clean if rng is None else rng.poisson(10 * clean)


LINE = np.linspace(-2, 2, 60).reshape(6, 10)
DRAWN = 0.01 * np.sin(np.arange(60.0)).reshape(6, 10)


def test_correlation_finds_planted_shifts_and_stretches():
    shifts, stretches = find_shifts(edges(LINE, DRAWN), max_shift=6, dispersion=True)
    assert np.std(shifts - LINE) < 0.003
    assert 79.5 * np.std(stretches - DRAWN) < 0.01
    counts = edges(LINE, DRAWN, np.random.default_rng(0))
    shifts, stretches = find_shifts(counts, max_shift=6, dispersion=True)
    assert np.std(shifts - LINE) < 0.06 and 79.5 * np.std(stretches - DRAWN) < 0.12
    again = find_shifts(counts * 1e-9, max_shift=6, dispersion=True)
    np.testing.assert_allclose(again, (shifts, stretches), atol=1e-6)


def test_aligned_spectra_are_those_of_an_axis_that_stands_still():
    clean = edges(LINE, DRAWN)
    found = align(clean, shifts=LINE, stretches=DRAWN)
    kept = align(clean, shifts=LINE, stretches=DRAWN, ends="nan")
    start = int(np.flatnonzero(np.isfinite(kept).all(axis=(0, 1)))[0])
    still = edges(np.zeros(1), np.zeros(1))[0]
    assert np.isfinite(found).all() and found.shape[-1] > 148
    np.testing.assert_array_equal(found, kept[..., start : start + found.shape[-1]])
    assert np.abs(found - still[start : start + found.shape[-1]]).max() < 0.003 * still.max()
    lazy = align(da.from_array(clean, chunks=(2, 5, 160)), max_shift=6, dispersion=True)
    np.testing.assert_allclose(
        lazy.compute(), align(clean, max_shift=6, dispersion=True), atol=1e-9
    )


def test_a_shift_alone_gives_no_stretch():
    shifts, stretches = find_shifts(edges(LINE, 0 * LINE), max_shift=6, dispersion=True)
    assert np.std(shifts - LINE) < 0.003 and 79.5 * np.abs(stretches).max() < 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dispersion": True, "method": "zero_loss"}, "zero-loss peak alone"),
        ({"dispersion": True, "low_loss": edges(np.zeros(3), np.zeros(3))}, "zero-loss peak alone"),
        ({"dispersion": True, "interpolate": False}, "whole channels"),
        ({"dispersion": "yes"}, "True or False"),
        ({"stretches": [0.0, 0.0, 0.0]}, "go with shifts"),
        ({"shifts": [0.0, 0.0, 0.0], "stretches": [0.0]}, "do not fit"),
    ],
)
def test_alignments_that_cannot_work_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        align(edges(np.zeros(3), np.zeros(3)), **options)
