"""The path along a weight: what it costs, what it moves, what it suggests."""

import numpy as np
import pytest

import endmember as em

WEIGHTS = [0, 0.003, 0.03, 0.3]
PHANTOM = em.synthetic.diode(shape=(20, 20), channels=80, noise=0.03, seed=1)


@pytest.fixture(scope="module")
def path():
    model = em.NMF(3, maps=em.SoftOrthogonal(), random_state=0, n_starts=4)
    return em.assess.path(model, PHANTOM.data, "maps__weight", WEIGHTS)


def test_the_suggested_weight_recovers_the_diode(path):
    spectra = path.spectra[list(path.values).index(path.suggested)]
    order = em.match_components(spectra, PHANTOM.spectra)
    assert em.spectral_angle(spectra[order], PHANTOM.spectra).max() < 2
    assert path.suggested > 0


def test_misfit_rises_and_overlap_falls_along_the_weight(path):
    assert path.misfit[0] == 0 and (np.diff(path.misfit) > -1e-3).all()
    assert (np.diff(path.overlap) < 1e-3).all()
    assert path.angles[0] == pytest.approx(0, abs=1e-6)


def test_a_weight_that_the_data_contradict_is_not_suggested():
    phantom = em.synthetic.mixed_phases(shape=(24, 24), channels=90, k=3, dose=500, seed=2)
    model = em.NMF(3, maps=em.SoftOrthogonal(), random_state=0, n_starts=4)
    path = em.assess.path(model, phantom.data, "maps__weight", [0, 0.01, 1.0])
    assert path.misfit[-1] > 1 and path.suggested < 1
    truth = phantom.maps.reshape(-1, 3)
    assert ((truth > 0.1).sum(axis=1) > 1).any()  # phases do mix, so disjoint maps are wrong


def test_the_unit_of_misfit_is_what_a_fit_gains_by_following_noise():
    rng = np.random.default_rng(0)
    maps, spectra = rng.random((300, 2)), rng.random((2, 60))
    X = maps @ spectra + 0.1 * rng.normal(size=(300, 60))
    model = em.NMF(2, maps=em.Free(), spectra=em.Free(), random_state=0, tol=1e-10)
    best = 2 * model.fit(X).objective_[-1]
    followed = np.sum((X - maps @ spectra) ** 2) - best
    assert followed == pytest.approx(2 * (300 + 60 - 2) * 0.01, rel=0.15)


def test_the_figure_marks_the_suggestion(path):
    axes = path.plot().axes
    assert len(axes) == 3
    np.testing.assert_array_equal(axes[0].lines[0].get_xydata()[:, 1], path.misfit)
    assert axes[0].lines[1].get_xdata()[0] == path.suggested
    assert f"{path.suggested:g} is the strongest" in path.sentence


def test_wrong_questions_are_refused():
    with pytest.raises(ValueError, match="at least two values"):
        em.assess.path(em.NMF(2), PHANTOM.data, "maps__weight", [0.1])
    with pytest.raises(ValueError, match="no parameter 'maps__weight'; allowed: compress"):
        em.assess.path(em.NMF(2), PHANTOM.data, "maps__weight", [0, 0.1])


def test_the_callback_follows_every_fit_and_weights_stand_for_masks():
    stages, mask = [], np.zeros((20, 20), bool)
    mask[:4] = True
    model = em.NMF(3, maps=em.SoftOrthogonal(), n_starts=2, random_state=0)
    masked = em.assess.path(model, PHANTOM.data, "maps__weight", [0, 0.1], mask=mask)
    weights = np.repeat(~mask[..., None], 80, axis=-1).astype(float)
    weighted = em.assess.path(
        model, PHANTOM.data, "maps__weight", [0, 0.1], weights=weights,
        callback=lambda progress: stages.append(progress.stage),
    )  # fmt: skip
    np.testing.assert_array_equal(masked.spectra, weighted.spectra)
    assert stages
    weights[7, 7, 7] = 0
    with pytest.raises(ValueError, match="takes no weights of single entries"):
        em.assess.path(model, PHANTOM.data, "maps__weight", [0, 0.1], weights=weights)
