"""Intervals that hold noise and rotation: closed forms, truths that cannot be told apart, and what is kept."""

import numpy as np
import pytest

import endmember as em
from endmember.assess.intervals import _Turned
from endmember.assess.standard_errors import NoisyAnswer
from endmember.factor.data.observed import observe

SHAPE, CHANNELS = (16, 16), 32


def ratio(j):
    """The O-K edge over what follows it, of one spectrum."""
    return lambda maps, spectra: spectra[j, 11:16].sum() / spectra[j, 20:28].sum()


def fitted(data, k=3, **options):
    return em.NMF(k, loss=em.PoissonScaled(), random_state=0, **options).fit(data)


def truth_of(maps, spectra):
    size = np.linalg.norm(spectra, axis=1, keepdims=True)
    return maps * size[:, 0], spectra / size


@pytest.mark.parametrize("absent", [None, em.Absent("auto")], ids=repr)
def test_the_truth_lies_between_the_ends(absent):
    inside = []
    for seed in range(2):
        phantom = em.synthetic.mixed_phases(SHAPE, CHANNELS, k=3, dose=100, seed=seed)
        model = fitted(phantom.data, maps=absent)
        maps, spectra = truth_of(phantom.maps, phantom.spectra)
        j = int(em.match_components(model.components_, spectra)[seed])
        channel = int(spectra[seed].argmax())
        for of, true in (
            (ratio(j), ratio(seed)(maps, spectra)),
            (("spectra", j, channel), spectra[seed, channel]),
            (("maps", j), maps[..., seed].mean()),
        ):
            found = em.assess.displacement(model, phantom.data, of=of, level=0.95)
            assert found.low[0] <= found.value <= found.high[0]
            inside.append(found.low[0] <= true <= found.high[0])
    assert np.mean(inside) >= 0.94


def test_correlated_channels_tilt_no_interval():
    """Their noise has directions of its own, which unweighted fits take for those of the signal."""
    phantom = em.synthetic.mixed_phases((40, 40), CHANNELS, k=3, dose=100, seed=0)
    noise = np.random.default_rng(0).standard_normal(phantom.clean.shape)
    noise += 0.6 * np.roll(noise, 1, axis=-1)
    data = phantom.clean + np.sqrt(phantom.clean.mean() / 1.36) * noise
    model = em.NMF(3, random_state=0).fit(data)
    answer = NoisyAnswer(model, model.explained(observe(data)), None)
    assert answer.noise.gain == 0  # it does not grow with the signal, though smooth noise looks so
    np.testing.assert_allclose(answer.correlation[:4], [1, 0.6 / 1.36, 0, 0], atol=0.02)
    for j, true in zip(
        em.match_components(model.components_, phantom.spectra), phantom.spectra, strict=True
    ):
        found = em.assess.displacement(model, data, of=ratio(int(j)), level=0.95)
        assert found.low[0] <= ratio(0)(None, true[None]) <= found.high[0]


def test_mixed_pixels_and_like_spectra_are_both_inside():
    """((1 − s) M + s 1 m) S = M ((1 − s) S + s 1 m S), as long as the rows of M sum to one."""
    phantom = em.synthetic.mixed_phases(SHAPE, CHANNELS, k=3, dose=100, seed=0)
    shares = phantom.maps / phantom.maps.sum(axis=-1, keepdims=True)
    mixing = 0.7 * np.eye(3) + 0.3 * shares.mean(axis=(0, 1))
    clean = shares @ mixing @ phantom.spectra
    data = np.random.default_rng(0).poisson(100 / clean.max() * clean)
    for absent in (None, em.Absent("auto")):
        model = fitted(data, maps=absent)
        for spectra in (phantom.spectra, mixing @ phantom.spectra):
            j = int(em.match_components(model.components_, spectra)[1])
            found = em.assess.displacement(model, data, of=ratio(j), level=0.95)
            true = ratio(1)(None, spectra)
            assert found.low[0] <= true <= found.high[0]


def test_what_is_known_does_not_move():
    phantom = em.synthetic.mixed_phases((12, 12), 24, k=2, dose=300, seed=0)
    maps, spectra = truth_of(phantom.maps, phantom.spectra)
    model = fitted(phantom.data, 2, spectra=em.Known(dict(enumerate(spectra))))
    value = em.assess.displacement(model, phantom.data, of=("spectra", 1, 20))
    np.testing.assert_allclose([*value.low, *value.high], spectra[1, 20], rtol=1e-12)
    amount = em.assess.displacement(model, phantom.data, of=("maps", 0))
    assert amount.noise > 0 and amount.swaps == 0
    assert (amount.high - amount.low)[1] == pytest.approx(2 * 1.96 * amount.noise, rel=0.01)
    assert amount.low[1] <= maps[..., 0].mean() <= amount.high[1]


def test_the_slope_of_what_is_borne_is_that_of_differences():
    phantom = em.synthetic.mixed_phases((12, 12), 24, k=3, dose=100, seed=0)
    model = fitted(phantom.data)
    answer = NoisyAnswer(model, model.explained(observe(phantom.data, keep_empty=True)), None)
    turned = _Turned(answer, lambda maps, spectra: spectra[0, 3], 0)
    x, step = 0.1 * np.random.default_rng(0).standard_normal(6), 1e-6
    slope = turned.room(x, 0.95)[1]
    for r, unit in enumerate(np.eye(6)):
        both = [turned.room(x + sign * step * unit, 0.95)[0] for sign in (1, -1)]
        expected = (both[0] - both[1]) / (2 * step)
        np.testing.assert_allclose(slope[:, r], expected, atol=1e-3 * np.abs(slope).max())


def test_another_unit_of_the_data_is_one_of_the_interval():
    phantom = em.synthetic.mixed_phases((12, 12), 24, k=2, dose=100, seed=0)
    ends = [
        em.assess.displacement(
            fitted(unit * phantom.data, 2), unit * phantom.data, of=("maps", 0)
        ).high
        for unit in (1.0, 2.0**40)
    ]
    np.testing.assert_allclose(ends[1], 2.0**40 * ends[0], rtol=1e-6)


def test_windows_and_refusals():
    phantom = em.synthetic.mixed_phases((12, 12), 24, k=2, dose=100, seed=0)
    model, energy = fitted(phantom.data, 2), phantom.energy
    result = em.unmix(phantom.signal, model)
    window = em.assess.displacement(result, of=("spectra", 0, (energy[10], energy[15])))
    assert window.value == pytest.approx(result.spectra.data[0, 10:15].sum())
    for wrong in (("spectra", 2, 0), ("spectra", 0, 24), ("spectra", 0, (0, 1)), ("map", 0), 3):
        with pytest.raises(ValueError, match="allowed"):
            em.assess.displacement(result, of=wrong)
    with pytest.raises(ValueError, match="probabilities"):
        em.assess.displacement(result, of=("maps", 0), level=95)
    with pytest.raises(ValueError, match="finite"):
        em.assess.displacement(result, of=lambda maps, spectra: np.nan)
    last = np.argmax([0, 1])  # a number as NumPy counts
    assert em.assess.displacement(result, of=("maps", last)).value == pytest.approx(
        result.maps.data[1].mean()
    )
    with pytest.raises(TypeError, match="one number"):
        em.assess.displacement(result, of=lambda maps, spectra: spectra[0])
    signed = em.NMF(2, spectra=em.Free(), random_state=0).fit(phantom.data)
    with pytest.raises(ValueError, match="non-negative"):
        em.assess.displacement(signed, phantom.data, of=("maps", 0))


def test_intervals_are_kept_and_reported(tmp_path):
    phantom = em.synthetic.mixed_phases((12, 12), 24, k=2, dose=100, seed=0)
    result = em.unmix(phantom.signal, em.NMF(2, random_state=0))
    result.intervals["mean of the first map"] = found = em.assess.displacement(
        result, of=("maps", 0)
    )
    again = em.open(result.save(tmp_path / "kept")).intervals["mean of the first map"]
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    text = result.report(tmp_path / "report.html").read_text()
    assert "mean of the first map" in text and f"{found.high[1]:.4g}" in text
