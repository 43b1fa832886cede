"""CP: exact series are found, matrices are NMF, and every mode is treated alike."""

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.factor.penalties import Penalty


def product(factors):
    """Return the tensor that factors stand for."""
    letters = "abcdefg"[: len(factors)]
    return np.einsum(",".join(f"{x}z" for x in letters) + f"->{letters}", *factors)


def series(shape, k=3, seed=0):
    rng = np.random.default_rng(seed)
    factors = [rng.random((size, k)) for size in shape]
    return product(factors), factors


def angles(model, factors):
    """Return the largest angle of any profile to the true one, components matched."""
    order = em.match_components(model.components_, factors[-1].T)
    pairs = zip(model.factors_, factors, strict=True)
    return max(np.max(em.spectral_angle(F.T[order], G.T)) for F, G in pairs)


T, TRUE = series((6, 7, 8))
FITTED = em.CP(3, random_state=0, tol=1e-12, n_starts=4).fit(T)


@pytest.mark.parametrize("shape", [(6, 7, 8), (4, 5, 6, 7)])
def test_exact_series_are_found_to_the_last_digits(shape):
    X, factors = series(shape)
    model = em.CP(3, random_state=0, tol=1e-12, n_starts=4).fit(X)
    assert angles(model, factors) < 1e-6
    assert model.unique_ and model.core_consistency_ == pytest.approx(100.0, abs=1e-4)
    assert model.maps_.shape == (*shape[:-1], 3)
    np.testing.assert_allclose(model.inverse_transform(model.maps_), X, atol=1e-8)
    np.testing.assert_allclose(product(model.factors_), X, atol=1e-8)
    assert (np.diff(model.objective_) <= 1e-12 * model.objective_[0]).all()


def test_cp_is_that_of_tensorly():
    """Its factors come back in its own measure, and with noise its HALS ends at the same tensor."""
    from tensorly import cp_to_tensor
    from tensorly.decomposition import non_negative_parafac_hals
    from tensorly.metrics.factors import congruence_coefficient
    from tensorly.random import random_cp

    truth = random_cp((6, 7, 8), 3, random_state=1234)
    X = cp_to_tensor(truth)
    noisy = X + 0.05 * np.random.default_rng(3).random(X.shape)
    theirs = non_negative_parafac_hals(noisy, 3, n_iter_max=300, tol=1e-10, random_state=0)
    for data, factors in ((X, truth.factors), (noisy, theirs.factors)):
        model = em.CP(3, random_state=0, tol=1e-10, n_starts=2).fit(data)
        assert (
            min(
                congruence_coefficient(*pair)[0]
                for pair in zip(model.factors_, factors, strict=True)
            )
            > 1 - 1e-6
        )
        recorded = cp_to_tensor((None, model.factors_))
        np.testing.assert_allclose(recorded, model.inverse_transform(model.maps_), atol=1e-12)
    assert np.sum((recorded - noisy) ** 2) <= np.sum((cp_to_tensor(theirs) - noisy) ** 2) * (
        1 + 1e-6
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mode_of_one_entry_leaves_nmf_bit_for_bit(axis):
    rng = np.random.default_rng(1)
    X = rng.random((20, 3)) @ rng.random((3, 30)) + 0.01 * rng.random((20, 30))
    nmf = em.NMF(3, random_state=0).fit(X)
    cp = em.CP(3, random_state=0).fit(np.expand_dims(X, axis))
    long = [F for F in cp.factors_ if len(F) > 1]
    assert np.array_equal(long[0], nmf.maps_) and np.array_equal(long[1], nmf.components_.T)
    assert cp.objective_.tolist() == nmf.objective_.tolist()
    assert np.array_equal(em.CP(3, random_state=0).fit(X).maps_, nmf.maps_)


def test_a_matrix_with_empty_and_masked_channels_and_pixels_is_nmf():
    X = T[0].copy()
    X[2], X[:, 5] = 0, 0
    left_out = np.arange(8) == 1
    cp = em.CP(2, random_state=0).fit(X, mask=np.arange(7) == 4, channel_mask=left_out)
    nmf = em.NMF(2, random_state=0).fit(X, mask=np.arange(7) == 4, channel_mask=left_out)
    shown = cp.inverse_transform(cp.maps_), nmf.inverse_transform(nmf.maps_)
    np.testing.assert_allclose(*shown, rtol=1e-10)
    assert not cp.components_[:, 5].any() and np.isnan(cp.components_[:, 1]).all()


@pytest.mark.filterwarnings(
    "ignore:not converged:sklearn.exceptions.ConvergenceWarning"
)  # exact data: still falling
@pytest.mark.parametrize("shape", [(6, 7, 3), (3, 6, 7), (4, 3, 5, 6)])
def test_more_components_than_a_mode_has_entries_are_found_and_told_apart(shape):
    X, factors = series(shape, k=4)
    model = em.CP(4, random_state=0, tol=1e-9).fit(X)
    leading = [product([*Fs[:-1], np.eye(4)]).reshape(-1, 4) for Fs in (model.factors_, factors)]
    order = em.match_components(leading[0].T, leading[1].T)
    assert em.spectral_angle(leading[0].T[order], leading[1].T).max() < 0.1
    assert model.unique_ and np.isnan(model.core_consistency_)
    if shape[-1] < 4:
        with pytest.raises(ValueError, match="4 spectra of 3 channels do not fix the maps"):
            model.transform(X)
    with pytest.raises(ValueError, match="have at most"):
        em.CP(int(np.prod(shape)) // max(shape) + 1).fit(X)


def test_what_is_given_in_a_mode_keeps_its_scale():
    X, factors = series((6, 7, 8))
    for mode in range(3):
        given = em.Known({1: 5 * factors[mode][:, 0]})
        model = em.CP(3, random_state=0, tol=1e-12, modes={mode: given}).fit(X)
        np.testing.assert_array_equal(model.factors_[mode][:, 1], 5 * factors[mode][:, 0])
        np.testing.assert_allclose(product(model.factors_), X, atol=1e-7)
    closed = factors[1] / factors[1].sum(axis=1, keepdims=True)
    model = em.CP(3, random_state=0, tol=1e-12, modes={1: em.SumToOne()})
    model.fit(product([factors[0], closed, factors[2]]))
    np.testing.assert_allclose(model.factors_[1].sum(axis=1), 1)


def test_permuted_modes_give_permuted_factors():
    X, factors = series((5, 6, 7), seed=4)
    turned = em.CP(3, random_state=0, tol=1e-12, n_starts=4).fit(X.transpose(2, 0, 1))
    assert angles(turned, [factors[2], factors[0], factors[1]]) < 1e-6


def test_whole_numbers_are_data_like_any_other():
    X, factors = series((5, 6, 7), k=2)
    counts = np.round(1000 * X).astype(np.uint16)
    whole = em.CP(2, random_state=0, n_starts=3).fit(counts)
    same = em.CP(2, random_state=0, n_starts=3).fit(counts.astype(float))
    np.testing.assert_allclose(whole.components_, same.components_, atol=1e-8)
    assert angles(whole, factors) < 0.1
    assert em.CP(2, random_state=0).fit(X.astype(np.float32)).components_.dtype == np.float32


def test_lazy_and_compressed_give_the_same_answer():
    X, _ = series((6, 7, 40))
    X = X + 0.01 * np.random.default_rng(0).random(X.shape)
    plain = em.CP(3, random_state=0, compress=False).fit(X)
    for same in (
        em.CP(3, random_state=0, compress=True).fit(X),
        em.CP(3, random_state=0).fit(da.from_array(X, chunks=(3, 7, 11))),
    ):
        order = em.match_components(same.components_, plain.components_)
        assert np.max(em.spectral_angle(same.components_[order], plain.components_)) < 0.05
        assert same.objective_[-1] == pytest.approx(plain.objective_[-1], rel=1e-4)


def test_masked_pixels_and_missing_entries_are_not_seen():
    rng = np.random.default_rng(2)
    X, factors = series((6, 7, 8))
    mask = rng.random((6, 7)) < 0.2
    spoiled = np.where(mask[..., None], 100.0, X)
    model = em.CP(3, random_state=0, tol=1e-10, n_starts=4).fit(spoiled, mask=mask)
    assert angles(model, factors) < 1e-3
    assert np.isnan(model.maps_[mask]).all() and np.isfinite(model.maps_[~mask]).all()
    weights = (rng.random(X.shape) > 0.2).astype(float)
    missing = em.CP(3, random_state=0, tol=1e-10, n_starts=4)
    missing.fit(np.where(weights > 0, X, np.nan), weights=weights)
    assert angles(missing, factors) < 1e-2


@pytest.mark.filterwarnings(
    "ignore:the sweeps stand still:sklearn.exceptions.ConvergenceWarning"
)  # smooth only
def test_penalties_reach_the_mode_they_are_about():
    rng = np.random.default_rng(3)
    profile = np.stack([np.exp(-0.5 * ((np.arange(20) - c) / 3) ** 2) for c in (6, 13)], axis=1)
    factors = [profile, rng.random((7, 2)), rng.random((9, 2))]
    X = product(factors) + 0.05 * rng.random((20, 7, 9))
    smooth = em.CP(2, modes={0: em.Smooth(3.0)}, random_state=0, n_starts=3).fit(X)
    plain = em.CP(2, random_state=0, n_starts=3).fit(X)

    def roughness(model):
        F = model.factors_[0] / np.linalg.norm(model.factors_[0], axis=0)
        return np.sum(np.diff(F, axis=0) ** 2)

    assert roughness(smooth) < 0.8 * roughness(plain)
    known = em.CP(2, modes=[None, None, em.Known({0: factors[2][:, 0]})], random_state=0).fit(X)
    assert em.spectral_angle(known.components_[0], factors[2][:, 0]) < 1e-5
    signed = em.CP(2, modes=[em.Free()] * 3, random_state=0).fit(
        product([f - 0.5 for f in factors])
    )
    assert signed.core_consistency_ > 99


def test_images_of_a_series_are_one_mode():
    rng = np.random.default_rng(5)
    images, tilts, spectra = rng.random((4, 5, 2)), rng.random((6, 2)), rng.random((2, 30))
    X = np.einsum("tk,yxk,ke->tyxe", tilts, images, spectra)
    signal = hs.signals.Signal1D(X)
    model = em.CP(2, random_state=0, tol=1e-12).fit(signal)
    assert [len(F) for F in model.factors_] == [6, 20, 30]
    assert angles(model, [tilts, images.reshape(20, 2), spectra.T]) < 1e-6
    same = em.CP(2, joined=(1, 2), random_state=0, tol=1e-12).fit(X)
    assert np.array_equal(same.maps_, model.maps_)


@pytest.mark.filterwarnings(
    "ignore:not converged:sklearn.exceptions.ConvergenceWarning"
)  # too many
def test_too_many_components_show():
    rng = np.random.default_rng(0)
    noisy = T + 0.02 * T.std() * rng.standard_normal(T.shape)
    right = em.CP(3, random_state=0).fit(noisy)
    many = em.CP(5, random_state=0).fit(noisy)
    assert right.core_consistency_ > 90 > 50 > many.core_consistency_


def test_components_that_cancel_each_other_are_named():
    # The tensor a∘a∘b + a∘b∘a + b∘a∘a has rank three, and two opposed components come ever nearer to it.
    a, b = np.eye(2)
    limit = sum(np.einsum("a,b,c->abc", *x) for x in ((a, a, b), (a, b, a), (b, a, a)))
    with pytest.warns(UserWarning, match="cancel each other"):
        model = em.CP(2, modes=[em.Free()] * 3, random_state=0, tol=1e-9).fit(limit)
    assert model.congruence_ < -0.97


def test_own_start_and_scale():
    again = em.CP(3, init=FITTED.factors_, random_state=0).fit(T)
    assert again.objective_[0] < 1e-12 * np.sum(T**2) and again.starts_ == []
    tiny = em.CP(3, random_state=0, tol=1e-12, n_starts=4).fit(2.0**-40 * T)
    np.testing.assert_allclose(tiny.components_, FITTED.components_, atol=1e-9)


def test_refusals():
    with pytest.raises(ValueError, match="have 3"):
        em.CP(2, modes=[None, None]).fit(T)
    with pytest.raises(ValueError, match="names mode 5"):
        em.CP(2, modes={5: em.Smooth()}).fit(T)
    with pytest.raises(ValueError, match="neighbouring axes"):
        em.CP(2, joined=(0, 3)).fit(T)
    with pytest.raises(ValueError, match="one array a mode"):
        em.CP(2, init=[np.ones((6, 2))]).fit(T)
    with pytest.raises(ValueError, match="how many"):
        em.CP().fit(T)
    with pytest.raises(ValueError, match="at most 12 components"):
        em.CP(13).fit(np.ones((3, 4, 15)))
    with pytest.raises(ValueError, match="all values are zero"):
        em.CP(2).fit(np.zeros((3, 4, 5)))
    with pytest.raises(ValueError, match="core_consistency_"):
        em.CP(3, modes=[em.Relevance(), None, None]).fit(T)


def tucker_series(ranks, shape=(6, 7, 9), seed=0):
    rng = np.random.default_rng(seed)
    core = rng.random(ranks)
    factors = [rng.random((n, r)) for n, r in zip(shape, ranks, strict=True)]
    return np.einsum("abc,ia,jb,kc->ijk", core, *factors), core, factors


def test_free_tucker_is_the_best_approximation_of_these_ranks():
    from tensorly import tucker_to_tensor
    from tensorly.decomposition import tucker

    X, _, _ = tucker_series((2, 2, 3))
    free = {"modes": [em.Free()] * 3, "core": em.Free()}
    exact = em.Tucker((2, 2, 3), **free).fit(X)
    np.testing.assert_allclose(exact.inverse_transform(exact.maps_), X, atol=1e-12)
    for F in exact.factors_:
        np.testing.assert_allclose(F.T @ F, np.eye(F.shape[1]), atol=1e-12)
    noisy = X + 0.1 * np.random.default_rng(1).random(X.shape)
    ours = em.Tucker((2, 2, 3), tol=1e-12, **free).fit(noisy)
    theirs = tucker_to_tensor(tucker(noisy, (2, 2, 3), n_iter_max=500, tol=1e-14))
    assert ours.objective_[-1] == pytest.approx(0.5 * np.sum((noisy - theirs) ** 2), rel=1e-9)


def test_tucker_products_are_sums_over_everything_else():
    from endmember.factor.arrangements.series import Tensor, WithCore
    from endmember.factor.data.in_memory import Dense

    X, core, factors = tucker_series((2, 3, 4))
    data = WithCore(Tensor(Dense(X.reshape(-1, 9)), (6, 7)), (2, 3, 4))
    all_factors = [core.reshape(1, -1), *factors]
    for mode, (letter, column) in enumerate(zip("ijk", "abc", strict=True)):
        others = [
            (F, s) for F, s in zip(factors, ("ia", "jb", "kc"), strict=True) if s[0] != letter
        ]
        Z = np.einsum(
            f"abc,{others[0][1]},{others[1][1]}->{others[0][1][0]}{others[1][1][0]}{column}",
            core, others[0][0], others[1][0],
        ).reshape(-1, core.shape[mode])  # fmt: skip
        unfolded = np.moveaxis(X, mode, 0).reshape(X.shape[mode], -1)
        np.testing.assert_allclose(data.contract(all_factors, mode + 1), unfolded @ Z, rtol=1e-10)
        np.testing.assert_allclose(data.gram(all_factors, mode + 1), Z.T @ Z, rtol=1e-10)
    Z = np.einsum("ia,jb,kc->ijkabc", *factors).reshape(-1, 24)
    np.testing.assert_allclose(data.contract(all_factors, 0), (X.ravel() @ Z)[None], rtol=1e-10)
    np.testing.assert_allclose(data.gram(all_factors, 0), Z.T @ Z, rtol=1e-10)
    assert data.misfit(all_factors) == pytest.approx(0.0, abs=1e-18)


def test_a_superdiagonal_core_stays_cp():
    X, factors = series((6, 7, 8))

    class Superdiagonal(Penalty):
        def bounds(self, shape, grid=None):
            upper = np.zeros((3, 3, 3))
            upper[np.arange(3), np.arange(3), np.arange(3)] = np.inf
            return 0.0, upper.reshape(1, -1)

    allowed = Superdiagonal()
    noisy = X + 0.01 * np.random.default_rng(0).random(X.shape)
    tucker = em.Tucker(3, core=allowed, tol=1e-10, random_state=0).fit(noisy)
    cp = em.CP(3, tol=1e-10, random_state=0).fit(noisy)
    assert np.count_nonzero(tucker.core_) == 3
    assert tucker.objective_[-1] == pytest.approx(cp.objective_[-1], rel=1e-4)


def test_tucker_is_not_negative_and_falls():
    X, _, _ = tucker_series((2, 3, 4))
    model = em.Tucker((2, 3, 4), random_state=0).fit(np.round(1000 * X).astype(np.int32))
    assert model.core_.min() >= 0 and min(F.min() for F in model.factors_) >= 0
    assert (np.diff(model.objective_) <= 1e-12 * np.sum((1000 * X) ** 2)).all()
    assert model.objective_[-1] < 1e-5 * np.sum((1000 * X) ** 2)
    assert model.maps_.shape == (6, 7, 4) and model.core_.shape == (2, 3, 4)


def test_tucker_refusals():
    with pytest.raises(ValueError, match="all values are zero"):
        em.Tucker(1).fit(np.zeros((4, 5, 6)))
    with pytest.raises(ValueError, match="how many profiles"):
        em.Tucker().fit(T)
    with pytest.raises(ValueError, match="names 2 modes"):
        em.Tucker((2, 2)).fit(T)
    with pytest.raises(ValueError, match="more than its"):
        em.Tucker((7, 2, 2)).fit(T)
    with pytest.raises(ValueError, match="flee into the core"):
        em.Tucker(2, modes={0: em.Ridge(0.1)}).fit(T)
    with pytest.raises(ValueError, match="masked"):
        em.Tucker(2).fit(T, mask=np.eye(6, 7, dtype=bool))


def counted_series():
    rng = np.random.default_rng(0)
    energy = np.arange(40)
    spectra = np.stack([np.exp(-0.5 * ((energy - c) / 3) ** 2) for c in (9, 20, 30)], axis=1)
    factors = [rng.random((5, 3)), rng.random((30, 3)) ** 3, spectra]
    return rng.poisson(20 * product(factors)), factors


@pytest.mark.parametrize("places", [None, np.setdiff1d(np.arange(20), [3, 7, 11])])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_divergence_of_a_series_is_that_of_all_its_entries(kind, places):
    from scipy import sparse

    from endmember.factor.arrangements.series import Tensor
    from endmember.factor.data.in_memory import Dense, Sparse

    rng = np.random.default_rng(1)
    counts = rng.poisson(0.7, (4, 5, 12))
    factors = [0.1 + rng.random((size, 2)) for size in counts.shape]
    rows = np.arange(20) if places is None else places
    X = counts.reshape(20, 12)[rows].astype(float)
    matrix = Dense(X) if kind == "dense" else Sparse(sparse.csr_array(X))
    data = Tensor(matrix, (4, 5), places)
    present = np.isin(np.arange(20), rows).reshape(4, 5, 1)
    model = product(factors)
    log = counts * np.log(np.where(counts > 0, counts, 1) / model)
    loss = em.Poisson()
    expected = np.sum(present * (log - counts + model))
    assert loss.misfit(data, factors) == pytest.approx(expected, rel=1e-12)
    slope = present * (1 - counts / model)
    for mode in range(3):
        others = [i for i in range(3) if i != mode]
        letters = ["az", "bz", "cz"]
        words = f"abc,{letters[others[0]]},{letters[others[1]]}->{letters[mode]}"
        gradient = np.einsum(words, slope, factors[others[0]], factors[others[1]])
        found = loss.subproblem(data, factors, mode).gradient(factors[mode])
        np.testing.assert_allclose(found, gradient, atol=1e-10 * np.abs(gradient).max())


def test_counts_of_a_series_are_fitted_by_their_likelihood():
    counts, factors = counted_series()
    model = em.CP(3, loss=em.Poisson(), random_state=0, n_starts=3).fit(counts)
    squares = em.CP(3, random_state=0, n_starts=3).fit(counts)
    assert model.converged_ and model.optimality_ < 1e-3
    assert (np.diff(model.objective_) <= 1e-9 * model.objective_[0]).all()
    assert angles(model, factors) < 10 and np.max(
        em.spectral_angle(
            model.components_[em.match_components(model.components_, factors[2].T)], factors[2].T
        )
    ) < np.max(
        em.spectral_angle(
            squares.components_[em.match_components(squares.components_, factors[2].T)],
            factors[2].T,
        )
    )


def test_a_series_goes_from_file_to_folder(tmp_path, capsys):
    from endmember.cli import main

    rng = np.random.default_rng(5)
    images, tilts, spectra = rng.random((4, 5, 2)), rng.random((6, 2)), rng.random((2, 30))
    series = hs.signals.Signal1D(np.einsum("tk,yxk,ke->tyxe", tilts, images, spectra))
    series.save(tmp_path / "tilts.hspy")
    words = ["unmix", str(tmp_path / "tilts.hspy"), "-k", "2", "--method", "cp"]
    assert main([*words, "-o", str(tmp_path / "answer")]) == 0
    result = em.open(tmp_path / "answer")
    assert angles(result.model, [tilts, images.reshape(20, 2), spectra.T]) < 0.01
    assert result.model.mode_shapes_ == [(6,), (4, 5)]
    figure = result.plot()
    assert sum(bool(axes.images) for axes in figure.axes) == 2
    assert "canonical polyadic" in (tmp_path / "answer" / "report.html").read_text()
    capsys.readouterr()
    assert main([*words, "--sparse", "1", "-o", str(tmp_path / "other")]) == 2
    assert "takes no --sparse" in capsys.readouterr().err


def test_starts_of_tucker_say_where_each_ended():
    model = em.Tucker(2, n_starts=3, random_state=0).fit(T)
    chosen = [start for start in model.starts_ if start.chosen]
    assert len(model.starts_) == 3 and len(chosen) == 1
    assert chosen[0].objective == min(start.objective for start in model.starts_)
    assert chosen[0].angle == pytest.approx(0.0, abs=1e-5)
