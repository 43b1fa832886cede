"""What is chosen where it is left open: number, loss and signs follow the data, and the note says why."""

import math
import warnings

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.signals.choosing import choose_model
from endmember.signals.cropping import leave_out_missing


def test_few_counts_are_fitted_by_their_likelihood_unless_penalties_are_given():
    signal = em.synthetic.edxs_phases((20, 20), 200, k=3, dose=8, seed=7).signal
    assert signal.data.mean() < 1
    model, reasons, _ = choose_model(signal, 3)
    assert repr(model.loss) == "Poisson()" and any("so few" in reason for reason in reasons)
    with_options, _, _ = choose_model(signal, 3, maps=em.Smooth(0.1))
    assert repr(with_options.loss) == "PoissonScaled()"


def test_data_whose_variance_grows_with_the_signal_are_weighted_by_it():
    """Counts in another unit are no counts, and their noise is that of counts."""
    phantom = em.synthetic.mixed_phases((24, 24), 64, k=3, dose=60, seed=1)
    counts = phantom.data.astype(float)
    named = {scale: em.unmix(scale * counts, n_components=3) for scale in (1.0, 3.7)}
    assert isinstance(named[3.7].model.loss, em.PoissonScaled)
    assert "variance grows with the signal" in str(named[3.7])
    spectra = [answer.model.components_ for answer in named.values()]
    assert np.max(em.spectral_angle(*spectra)) < 0.01
    camera = 3.7 * counts + 10 * np.random.default_rng(0).standard_normal(counts.shape)
    assert isinstance(em.unmix(camera, n_components=3).model.loss, em.SquaredError)


def test_signed_spectra_are_unmixed_as_such_and_the_note_says_so():
    rng, x = np.random.default_rng(1), np.linspace(-1, 1, 90)
    spectra = np.stack([np.tanh(6 * x), np.sin(9 * x), x * np.exp(-8 * x**2)])
    maps = rng.dirichlet([0.25] * 3, size=(12, 14))
    clean = 1e-10 * maps @ spectra
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = clean + 2e-12 * rng.standard_normal(clean.shape)
        result = em.unmix(data)
        assert choose_model(hs.signals.Signal1D(data * 1e-140))[0].spectra is not None
    found = result.model.components_
    assert np.all(em.spectral_angle(found[em.match_components(found, spectra)], spectra) < 10)
    assert any("em.Free()" in reason for reason in result.record["reasons"])


def test_noise_below_zero_and_subtracted_backgrounds_leave_spectra_positive():
    clean = em.synthetic.diode((12, 12), 60, seed=1).clean
    noisy = clean + 0.5 * clean.max() * np.random.default_rng(0).standard_normal(clean.shape)
    phantom = em.synthetic.mixed_phases((12, 12), 120, k=2, dose=300, background=True, seed=1)
    window = (phantom.energy[0], phantom.energy[20])
    for signal in (
        hs.signals.Signal1D(noisy),
        em.preprocess.subtract_background(phantom.signal, window),
    ):
        assert np.mean(signal.data < 0) > 0.1 and choose_model(signal, 2)[0].spectra is None


def test_a_component_on_the_noise_line_is_not_taken():
    rng = np.random.default_rng(0)
    n, m = 1600, 100
    strong = np.outer(rng.standard_normal(n), np.ones(m))
    direction = rng.standard_normal(m) / math.sqrt(m)
    weak = np.outer(1.22 * (m / n) ** 0.25 * rng.standard_normal(n), direction)
    data = strong + weak + rng.standard_normal((n, m))
    model, reasons, report = choose_model(hs.signals.Signal1D(data), random_state=0)
    assert (report.suggested, model.n_components) == (2, 1) and 1 < report.visibility[1] < 1.05
    assert any("5 % of the noise line" in reason for reason in reasons)


@pytest.mark.parametrize("entries", [True, False])
def test_large_lazy_data_are_judged_without_what_is_left_out(monkeypatch, entries):
    monkeypatch.setattr("endmember.factor.data.observed.KEPT_UP_TO", 0)
    signal = em.synthetic.mixed_phases((12, 10), channels=64, k=2).signal
    signal.data = signal.data.astype(float)
    clean = signal.deepcopy()
    lost = np.zeros((12, 10), dtype=bool)
    lost[3, 4] = lost[7, 2] = True
    signal.data[3, 4], signal.data[7, 2, 5] = np.nan, np.inf
    lazy = signal.as_lazy()
    model, _, report = choose_model(clean, mask=lost, random_state=0)
    hidden = leave_out_missing(lazy, entries=entries)
    for data, options in ((lazy, {"mask": lost}), (hidden, {})):
        found, _, other = choose_model(data, random_state=0, **options)
        assert repr(found) == repr(model) and other.suggested == report.suggested


def with_zero_peak():
    """Return an X-ray map of two phases whose detector marks its noise at zero, by turns stronger and weaker."""
    phantom = em.synthetic.edxs_phases(shape=(16, 16), k=2, dose=30, seed=3)
    counts = np.asarray(phantom.data)
    step = phantom.energy[1] - phantom.energy[0]
    before = int(round((phantom.energy[0] + 0.4) / step))
    energy = phantom.energy[0] - step * np.arange(before, 0, -1)
    rng = np.random.default_rng(0)
    height = 400 * rng.random(counts.shape[:-1] + (1,))
    peak = rng.poisson(height * np.exp(-0.5 * (energy / 0.03) ** 2))
    signal = phantom.signal._deepcopy_with_new_data(np.concatenate([peak, counts], axis=-1))
    axis = signal.axes_manager.signal_axes[0]
    axis.size, axis.offset = signal.data.shape[-1], energy[0]
    return signal, axis.axis < 0.1


def test_the_zero_peak_of_x_rays_is_spoken_of_unless_channels_are_chosen():
    signal, peak = with_zero_peak()
    assert "0.1 keV" in str(em.unmix(signal, n_components=2))
    assert "0.1 keV" not in str(em.unmix(signal, n_components=2, channel_mask=peak))
    told, left_out = em.assess.rank(signal), em.assess.rank(signal.isig[0.1:])
    assert "0.1 keV" in " ".join(told.warnings) and told.suggested > left_out.suggested
    assert "0.1 keV" not in " ".join(left_out.warnings)
