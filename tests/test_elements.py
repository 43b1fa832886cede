"""Lines of the elements as the columns of spectra, and what they are as per cent."""

import warnings

import numpy as np
import pytest

import endmember as em
from endmember.factor.data.axis import Axis

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "Cu", "C"]
ENERGY = np.arange(0.1, 10.34, 0.01)
AXIS = Axis(ENERGY, "keV")


def summed(elements, counts, seed=0, gain=0.0, offset=0.0, resolution=130.0):
    """Return counts of lines of these elements, equally strong, and half as many of a continuum."""
    lines = em.XRayLines(elements, energy=ENERGY * (1 + gain) + offset, resolution=resolution)
    columns, names = lines.columns_on(AXIS)
    weights = [1.0 * (name[-2:] == "_K") + (name == "continuum 5") * 5 for name in names]
    spectrum = weights @ (columns / columns.sum(axis=1, keepdims=True))
    return np.random.default_rng(seed).poisson(counts * spectrum / spectrum.sum())


def test_the_main_line_of_a_column_counts_one():
    columns, names = em.XRayLines(["Fe"], energy=ENERGY).columns_on(AXIS)
    iron = columns[names.index("Fe_K")]
    assert iron[np.abs(ENERGY - 6.404) < 0.3].sum() == pytest.approx(1.0, abs=1e-3)
    assert iron[np.abs(ENERGY - 7.058) < 0.3].sum() == pytest.approx(0.1272, abs=1e-3)
    width = np.ptp(ENERGY[iron > iron.max() / 2])
    assert width == pytest.approx(0.133, abs=0.011)


def test_an_axis_that_is_off_and_lines_that_are_wider_are_found():
    total = summed(["O", "Si", "Fe"], 3e5, gain=0.003, offset=0.005, resolution=137.0)
    learned = em.XRayLines(["O", "Si", "Fe"], energy=ENERGY).learned_from(total, AXIS)
    gain, offset, width, soft = learned["axis_fit_"]
    shift = gain * np.array([1.74, 6.4]) + 1e-3 * (
        offset + soft * np.exp(-np.array([1.74, 6.4]) / 0.5)
    )
    np.testing.assert_allclose(shift, 0.003 * np.array([1.74, 6.4]) + 0.005, atol=0.001)
    assert width == pytest.approx(137.0, abs=2.0)
    assert learned["deviance_"] < 1.3


@pytest.mark.parametrize("seed", range(4))
def test_an_element_that_is_missing_comes_first_and_none_is_claimed_else(seed):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        total = summed(["O", "Si", "Fe", "Cu"], 2e4, seed)
        missing = em.XRayLines(["O", "Si", "Fe"], energy=ENERGY).learned_from(total, AXIS)
        complete = em.XRayLines(["O", "Si", "Fe", "Cu", "Ti"], energy=ENERGY).learned_from(
            total, AXIS
        )
    assert missing["unlisted_"] == ["Cu"] and complete["unlisted_"] == []
    assert [str(one.message) for one in said] == ["in the data, not in your list: Cu"]


@pytest.mark.parametrize("dose", [2, 20])
def test_few_counts_suffice_where_lines_are_known_and_zeros_tested(dose):
    phantom = em.synthetic.edxs_phases(shape=(48, 48), dose=dose)
    model = em.NMF(
        3, loss=em.Poisson(), maps=em.Absent("auto"), spectra=em.XRayLines(ELEMENTS), random_state=0
    )
    fitted = model.fit(phantom.signal)
    order = em.match_components(fitted.components_, phantom.spectra)
    angles = em.spectral_angle(fitted.components_[order], phantom.spectra)
    assert fitted.converged_ and np.max(angles) < 30 / (8 + dose)
    assert fitted.elements_ == ELEMENTS and fitted.unlisted_ == []


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (em.XRayLines(["Fe", "Xx"], energy=ENERGY), "'Xx' is no element; give"),
        (em.XRayLines(["Fe"]), "where the channels lie; give"),
        (em.XRayLines(["Fe"], energy=ENERGY[:5]), "one for each"),
    ],
)
def test_what_is_not_known_is_said(lines, says):
    with pytest.raises(ValueError, match=says):
        em.NMF(2, spectra=lines).fit(np.ones((4, 5, len(ENERGY))))
