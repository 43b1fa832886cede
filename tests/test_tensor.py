"""Tensors: every product is the sum that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from endmember.factor.arrangements.series import Tensor, khatri_rao
from endmember.factor.data.in_memory import Dense, Sparse, Weighted, count_scaled

LETTERS = "abcdef"


def _direct(T: np.ndarray, factors: list[np.ndarray], mode: int) -> np.ndarray:
    """Contract with every factor but one, all at once."""
    letters = LETTERS[: T.ndim]
    others = [i for i in range(T.ndim) if i != mode]
    inputs = ",".join([letters] + [letters[i] + "z" for i in others])
    return np.einsum(f"{inputs}->{letters[mode]}z", T, *[factors[i] for i in others])


def _series(shape: tuple[int, ...], k: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(7)
    return rng.poisson(2.0, shape).astype(float), [rng.random((d, k)) for d in shape]


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 3, 2, 2, 6)])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_contraction_is_the_sum_over_all_other_modes(shape, kind):
    T, factors = _series(shape)
    X = T.reshape(-1, shape[-1])
    data = Tensor(Dense(X) if kind == "dense" else Sparse(sparse.csr_array(X)), shape[:-1])
    for mode in range(len(shape)):
        np.testing.assert_allclose(data.contract(factors, mode), _direct(T, factors, mode), 1e-12)
        Z = khatri_rao([F for i, F in enumerate(factors) if i != mode])
        np.testing.assert_allclose(data.gram(factors, mode), Z.T @ Z, 1e-12)


def test_contraction_follows_the_spectra():
    T, factors = _series((3, 4, 5))
    data = Tensor(Dense(T.reshape(-1, 5)), (3, 4))
    before = data.contract(factors, 0)
    factors[2][1] *= 2.0  # in place: what was computed before must not be given again
    np.testing.assert_allclose(data.contract(factors, 0), _direct(T, factors, 0), 1e-12)
    assert not np.allclose(before, data.contract(factors, 0))


def _weighted_gram(W: np.ndarray, factors: list[np.ndarray], mode: int) -> np.ndarray:
    pairs = [(F[:, :, None] * F[:, None, :]).reshape(len(F), -1) for F in factors]
    k = factors[0].shape[1]
    return _direct(W, pairs, mode).reshape(-1, k, k)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_missing_pixels_and_entries_do_not_count(mode):
    T, factors = _series((2, 3, 4, 5))
    rng = np.random.default_rng(1)
    W = rng.random(T.shape) * (rng.random(T.shape) > 0.3)
    rows = np.flatnonzero(rng.random(24) > 0.4)
    W.reshape(24, 5)[np.setdiff1d(np.arange(24), rows)] = 0.0
    matrix = Weighted(Dense(T.reshape(24, 5)[rows]), W.reshape(24, 5)[rows])
    data = Tensor(matrix, (2, 3, 4), rows)
    np.testing.assert_allclose(data.contract(factors, mode), _direct(W * T, factors, mode), 1e-12)
    np.testing.assert_allclose(data.gram(factors, mode), _weighted_gram(W, factors, mode), 1e-12)
    model = np.einsum("az,bz,cz,dz->abcd", *factors)
    assert data.misfit(factors) == pytest.approx(0.5 * np.sum(W * (T - model) ** 2), rel=1e-12)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_weights_by_counts_reach_every_mode(mode):
    T, factors = _series((3, 4, 5))
    T += 1.0
    matrix = count_scaled(Dense(T.reshape(12, 5)))
    r, c = matrix.scales
    W = ((r * c.T) ** 2).reshape(T.shape)
    data = Tensor(matrix, (3, 4))
    weights = data.row_weights(mode)
    weights = np.ones(T.shape[mode]) if weights is None else weights
    contracted = weights[:, None] * data.contract(factors, mode)
    np.testing.assert_allclose(contracted, _direct(W * T, factors, mode), 1e-12)
    G = np.broadcast_to(data.gram(factors, mode), (T.shape[mode], 3, 3))
    G = weights[:, None, None] * G
    np.testing.assert_allclose(G, _weighted_gram(W, factors, mode), 1e-12)
