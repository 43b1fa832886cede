"""PCA against scikit-learn and against the identities of scaling."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.utils.estimator_checks import parametrize_with_checks

import endmember as em

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.random((150, 3)) @ RNG.random((3, 60)) * 20)
MASK = np.zeros(150, bool)
MASK[7] = True


@parametrize_with_checks([em.PCA(2)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def aligned(ours, theirs):
    return ours * np.sign(np.sum(ours * theirs, axis=1, keepdims=True))


def test_uncentred_is_the_truncated_svd():
    ours = em.PCA(4).fit(COUNTS)
    theirs = TruncatedSVD(4, algorithm="arpack").fit(COUNTS.astype(float))
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-10)
    np.testing.assert_allclose(
        aligned(ours.components_, theirs.components_), theirs.components_, atol=1e-8
    )
    np.testing.assert_allclose(ours.transform(COUNTS), ours.maps_, atol=1e-8 * ours.maps_.max())


def test_centred_is_principal_component_analysis():
    ours, theirs = em.PCA(4, centre=True).fit(COUNTS), PCA(4).fit(COUNTS)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-8)
    np.testing.assert_allclose(ours.mean_, theirs.mean_, rtol=1e-10)
    np.testing.assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-8
    )
    np.testing.assert_allclose(
        ours.inverse_transform(ours.maps_),
        theirs.inverse_transform(theirs.transform(COUNTS)),
        atol=1e-8,
    )


def test_scaled_for_counts_is_the_svd_of_the_scaled_matrix():
    X = COUNTS.astype(float)
    a, b, n = X.sum(axis=1), X.sum(axis=0), X.sum()
    r, c = np.sqrt(np.sqrt(n) / a), np.sqrt(np.sqrt(n) / b)
    U, s, Vt = np.linalg.svd(r[:, None] * X * c, full_matrices=False)
    model = em.PCA(3, scaling="poisson").fit(X)
    np.testing.assert_allclose(model.singular_values_, s[:3], rtol=1e-9)
    assert s[0] == pytest.approx(np.sqrt(n), rel=1e-12)
    back = (U[:, :3] * s[:3] / r[:, None]) @ (Vt[:3] / c)
    np.testing.assert_allclose(model.inverse_transform(model.maps_), back, atol=1e-8)
    np.testing.assert_allclose(
        model.transform(X), model.maps_, atol=1e-7 * np.abs(model.maps_).max()
    )


def test_many_channels_agree_with_an_exact_decomposition():
    X = RNG.poisson(RNG.random((700, 3)) @ RNG.random((3, 900)) * 5)
    exact = np.linalg.svd(X.astype(float), compute_uv=False)[:3]
    np.testing.assert_allclose(em.PCA(3, random_state=0).fit(X).singular_values_, exact, rtol=1e-9)


@pytest.mark.parametrize("scaling", [None, "poisson"])
@pytest.mark.parametrize("centre", [False, True])
def test_sparse_cube_and_mask_agree_with_the_matrix(scaling, centre):
    options = {"centre": centre, "scaling": scaling, "random_state": 0}
    plain = em.PCA(3, **options).fit(COUNTS, mask=MASK)
    cube = em.PCA(3, **options).fit(COUNTS.reshape(10, 15, 60), mask=MASK.reshape(10, 15))
    kept = em.PCA(3, **options).fit(sparse.csr_array(COUNTS), mask=MASK)
    np.testing.assert_allclose(cube.maps_.reshape(-1, 3), plain.maps_, atol=1e-8)
    np.testing.assert_allclose(kept.components_, plain.components_, atol=1e-8)
    assert np.isnan(plain.maps_[7]).all() and np.isfinite(np.delete(plain.maps_, 7, axis=0)).all()


def test_compressed_counts_carry_their_weights():
    low = em.compress(COUNTS, 10, scaling="poisson")
    direct = em.NMF(3, loss=em.PoissonScaled(), random_state=0, tol=1e-9, max_iter=9000).fit(COUNTS)
    fast = em.NMF(3, random_state=0, tol=1e-9, max_iter=9000).fit(low)
    order = em.match_components(fast.components_, direct.components_)
    assert em.spectral_angle(fast.components_[order], direct.components_).max() < 4
    with pytest.raises(ValueError, match="allowed: None"):
        em.compress(COUNTS, 10, scaling="anscombe")
    with pytest.raises(ValueError, match="allowed: None"):
        em.PCA(2, scaling="log").fit(COUNTS)
