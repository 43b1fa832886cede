"""One door: what any public function takes, all take, and refuse the rest in the same sentence."""

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.factor.axis import Axis

RNG = np.random.default_rng(0)
PLACES = np.linspace(0, 1, 40)
SPECTRA = np.array([np.exp(-(((PLACES - c) / 0.1) ** 2)) + 0.02 for c in (0.2, 0.5, 0.8)])
COUNTS = RNG.poisson(300 * RNG.dirichlet([0.4] * 3, size=(8, 9)) @ SPECTRA)
PIXELS = np.zeros((8, 9), bool)
PIXELS[2:4, 3:6] = True
CHANNELS = PLACES > 0.9


def on(array, offset=100.0, scale=1.0, units="eV"):
    """Return an array as a signal on an energy axis."""
    signal = hs.signals.Signal1D(np.asarray(array))
    axis = signal.axes_manager.signal_axes[0]
    axis.offset, axis.scale, axis.units = offset, scale, units
    return signal


# --- the energy axis ------------------------------------------------------------------------------


def test_a_straight_line_is_the_same_line_at_other_energies():
    own, wanted = Axis(np.linspace(10, 50, 81)), Axis(np.linspace(14.2, 46.2, 9))
    matrix, covered = own.onto(wanted)
    assert np.allclose((3.0 + 2.0 * own.energy) @ matrix, 3.0 + 2.0 * wanted.energy)
    assert covered.all() and not own.onto(Axis(wanted.energy + 10))[1].all()


def test_axes_are_the_same_that_are_written_from_the_other_end_but_not_when_moved():
    axis = Axis(np.arange(100.0, 140.0), "eV")
    assert axis.agrees(Axis(axis.energy + 1e-6, "eV")) and axis.agrees(Axis.numbers(40))
    assert not axis.agrees(Axis(axis.energy + 0.5, "eV"))
    assert not axis.agrees(Axis(axis.energy / 1000, "keV"))


def test_data_on_another_axis_are_refused_unless_they_may_be_resampled():
    model = em.NMF(3, random_state=0).fit(on(COUNTS))
    assert np.array_equal(model.transform(on(COUNTS)), model.transform(COUNTS))
    for call in (model.transform, model.score):
        with pytest.raises(ValueError, match="another axis.*resample=True"):
            call(on(COUNTS, offset=100.4))
    for call in (em.assess.ambiguity, em.assess.uncertainty):
        with pytest.raises(ValueError, match="another axis"):
            call(model, on(COUNTS, offset=100.4))
    wider = np.repeat(COUNTS, 2, axis=-1) / 1.0
    fine = on(wider, offset=99.75, scale=0.5)
    assert np.allclose(model.transform(fine, resample=True), model.maps_, rtol=1e-2, atol=1.0)
    assert model.score(fine, resample=True) == pytest.approx(model.score(COUNTS), abs=1e-3)


def test_the_axis_is_kept_with_the_answer(tmp_path):
    em.unmix(on(COUNTS), em.NMF(3, random_state=0)).save(tmp_path / "answer")
    with pytest.raises(ValueError, match="another axis"):
        em.open(tmp_path / "answer").model.transform(on(COUNTS, offset=90))


def test_known_spectra_are_read_at_the_channels_of_the_data():
    places = np.linspace(-0.1, 1.1, 300)
    known = on(np.exp(-(((places - 0.2) / 0.1) ** 2)) + 0.02, 100 - 3.9, 1.2 * 39 / 299)
    model = em.NMF(3, spectra=em.Known({0: known}), random_state=0).fit(on(COUNTS))
    assert np.allclose(model.components_[0], SPECTRA[0], atol=0.01)
    with pytest.raises(ValueError, match="keV"):
        em.NMF(3, spectra=em.Known({0: on(SPECTRA[0], units="keV")})).fit(on(COUNTS))


def test_masks_on_another_axis_are_refused():
    image = hs.signals.Signal2D(PIXELS)
    data = on(COUNTS)
    for signal in (image, data):
        signal.axes_manager[0].units = "nm"
    assert np.isnan(em.NMF(3).fit(data, mask=image).maps_[PIXELS]).all()
    image.axes_manager[0].scale = 3.0
    with pytest.raises(ValueError, match="mask lies on another axis"):
        em.NMF(3).fit(data, mask=image)
    with pytest.raises(ValueError, match="channel_mask lies on another axis"):
        em.NMF(3).fit(data, channel_mask=on(CHANNELS, offset=3))


def test_terms_are_compared_only_where_they_share_spectra():
    C, D, S, T = (em.Factor(2) for _ in range(4))
    here, there = on(COUNTS + 0.0), on(COUNTS + 0.0, offset=300)
    em.Fusion([em.Term(here, C, S, weight=1), em.Term(there, C, T, weight=1)], max_iter=3).fit()
    with pytest.raises(ValueError, match="another axis"):
        em.Fusion([em.Term(here, C, S, weight=1), em.Term(there, D, S, weight=1)]).fit()


# --- what is hidden -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "options"),
    [
        (PIXELS[..., None] | (COUNTS < 0), {"mask": PIXELS}),
        (CHANNELS | (COUNTS < 0), {"channel_mask": CHANNELS}),
        (PIXELS[..., None] | CHANNELS, {"mask": PIXELS, "channel_mask": CHANNELS}),
        (COUNTS % 7 == 3, {"weights": 1.0 * (COUNTS % 7 != 3)}),
    ],
)
def test_what_a_masked_array_hides_is_left_out(hidden, options):
    spoilt = np.where(hidden, 10**6, COUNTS)
    model = em.NMF(3, random_state=0).fit(np.ma.array(spoilt, mask=hidden))
    plain = em.NMF(3, random_state=0).fit(COUNTS, **options)
    assert np.array_equal(model.components_, plain.components_, equal_nan=True)
    assert np.array_equal(model.maps_, plain.maps_, equal_nan=True)


def test_infinite_values_are_refused_with_weights_too():
    X = COUNTS + 0.0
    X[1, 2, 3] = np.inf
    with pytest.raises(
        ValueError, match=r"1 infinite values, the first at pixel \(1, 2\), channel 3"
    ):
        em.NMF(3).fit(X, weights=np.ones(X.shape))
    em.NMF(3).fit(X, weights=np.isfinite(X))
