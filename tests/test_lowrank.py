"""The sketch: exact where the rank allows, honest where it does not."""

import dask.array as da
import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

import endmember as em
from endmember.factor.data import Dense, count_scaled, observe
from endmember.factor.loop import with_maps
from endmember.factor.sketch.low_rank import sketch, sketch_of, with_directions

RNG = np.random.default_rng(0)
TALL = RNG.random((400, 4)) @ RNG.random((4, 90))
WIDE = RNG.random((60, 4)) @ RNG.random((4, 1500))
MANY = RNG.random((900, 4)) @ RNG.random((4, 700))


@pytest.mark.parametrize("X", [TALL, WIDE, MANY], ids=["gram", "few pixels", "projection"])
def test_data_of_low_rank_are_kept_whole(X):
    low = em.compress(X, 6)
    np.testing.assert_allclose(low.V.T @ low.V, np.eye(low.rank), atol=1e-10)
    np.testing.assert_allclose(low.Z @ low.V.T, X, atol=1e-6 * X.max())
    S, C = RNG.random((X.shape[1], 3)), RNG.random((X.shape[0], 3))
    np.testing.assert_allclose(low.dot(S), X @ S, rtol=1e-6)
    np.testing.assert_allclose(low.transposed_dot(C), X.T @ C, rtol=1e-6)
    assert low.misfit([C, S]) == pytest.approx(0.5 * np.sum((X - C @ S.T) ** 2), rel=1e-6)


def test_singular_values_are_those_of_scikit_learn():
    X = MANY + 0.1 * RNG.random(MANY.shape)
    theirs = TruncatedSVD(4, algorithm="arpack").fit(X).singular_values_
    np.testing.assert_allclose(em.compress(X, 4).singular_values, theirs, rtol=1e-8)


def test_pythagoras_splits_the_misfit():
    X = RNG.random((50, 30))
    low = sketch(observe(X).data, 5)
    C, S = RNG.random((50, 2)), RNG.random((30, 2))
    outside = np.eye(30) - low.V @ low.V.T
    inside = np.sum((low.Z - C @ (low.V.T @ S).T) ** 2)
    split = inside + np.sum(((X - C @ S.T) @ outside) ** 2)
    assert split == pytest.approx(np.sum((X - C @ S.T) ** 2), rel=1e-12)


def test_sparse_lazy_and_dense_give_the_same_sketch():
    counts = RNG.poisson(0.2, (300, 200))
    dense, kept_sparse, lazy = (
        em.compress(X, 8).singular_values
        for X in (
            counts.astype(float),
            sparse.csr_array(counts),
            da.from_array(counts, chunks=(70, 50)),
        )
    )
    np.testing.assert_allclose(kept_sparse, dense, rtol=1e-10)
    np.testing.assert_allclose(lazy, dense, rtol=1e-10)


def test_a_sketch_takes_the_place_of_the_data():
    cube = (RNG.random((100, 3)) @ RNG.random((3, 80))).reshape(10, 10, 80)
    direct = em.NMF(3, random_state=0, compress=False, tol=1e-9).fit(cube)
    compressed = em.NMF(3, random_state=0, tol=1e-9).fit(em.compress(cube, 12))
    assert compressed.maps_.shape == (10, 10, 3)
    np.testing.assert_allclose(
        compressed.inverse_transform(compressed.maps_),
        direct.inverse_transform(direct.maps_),
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="masks already"):
        em.NMF(3).fit(em.compress(cube, 12), mask=np.zeros((10, 10), bool))


@pytest.mark.parametrize("scaling", [None, "poisson"])
def test_a_sketch_is_not_sketched_again(scaling):
    counts = RNG.poisson(20 * RNG.random((900, 3)) @ RNG.random((3, 400)))
    sketch_of_counts = em.compress(counts, 13, scaling=scaling)
    auto, plain = (
        em.NMF(3, compress=compress, n_starts=2, random_state=0).fit(sketch_of_counts)
        for compress in ("auto", False)
    )
    np.testing.assert_array_equal(auto.components_, plain.components_)


def test_nothing_to_keep_is_refused():
    with pytest.raises(ValueError, match="rank=0"):
        em.compress(TALL, 0)


@pytest.mark.parametrize("scaled", [False, True])
def test_directions_of_spectra_make_their_misfit_that_of_all_data(scaled):
    X = np.random.default_rng(2).poisson(3.0, (60, 40)).astype(float)
    whole = count_scaled(Dense(X)) if scaled else Dense(X)
    S = np.random.default_rng(3).random((40, 3))
    C = with_maps(whole, S)[0]
    low = with_directions(sketch_of(whole, 5), whole, S)
    assert low.misfit([C, S]) == pytest.approx(whole.misfit([C, S]), rel=1e-9)
    assert sketch_of(whole, 5).misfit([C, S]) > 1.001 * whole.misfit([C, S])
