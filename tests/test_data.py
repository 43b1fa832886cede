"""Every kind of data gives the same products, reads nothing it need not, and finds its way back to the image."""

from functools import partial

import dask.array as da
import numpy as np
import pytest
from scipy import sparse

import endmember as em
from endmember.factor.data.in_memory import Dense, Sparse, Weighted
from endmember.factor.data.lazy import Lazy
from endmember.factor.data.matrix import Selection
from endmember.factor.data.observed import observe, survey
from endmember.factor.sketch.passes import Wanted

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.3, (700, 900)).astype(np.uint8)
C, S = RNG.random((700, 3)), RNG.random((900, 3))
KINDS = {
    "float64": Dense(COUNTS.astype(float)),
    "float32": Dense(COUNTS.astype(np.float32)),
    "uint8": Dense(COUNTS),
    "fortran": Dense(np.asfortranarray(COUNTS.astype(float))),
    "sparse": Sparse(sparse.csr_array(COUNTS)),
    "lazy": Lazy(da.from_array(COUNTS, chunks=(150, 100))),
    "weights of one": Weighted(Dense(COUNTS), np.ones(COUNTS.shape)),
}
EXACT = COUNTS.astype(float)


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())
def test_products_agree_with_float64(data):
    np.testing.assert_allclose(data.dot(S), EXACT @ S, rtol=1e-13)
    np.testing.assert_allclose(data.transposed_dot(C), EXACT.T @ C, rtol=1e-13)
    np.testing.assert_allclose(data.channel_gram(), EXACT.T @ EXACT, rtol=1e-12)
    np.testing.assert_array_equal(data.rows(np.array([5, 2])), EXACT[[5, 2]])
    assert data.squared_norm == np.sum(EXACT**2)
    assert data.misfit([C, S]) == pytest.approx(0.5 * np.sum((EXACT - C @ S.T) ** 2), rel=1e-12)


def test_selection_is_the_same_as_slicing():
    rows, columns = np.arange(3, 700, 7), np.arange(1, 900, 5)
    chosen = Selection(rows, columns)
    expected = EXACT[np.ix_(rows, columns)]
    for data in (
        Dense(COUNTS, chosen),
        Sparse(sparse.csr_array(COUNTS), chosen),
        Lazy(da.from_array(COUNTS, chunks=(150, 100)), chosen),
    ):
        np.testing.assert_allclose(data.dot(S[columns]), expected @ S[columns], rtol=1e-13)
        np.testing.assert_allclose(data.transposed_dot(C[rows]), expected.T @ C[rows], rtol=1e-13)
        np.testing.assert_array_equal(data.rows(np.array([4, 0, 9])), expected[[4, 0, 9]])


def test_weighted_gram_is_that_of_every_row():
    W = RNG.random(COUNTS.shape)
    data = Weighted(Dense(COUNTS), W)
    G = data.gram([C, S], 0)
    np.testing.assert_allclose(G[17], (S * W[17][:, None]).T @ S, rtol=1e-12)
    np.testing.assert_allclose(data.gram([C, S], 1)[8], (C * W[:, 8][:, None]).T @ C, rtol=1e-12)
    misfit = 0.5 * np.sum(W * (EXACT - C @ S.T) ** 2)
    assert data.misfit([C, S]) == pytest.approx(misfit, rel=1e-12)


def test_integers_are_not_copied_whole():
    data = Dense(COUNTS)
    assert data.X is COUNTS
    assert next(data.blocks())[1].size < COUNTS.size


@pytest.mark.parametrize("kind", ["dense", "sparse", "lazy"])
def test_survey_counts_what_is_there_outside_the_masks(kind):
    X = np.zeros((6, 5))
    X[1, 2], X[3, 4], X[4, 0], X[5, 1] = 2.0, -1.0, np.nan, np.inf
    skip_rows = np.arange(6) == 5
    made = {
        "dense": np.asarray,
        "sparse": sparse.csr_array,
        "lazy": partial(da.from_array, chunks=(2, 3)),
    }
    found = survey(made[kind](X), skip_rows, None, Wanted())
    assert found.counts.tolist() == [1, 1, 25 - 3] and found.n_negative == 1
    assert found.first_nonfinite.tolist() == [4, 0]
    assert np.flatnonzero(found.filled_rows).tolist() == [1, 3, 4]
    assert np.flatnonzero(found.filled_columns).tolist() == [0, 2, 4]


def test_counts_full_of_zeros_become_sparse_and_others_do_not():
    assert isinstance(observe(RNG.poisson(0.1, (40, 50))).data, Sparse)
    assert isinstance(observe(RNG.poisson(5.0, (40, 50))).data, Dense)
    assert isinstance(observe(RNG.poisson(0.1, (40, 50)).astype(float)).data, Dense)


def test_empty_pixels_come_back_as_zeros_and_masked_ones_as_nan():
    cube = RNG.random((4, 5, 6)) + 1
    cube[2, 3] = 0
    cube[:, :, 4] = 0
    mask = np.zeros((4, 5), bool)
    mask[1, 0] = True
    observed = observe(cube, mask=mask, channel_mask=np.arange(6) == 5)
    assert observed.data.shape == (18, 4)
    maps = observed.maps(np.ones((18, 2)))
    assert np.isnan(maps[1, 0]).all() and (maps[2, 3] == 0).all()
    assert np.isnan(maps).sum() == 2 and (maps == 1).sum() == 36
    spectra = observed.spectra(np.ones((4, 2)))
    assert np.isnan(spectra[:, 5]).all() and (spectra[:, 4] == 0).all()


def test_image_order_is_kept_on_a_square_image():
    cube = np.arange(1, 3 * 3 * 2 + 1, dtype=float).reshape(3, 3, 2)
    mask = np.zeros((3, 3), bool)
    mask[0, 2] = True
    observed = observe(cube, mask=mask)
    kept = observed.data.rows(np.arange(8))
    assert cube[0, 2].tolist() not in kept.tolist() and cube[2, 0].tolist() in kept.tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"mask": np.zeros((5, 4), bool)},
            r"mask has the shape \(5, 4\) and the pixels have \(4, 5\)",
        ),
        ({"channel_mask": np.zeros(4, bool)}, r"channel_mask has the shape \(4,\)"),
        ({"mask": np.full((4, 5), 2)}, "True"),
        ({"mask": np.ones((4, 5), bool)}, "every pixel is masked"),
        ({"weights": np.ones((4, 4))}, "weights have the shape"),
        ({"weights": -np.ones((4, 5, 6))}, "not negative"),
        ({"domain": (3, 3)}, "9 pixels and X has 20"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(arguments, words):
    with pytest.raises(ValueError, match=words):
        observe(np.ones((4, 5, 6)), **arguments)


def test_values_that_are_no_numbers_are_counted_and_located():
    cube = np.ones((4, 5, 6))
    cube[1, 2, 3] = np.nan
    cube[3, 4, 5] = np.inf
    with pytest.raises(
        ValueError, match=r"2 NaN or infinite values, the first at pixel \(1, 2\), channel 3"
    ):
        observe(cube)
    mask = np.isnan(cube).any(axis=2) | np.isinf(cube).any(axis=2)
    assert observe(cube, mask=mask).data.shape == (18, 6)


def test_input_is_never_changed():
    cube = np.ones((4, 5, 6))
    cube[0, 0, 0] = np.nan
    before = cube.copy()
    observe(cube, weights=np.ones_like(cube)).data.dot(np.ones((6, 1)))
    np.testing.assert_array_equal(cube, before)


def test_weights_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match="all weights are zero"):
        em.NMF(2).fit(np.ones((4, 5)), weights=np.zeros((4, 5)))
