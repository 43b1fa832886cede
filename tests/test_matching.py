"""Angles and matching against their definitions."""

import numpy as np
import pytest

import endmember as em


def test_angle_is_that_of_the_definition_and_has_no_scale():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 40)), rng.random((5, 40))
    cosine = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(em.spectral_angle(a, b), np.degrees(np.arccos(cosine)), rtol=1e-10)
    np.testing.assert_allclose(
        em.spectral_angle(1e-200 * a, 1e200 * b), em.spectral_angle(a, b), rtol=1e-10
    )


def test_small_angles_are_exact():
    assert em.spectral_angle([1.0, 0.0], [1.0, 1e-9]) == pytest.approx(np.degrees(1e-9), rel=1e-6)
    assert em.spectral_angle([3.0, 4.0], [6.0, 8.0]) == pytest.approx(0.0, abs=1e-12)


def test_masked_channels_play_no_part_and_empty_spectra_match_nothing():
    assert em.spectral_angle([1.0, np.nan, 2.0], [1.0, 5.0, 2.0]) == pytest.approx(0, abs=1e-9)
    assert em.spectral_angle([0.0, 0.0], [1.0, 0.0]) == 90.0


def test_matching_minimises_the_sum_of_angles_over_all_permutations():
    from itertools import permutations

    rng = np.random.default_rng(1)
    true, found = rng.random((4, 6)), rng.random((4, 6))
    order = em.match_components(found, true)
    costs = {p: np.sum(em.spectral_angle(found[list(p)], true)) for p in permutations(range(4))}
    assert tuple(order) == min(costs, key=costs.get)


def test_matching_finds_a_shuffled_and_scaled_truth_among_more():
    rng = np.random.default_rng(2)
    found = rng.random((6, 50))
    order = np.array([4, 1, 3])
    np.testing.assert_array_equal(em.match_components(found, 7 * found[order]), order)
    with pytest.raises(ValueError, match="may not hold more"):
        em.match_components(found[:2], found)
