"""Which components come back when the data are drawn again."""

import numpy as np
import pytest

import endmember as em

PHANTOM = em.synthetic.mixed_phases((24, 24), 96, 3, dose=30, seed=1)
RIGHT = em.NMF(3, loss=em.PoissonScaled(), random_state=0).fit(PHANTOM.data)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", ["pixels", "counts"])
def test_phases_come_back_and_what_follows_noise_does_not(method):
    all_of_them = em.assess.recurrence(RIGHT, PHANTOM.data, method=method, n_draws=10)
    assert (all_of_them.returns == 10).all() and "do not name" not in all_of_them.sentence
    many = em.NMF(5, loss=em.PoissonScaled(), random_state=0).fit(PHANTOM.data)
    found = em.assess.recurrence(many, PHANTOM.data, method=method, n_draws=10)
    assert (found.table.sum(axis=1) == 10).all() and np.sort(found.returns)[1] < 8
    assert "do not name it" in found.sentence


def test_a_component_of_one_pixel_comes_back_as_often_as_the_pixel_is_drawn():
    energy = np.arange(60.0)
    lines = [np.exp(-0.5 * ((energy - place) / 2) ** 2) for place in (15, 30, 50)]
    maps = em.synthetic.mixed_phases((21, 21), 60, 2, seed=0).maps
    maps = np.concatenate([maps, np.zeros((21, 21, 1))], axis=2)
    maps[10, 10] = 0, 0, 8
    data = maps @ np.array(lines) + 0.02 * np.random.default_rng(0).standard_normal((21, 21, 60))
    model = em.NMF(3, random_state=0).fit(data)
    own = em.spectral_angle(model.components_, lines[2]).argmin()
    found = em.assess.recurrence(model, data, n_draws=60, random_state=1)
    share = found.returns / 60
    assert 0.45 < share[own] < 0.8  # 1 - 1/e of the draws hold the tile
    assert (np.delete(share, own) > 0.95).all()


def test_what_looks_at_neighbours_is_not_torn_apart():
    smooth = em.NMF(3, maps=em.Smooth(0.1), random_state=0).fit(PHANTOM.data)
    with pytest.raises(ValueError, match='neighbouring pixels.*method="counts"'):
        em.assess.recurrence(smooth, PHANTOM.data, n_draws=2)
    assert em.assess.recurrence(smooth, PHANTOM.data, method="counts", n_draws=2).draws == 2


def test_the_result_keeps_and_tells_it(tmp_path):
    result = em.unmix(PHANTOM.signal, em.NMF(3, random_state=0))
    result.recurrence = em.assess.recurrence(result, n_draws=4)
    text = result.report(tmp_path / "report.html").read_text()
    assert "came back in 4 of 4 draws" in text
    result.save(tmp_path / "kept")
    again = em.open(tmp_path / "kept").recurrence
    assert again.draws == 4 and np.array_equal(again.table, result.recurrence.table)


@pytest.mark.parametrize("number", [0, -1, 2.5, "x"])
def test_numbers_of_draws_that_cannot_be_are_refused(number):
    with pytest.raises(ValueError, match="n_draws=.* whole number of at least 1"):
        em.assess.recurrence(RIGHT, PHANTOM.data, n_draws=number)
    with pytest.raises(ValueError, match="n_bootstrap=.* whole number of at least 1"):
        em.assess.uncertainty(RIGHT, PHANTOM.data, method="bootstrap", n_bootstrap=number)
