"""Losses and penalties that users write: they work in every model, or are refused before the fit by name."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from own_parts import ByEntries, Huber, NoMoreThan, Quantile


@pytest.fixture(scope="module")
def spiked():
    """A line scan of three phases, one entry in a hundred a spike: data, spectra."""
    rng = np.random.default_rng(0)
    S, C = rng.random((3, 40)) ** 3, rng.dirichlet(np.full(3, 0.4), 300)
    X = C @ S + 0.01 * rng.standard_normal((300, 40))
    X[rng.random(X.shape) < 0.01] += 3
    return np.abs(X), S


@pytest.fixture(scope="module")
def fitted(spiked):
    X, _ = spiked
    return em.NMF(3, loss=Huber(0.03), n_starts=2, random_state=0).fit(X)


def angles(found, true):
    return em.spectral_angle(found[em.match_components(found, true)], true)


def test_hubers_loss_sees_past_spikes_that_squares_follow(spiked, fitted):
    X, S = spiked
    squares = em.NMF(3, random_state=0).fit(X)
    assert angles(fitted.components_, S).max() < 1.5 < angles(squares.components_, S).max()
    assert fitted.converged_ and fitted.optimality_ < 1e-3
    assert np.diff(fitted.objective_).max() <= 1e-12 * fitted.objective_[0]


@pytest.mark.parametrize("solver", [em.ANLS(), em.HALS(), em.ADMM()], ids=repr)
def test_every_solver_of_squares_takes_a_loss_to_the_same_end(spiked, fitted, solver):
    X, _ = spiked
    options = {"loss": Huber(0.03), "init": (fitted.maps_, fitted.components_), "solver": solver}
    again = em.NMF(3, **options).fit(X)
    assert again.objective_[-1] == pytest.approx(fitted.objective_[-1], rel=1e-4)


@pytest.mark.parametrize("loss", [Huber(0.03), Quantile(0.03, 0.3), ByEntries()], ids=repr)
def test_own_losses_are_the_same_of_sparse_weighted_and_folded_data(spiked, loss):
    X, _ = spiked
    rng = np.random.default_rng(1)
    model = em.NMF(3, loss=loss, init=(rng.random((300, 3)), rng.random((3, 40))), max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = model.fit(X).components_
        np.testing.assert_allclose(model.fit(sparse.csr_array(X)).components_, plain, rtol=1e-9)
        weighted = model.fit(X, weights=np.ones(X.shape)).components_
    np.testing.assert_allclose(weighted, plain, rtol=1e-7, atol=1e-9)


def test_a_quantile_lies_where_it_says():
    X = np.random.default_rng(0).random((2000, 1)) + 1
    fit = em.NMF(1, loss=Quantile(1e-3, 0.2), init=(np.full((2000, 1), 1.5), np.ones((1, 1))),
                 maps=em.Known({0: np.ones(2000)}), tol=1e-12).fit(X)  # fmt: skip
    assert np.mean(fit.components_[0, 0] > X) == pytest.approx(0.2, abs=0.01)


def test_own_losses_are_asked_for_the_whole_data_where_squares_ask_a_sketch(spiked):
    X, _ = spiked
    options = {"compress": True, "n_starts": 1, "random_state": 0}
    own, squares = (em.NMF(3, loss=loss, **options).fit(X) for loss in (ByEntries(), None))
    assert own.objective_[-1] == pytest.approx(squares.objective_[-1], rel=1e-4)
    along = em.assess.path(
        em.NMF(3, loss=Huber(0.03), maps=em.Sparse(), n_starts=1, random_state=0), X, "maps__weight", [0, 0.01]
    )  # fmt: skip
    assert along.misfit[0] == 0


def test_an_own_loss_works_in_series_fusion_and_under_drift(spiked, fitted):
    X, S = spiked
    options = {"random_state": 0, "n_starts": 2}
    series = em.CP(3, loss=Huber(0.03), **options).fit(X.reshape(15, 20, 40))
    assert series.converged_ and series.optimality_ < 1e-3
    C, P = em.Factor(3), em.Factor(3)
    fusion = em.Fusion([em.Term(X, C, P, loss=Huber(0.03), weight=1)], **options).fit()
    assert fusion.objective_[-1] == pytest.approx(fitted.objective_[-1], rel=1e-3)
    drifted = em.synthetic.mixed_phases(shape=(16, 16), k=2, channels=128, drift=1.0)
    drifting = em.Drifting(em.NMF(2, loss=Huber(20.0), **options)).fit(drifted.data)
    assert np.sqrt(np.mean((drifting.shifts_ - drifted.drift) ** 2)) < 0.1


def test_an_own_loss_works_in_what_judges_an_answer(spiked, fitted):
    X, S = spiked
    errors = em.assess.uncertainty(fitted, X)
    assert np.isfinite(errors.maps).all() and (errors.maps >= 0).all()
    bands = em.assess.ambiguity(fitted, X)
    assert (bands.spectra_low <= bands.spectra_high + 1e-12).all()
    models = {"huber": fitted, "squares": em.NMF(3, n_starts=2, random_state=0)}
    assert "huber" in str(em.compare(X, models))


def test_what_an_own_loss_cannot_do_is_refused_by_name(spiked):
    X, S = spiked
    loss = Huber(0.03)
    with pytest.raises(ValueError, match=r"Huber.*does not say what its noise is.*weight=1"):
        em.Term(X, em.Factor(3), em.Factor(3), loss=loss)
    with pytest.raises(ValueError, match=r"Huber.*does not go with a fit of references"):
        em.MLLS(S, loss=loss).fit(X)
    with pytest.raises(ValueError, match=r"Newton\(\) cannot minimise Huber.*em\.ANLS"):
        em.NMF(3, loss=loss, solver=em.Newton()).fit(X)
    with pytest.raises(ValueError, match="compressed.*only products"):
        em.NMF(3, loss=loss).fit(em.compress(X, 6))
    with pytest.raises(ValueError, match="change the loss"):
        em.NMF(3, loss=loss, maps=em.Relevance()).fit(X)


def test_what_a_loss_takes_decides_what_data_and_models_it_meets(spiked):
    X, _ = spiked

    class Positive(Huber):
        takes = "positive"

    model = em.NMF(3, loss=Positive(0.03))
    assert model.__sklearn_tags__().input_tags.positive_only
    assert not em.NMF(3, loss=Huber()).__sklearn_tags__().input_tags.positive_only
    with pytest.raises(ValueError, match="Positive.*negative"):
        model.fit(X - 0.5)
    with pytest.raises(ValueError, match="Positive.*some are zero"):
        model.fit(np.where(X > 0.1, X, 0))
    with pytest.raises(ValueError, match=r"Positive.*cannot be em\.Free"):
        em.NMF(3, loss=Positive(), maps=em.Free()).fit(X)


@pytest.mark.parametrize("loss", [em.SquaredError(), em.Poisson(), Huber(20.0)], ids=repr)
@pytest.mark.parametrize("place", ["maps", "spectra"])
def test_an_upper_bound_needs_nothing_but_bounds(loss, place):
    rng = np.random.default_rng(0)
    maps, spectra = rng.dirichlet([0.5, 0.5], 60), 100 * rng.random((2, 30)) ** 2
    X = rng.poisson(maps @ spectra).astype(float)
    most = {"maps": 1.0, "spectra": 100.0}[place]
    options = {"loss": loss, "normalise": None, "random_state": 0, "n_starts": 3}
    bound = em.NMF(2, **{place: NoMoreThan(most)}, **options).fit(X)
    free = em.NMF(2, **options).fit(X)
    held = bound.maps_ if place == "maps" else bound.components_
    assert held.max() <= most
    assert bound.objective_[-1] == pytest.approx(free.objective_[-1], rel=1e-3)
