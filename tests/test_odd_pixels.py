"""Pixels that are no mixture of the components are found, and no others."""

import numpy as np
import pytest

import endmember as em


@pytest.fixture(scope="module")
def planted():
    phantom = em.synthetic.mixed_phases((32, 32), channels=128, k=3, dose=300, seed=3)
    data, odd = phantom.data.copy(), np.zeros((32, 32), bool)
    odd[4, 7] = odd[20, 20] = odd[31, 0] = True
    data[odd, 40:50] += 150
    return data, odd


def fitted(data, **options):
    model = em.NMF(3, loss=em.PoissonScaled(), maps=em.Absent("auto"), random_state=0)
    return model.fit(data, **options)


def test_planted_pixels_are_found_and_nothing_else(planted):
    data, odd = planted
    found = em.assess.anomalies(fitted(data), data)
    np.testing.assert_array_equal(found.found, odd)
    assert "3 of the 1024 pixels are no mixture" in found.sentence
    assert found.plot().axes


def test_the_unit_of_the_data_changes_nothing(planted):
    data, odd = planted
    small = em.assess.anomalies(fitted(1e-6 * data), 1e-6 * data)
    np.testing.assert_array_equal(small.found, odd)


def test_masked_pixels_are_not_judged(planted):
    data, odd = planted
    result = em.unmix(data, em.NMF(3, random_state=0), mask=odd)
    found = em.assess.anomalies(result)
    assert not found.found.any() and np.isnan(found.score[odd]).all()
    assert found.sentence.startswith("None of the 1021 pixels")


def test_they_are_kept_with_the_answer_and_drawn_in_its_report(planted, tmp_path):
    data, odd = planted
    result = em.unmix(data, em.NMF(3, loss=em.PoissonScaled(), random_state=0))
    result.anomalies = em.assess.anomalies(result)
    result.save(tmp_path / "kept")
    again = em.open(tmp_path / "kept").anomalies
    np.testing.assert_array_equal(again.found, odd)
    np.testing.assert_allclose(again.score, result.anomalies.score)
    assert again.sentence == result.anomalies.sentence
    assert "Odd pixels" in (tmp_path / "kept" / "report.html").read_text(encoding="utf-8")


def test_missing_entries_are_no_anomaly(planted):
    data, odd = planted
    weights = np.ones(data.shape)
    weights[odd, 40:50] = 0
    model = em.NMF(3, random_state=0).fit(data, weights=weights)
    assert not em.assess.anomalies(model, data, weights=weights).found[odd].any()


@pytest.mark.parametrize("level", [0, 1, -0.1, 2])
def test_a_rate_lies_between_0_and_1(planted, level):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        em.assess.anomalies(fitted(planted[0]), planted[0], level=level)


def test_where_nothing_is_odd_little_is_found():
    called = 0
    for seed in range(6):
        phantom = em.synthetic.edxs_phases((32, 32), 256, k=3, dose=20, seed=seed)
        called += int(em.assess.anomalies(fitted(phantom.data), phantom.data).found.sum())
    assert called <= 3
