"""Products in threads, sketches in single precision: the same answers as by the plain road."""

import numpy as np
import pytest

from endmember.factor.data.in_memory import Dense
from endmember.factor.data.observed import observe
from endmember.factor.sketch.low_rank import OVERSAMPLING
from endmember.factor.sketch.passes import Wanted, sketched
from endmember.factor.solvers import ANLS
from endmember.factor.subproblems import Quadratic

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_products_do_not_depend_on_threads(dtype, monkeypatch):
    X = np.random.default_rng(3).poisson(3.0, (6000, 1500)).astype(dtype)
    X[:, 40] = 0
    kept = np.delete(X, 40, axis=1).astype(float)
    Z, F = RNG.random((1499, 3)), RNG.random((6000, 3))
    answers = []
    for threads in "1", "3":
        monkeypatch.setenv("ENDMEMBER_THREADS", threads)
        data = observe(X, wanted=Wanted(3)).data
        assert isinstance(data, Dense)
        answers.append([data.dot(Z), data.transposed_dot(F), data.squared_row_norms, data.found[2]])
    for one, many in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, many)
    np.testing.assert_allclose(answers[0][0], kept @ Z, rtol=1e-12)
    np.testing.assert_allclose(answers[0][1], kept.T @ F, rtol=1e-12)
    np.testing.assert_allclose(answers[0][2], (kept**2).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e7])
def test_a_sketch_in_single_precision_finds_weak_directions(scale):
    U, V = np.linalg.qr(RNG.random((900, 6)))[0], np.linalg.qr(RNG.random((300, 6)))[0]
    strengths = np.array([1.0, 0.3, 0.1, 1e-2, 3e-3, 1e-3])
    X = (scale * (U * strengths) @ V.T).astype(np.float32)
    data = observe(X, wanted=Wanted(8 + OVERSAMPLING)).data
    Z, basis, squared_norm = sketched(data, 8)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=0)[:6], scale * strengths, rtol=1e-2)
    assert np.linalg.norm(Z @ basis.T - X) < 1e-4 * scale
    assert squared_norm == pytest.approx((X.astype(float) ** 2).sum(), rel=1e-5)


def test_rows_solved_in_parts_meet_the_conditions_of_the_whole():
    S, C = RNG.random((50, 5)), np.maximum(RNG.normal(0.2, 0.5, (9000, 5)), 0.0)
    G, H = S.T @ S, C @ (S.T @ S) + RNG.normal(0.0, 0.3, C.shape)
    F = ANLS().improve(Quadratic(G, H), np.zeros_like(C), 50)
    gradient = F @ G - H
    assert F.min() >= 0
    assert gradient.min() > -1e-10
    assert np.abs(F * gradient).max() < 1e-10
