"""Starts of a Poisson model that are compared on a weighted sketch of the counts."""

import numpy as np
import pytest

import endmember as em


def poisson_phantom():
    phantom = em.synthetic.edxs_phases(shape=(40, 40), channels=600, k=3, dose=3, seed=0)
    return phantom, np.asarray(phantom.data)


@pytest.mark.parametrize("maps", [None, em.Smooth(0.1)], ids=["plain", "smooth"])
def test_starts_on_weighted_sketches_end_no_higher_than_starts_on_the_counts(maps):
    _, X = poisson_phantom()
    beside, directly = (
        em.NMF(3, loss=em.Poisson(), maps=maps, compress=compress, tol=1e-7, n_starts=4,
               random_state=0).fit(X)
        for compress in (True, False)
    )  # fmt: skip
    assert beside.objective_[-1] <= directly.objective_[-1] * (1 + 1e-5)
    assert beside.optimality_ < 1e-3


def test_starts_on_a_weighted_sketch_are_reported_on_the_scale_of_the_counts():
    _, X = poisson_phantom()
    model = em.NMF(3, loss=em.Poisson(), compress=True, n_starts=3, random_state=0).fit(X)
    (chosen,) = [start for start in model.starts_ if start.chosen]
    assert all(start.objective >= chosen.objective for start in model.starts_)
    assert model.objective_[-1] < chosen.objective < 1.2 * model.objective_[-1]


def test_stopping_among_the_starts_of_a_poisson_model_keeps_a_usable_answer():
    phantom, X = poisson_phantom()
    model = em.NMF(3, loss=em.Poisson(), compress=True, random_state=0)
    model.fit(X, callback=lambda progress: progress.sweep >= 3)
    assert len(model.objective_) == 1 and not model.converged_
    order = em.match_components(model.components_, phantom.spectra)
    assert em.spectral_angle(model.components_[order], phantom.spectra).mean() < 30


def test_bounds_hold_through_starts_on_a_weighted_sketch():
    _, X = poisson_phantom()
    absent = np.zeros((3, *X.shape[:2]), bool)
    absent[0, :20] = True
    absent = np.moveaxis(absent, 0, -1)
    model = em.NMF(3, loss=em.Poisson(), maps=em.Absent(absent), compress=True, random_state=0)
    model.fit(X)
    assert (model.maps_[:20, :, 0] == 0).all() and (model.maps_ >= 0).all()
    assert model.maps_[20:, :, 0].sum() > 0
