"""Compiled loops over non-zeros against the same with NumPy, the plain Python they come from, and any threads."""

import numpy as np
import pytest
from scipy import sparse

import endmember as em
from endmember.factor.data import kernels
from endmember.factor.data.in_memory import Dense, Sparse
from endmember.factor.data.kernels import Entries
from endmember.factor.losses import Poisson
from endmember.factor.solvers import Newton

RNG = np.random.default_rng(0)
START = [RNG.random((90, 4)) + 0.01, RNG.random((70, 4)) + 0.01]
COUNTS = sparse.csr_array(RNG.poisson(0.2 * START[0] @ START[1].T).astype(float))


def newton(X, mode, penalise=None, memory=None):
    """Return one improvement of a factor of ``X``, with what ``penalise`` does to its subproblem."""
    subproblem = Poisson().subproblem(Sparse(X), START, mode)
    if penalise is not None:
        penalise(subproblem)
    F = START[mode]
    return Newton(inner=3).improve(subproblem, F, X.shape[1 - mode], memory=memory)


def soften(subproblem):
    subproblem.add_quadratic(np.array(2.0 * (np.ones((4, 4)) - np.eye(4))))
    subproblem.add_linear(0.3)


def bind(subproblem):
    subproblem.lower, subproblem.upper = 0.02, np.full(subproblem.shape, 0.4)


@pytest.mark.parametrize("mode", [0, 1])
def test_compiled_sums_are_those_of_numpy(mode):
    entries, Z = Sparse(COUNTS).entries(), START[1 - mode]
    entries, F = entries if mode == 0 else entries.transposed, START[mode]
    for sums in ("quotients", "deviance"):
        plain = getattr(Entries, sums)(entries, F, Z, 1e-9)
        np.testing.assert_allclose(getattr(entries, sums)(F, Z, 1e-9), plain, rtol=1e-12)


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("change", [None, soften, bind], ids=["plain", "soft orthogonal", "bounds"])
@pytest.mark.parametrize("mode", [0, 1])
def test_the_loops_mean_the_same_when_they_are_not_compiled(mode, change, relaxed, monkeypatch):
    def improved():
        return newton(COUNTS, mode, change, {"other": np.zeros(1)} if relaxed else None)

    quick = improved()
    monkeypatch.setattr(kernels, "loops", lambda: vars(kernels))
    np.testing.assert_allclose(improved(), quick, rtol=1e-9, atol=1e-12)


def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    answers = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("ENDMEMBER_THREADS", threads)
        answers.append([newton(COUNTS, mode) for mode in (0, 1)])
        answers[-1].append(Poisson().misfit(Sparse(COUNTS), START))
    for other in answers[1:]:
        for ours, theirs in zip(other, answers[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("said", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_threads_is_refused(said, monkeypatch):
    from endmember.factor.data.resources import n_threads

    monkeypatch.setenv("ENDMEMBER_THREADS", said)
    with pytest.raises(ValueError, match="whole number of at least 1"):
        n_threads()


def test_rows_without_counts_become_empty():
    X = COUNTS.tolil()
    X[[3, 40]] = 0
    F = newton(sparse.csr_array(X), 0)
    assert (F[[3, 40]] == 0).all() and np.isfinite(F).all()


def test_a_step_too_far_is_shortened():
    """From far above, Newton's full step would leave the model of every count below zero."""
    X = sparse.csr_array(COUNTS.toarray() + 1.0)
    data, F = Sparse(X), 1000 * START[0]
    misfits = [Poisson().misfit(data, [F, START[1]])]
    for _ in range(25):
        F = Newton().improve(Poisson().subproblem(data, [F, START[1]], 0), F, 70)
        misfits.append(Poisson().misfit(data, [F, START[1]]))
    assert (np.diff(misfits) <= 1e-12 * misfits[0]).all()
    assert Poisson().subproblem(data, [F, START[1]], 0).optimality(F) < 1e-9


def test_a_fit_of_sparse_counts_is_that_of_dense_ones(monkeypatch):
    monkeypatch.setattr(Dense, "_nonzeros", None)
    phantom = em.synthetic.edxs_phases(shape=(16, 16), dose=40, seed=0)
    X = np.asarray(phantom.data).reshape(-1, phantom.data.shape[-1])
    start = em.NMF(3, n_starts=2, random_state=0).fit(X)
    given = start.maps_.reshape(-1, 3) + 1e-3, start.components_ + 1e-6
    from_both = [
        em.NMF(3, loss=em.Poisson(), init=given, tol=1e-9, max_iter=500).fit(kind)
        for kind in (sparse.csr_array(X), X.astype(float))
    ]
    ours, theirs = from_both
    assert ours.objective_[-1] == pytest.approx(theirs.objective_[-1], rel=1e-6)
    assert em.spectral_angle(ours.components_, theirs.components_).max() < 0.01


def test_data_kept_dense_agree_with_sparse_ones_sweep_by_sweep(monkeypatch):
    dense, counts = Dense(COUNTS.toarray()), Sparse(COUNTS)
    monkeypatch.setattr(Dense, "_nonzeros", None)
    for mode in (0, 1):
        ours, theirs = (
            Newton(inner=2).improve(
                Poisson().subproblem(data, START, mode), START[mode], COUNTS.shape[1 - mode]
            )
            for data in (counts, dense)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_dense_data_that_are_mostly_zero_are_worked_on_as_non_zeros():
    full = COUNTS.toarray()
    entries = Dense(full.astype(np.uint8)).entries()
    np.testing.assert_array_equal(np.sort(entries.x), np.sort(full[full > 0]))
    assert Dense(full + 1.0).entries().x.shape == full.shape
    assert Dense(full).entries(dense=True).x.shape == full.shape
    assert Poisson().misfit(Dense(full), START) == pytest.approx(
        Poisson().misfit(Sparse(COUNTS), START), rel=1e-12
    )
