"""PCA, ICA, PLS and CCA against scikit-learn, known sources and their identities."""

import hyperspy.api as hs
import numpy as np
import pytest
from scipy import sparse
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA, TruncatedSVD

import endmember as em

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.random((150, 3)) @ RNG.random((3, 60)) * 20)
MASK = np.zeros(150, bool)
MASK[7] = True


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
    np.testing.assert_allclose(ours.mean_spectrum_, theirs.mean_, rtol=1e-10)
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


def amari(P):
    """Return how far a matrix is from a scaled permutation: 0 is one, 1 the farthest."""
    P, k = np.abs(P), len(P)
    rows = (P / P.max(axis=1, keepdims=True)).sum() - k
    columns = (P / P.max(axis=0)).sum() - k
    return (rows + columns) / (2 * k * (k - 1))


def test_amari_index_is_zero_for_permutations_and_one_for_even_mixtures():
    assert amari(np.array([[0.0, -3.0], [2.0, 0.0]])) == 0
    assert amari(np.ones((2, 2))) == 1


@pytest.mark.parametrize("seed", range(5))
def test_two_uniform_maps_are_separated(seed):
    rng = np.random.default_rng(seed)
    maps, spectra = rng.random((3000, 2)), rng.random((2, 40))
    model = em.ICA(2, random_state=seed).fit(maps @ spectra + rng.normal(0, 1e-3, (3000, 40)))
    assert amari(model.components_ @ np.linalg.pinv(spectra)) < 0.05
    pca = em.PCA(2).fit(maps @ spectra)
    assert amari(pca.components_ @ np.linalg.pinv(spectra)) > 0.2


@pytest.mark.parametrize("independent", ["spectra", "derivatives"])
def test_independent_spectra_are_separated(independent):
    rng = np.random.default_rng(0)
    spectra = rng.random((2, 3000))
    if independent == "derivatives":
        spectra = np.cumsum(spectra - 0.5, axis=1)
    maps = rng.random((50, 2)) @ np.array([[1.0, 0.6], [0.5, 1.0]])
    model = em.ICA(2, independent=independent, random_state=0).fit(maps @ spectra)
    assert amari(np.linalg.pinv(maps) @ model.maps_) < 0.05


@pytest.mark.filterwarnings("ignore:.*nearly Gaussian:UserWarning")  # a component of noise
@pytest.mark.parametrize("scaling", [None, "poisson"])
@pytest.mark.parametrize("independent", ["maps", "spectra", "derivatives"])
def test_independent_components_span_the_principal_ones(scaling, independent):
    mask = MASK.reshape(10, 15)
    options = {"scaling": scaling, "random_state": 0}
    pca = em.PCA(3, **options).fit(COUNTS.reshape(10, 15, 60), mask=mask)
    ica = em.ICA(3, independent=independent, **options).fit(COUNTS.reshape(10, 15, 60), mask=mask)
    model = ica.inverse_transform(ica.maps_)
    np.testing.assert_allclose(model, pca.inverse_transform(pca.maps_), atol=1e-6)
    again = ica.transform(COUNTS.reshape(10, 15, 60), mask=mask)
    np.testing.assert_allclose(again, ica.maps_, atol=1e-6 * np.nanmax(np.abs(ica.maps_)))
    assert np.isnan(ica.maps_[0, 7]).all()


def test_gaussian_sources_are_named_as_what_they_are():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 2)) @ rng.random((2, 30))
    with pytest.warns(UserWarning, match="2 of 2 components are nearly Gaussian"):
        em.ICA(2, random_state=0).fit(X)


def test_all_components_of_pls_are_least_squares():
    X, Y = RNG.random((80, 12)), RNG.random((80, 5))
    X[:, 9:] = X[:, :3] @ RNG.random((3, 3))  # rank 9
    model = em.PLS(9).fit(X, Y)
    A, B = X - X.mean(axis=0), Y - Y.mean(axis=0)
    expected = A @ np.linalg.lstsq(A, B, rcond=None)[0] + Y.mean(axis=0)
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-10)
    few = np.linalg.norm(em.PLS(3).fit(X, Y).predict(X) - Y)
    assert few > np.linalg.norm(expected - Y)


def test_canonical_correlations_are_those_of_scikit_learn():
    X = RNG.random((200, 6))
    Y = X[:, :4] @ RNG.random((4, 5)) + 0.3 * RNG.random((200, 5))
    ours, theirs = em.CCA(3).fit(X, Y), CCA(3, max_iter=10000, tol=1e-14).fit(X, Y)
    T, V = theirs.transform(X, Y)
    expected = [np.corrcoef(T[:, j], V[:, j])[0, 1] for j in range(3)]
    np.testing.assert_allclose(ours.correlations_, expected, atol=1e-6)
    np.testing.assert_allclose(ours.transform(X), ours.maps_, atol=1e-10)


def test_an_invertible_mixture_correlates_wholly_and_noise_not_at_all():
    X = RNG.random((300, 7))
    model = em.CCA(7).fit(X, X @ RNG.normal(size=(7, 7)) + 5.0)
    np.testing.assert_allclose(model.correlations_, 1, atol=1e-10)
    assert model.p_values_.max() < 1e-6
    assert em.CCA(1).fit(X, RNG.random((300, 7))).p_values_[0] > 0.01


@pytest.mark.parametrize("model", [em.PLS(2), em.CCA(2)])
def test_two_signals_of_one_area_give_maps_of_the_area(model):
    first, second = COUNTS.reshape(10, 15, 60), COUNTS[:, ::-3].reshape(10, 15, 20) * 2.0
    mask = MASK.reshape(10, 15)
    cube = model.fit(first, second, mask=mask)
    maps, other, predicted = cube.maps_.copy(), cube.maps_y_, cube.predict(first)
    assert np.isnan(maps[0, 7]).all() and np.isnan(other[0, 7]).all()
    kept = model.fit(sparse.csr_array(COUNTS[~MASK]), COUNTS[~MASK, ::-3] * 2.0)
    np.testing.assert_allclose(kept.maps_, maps.reshape(-1, 2)[~MASK], atol=1e-7)
    np.testing.assert_allclose(predicted.reshape(-1, 20), kept.predict(COUNTS), atol=1e-7)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (em.ICA(2, independent="pixels"), (COUNTS,), 'allowed: "maps", "spectra"'),
        (em.PLS(2), (COUNTS,), "requires y"),
        (em.CCA(2), (COUNTS, COUNTS[:100]), "must show the same pixels"),
        (em.CCA(9, principal=4), (COUNTS, COUNTS), "n_components=9 is more than the signals share"),
    ],
)
def test_what_cannot_be_projected_is_refused(model, data, words):
    with pytest.raises(ValueError, match=words):
        model.fit(*data)


@pytest.mark.parametrize("independent", ["maps", "spectra", "derivatives"])
def test_the_unit_of_the_data_turns_no_independent_component(independent):
    phantom = em.synthetic.mixed_phases((14, 12), channels=48, k=3, dose=200, seed=1)
    cube = phantom.signal.data.astype(float)
    model = em.ICA(3, independent=independent, random_state=0)
    expected = model.fit(cube).components_
    for scale in (1e-9, 1e-3, 1e7):
        found = model.fit(scale * cube).components_
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("independent", ["maps", "spectra", "derivatives"])
def test_components_that_do_not_vary_are_refused(independent):
    with pytest.raises(ValueError, match="vary in their own way; ask for fewer"):
        em.ICA(2, independent=independent).fit(np.ones((20, 6)))


def test_the_second_signal_is_taken_by_transform_and_not_needed():
    X = np.random.default_rng(0).random((40, 3))
    fitted = em.CCA(2).fit(X, X**2)
    np.testing.assert_array_equal(fitted.transform(X, X**2), fitted.transform(X))


@pytest.mark.parametrize("centre", [False, True])
def test_hyperspy_makes_its_model_of_them_and_keeps_its_data(centre):
    X = np.random.default_rng(0).poisson(20.0, (6, 5, 12)).astype(float)
    signal, pca = hs.signals.Signal1D(X.copy()), em.PCA(3, centre=centre)
    signal.decomposition(algorithm=pca, output_dimension=3, print_info=False)
    model = signal.get_decomposition_model().data + pca.mean_spectrum_
    expected = pca.inverse_transform(pca.maps_).reshape(X.shape)
    np.testing.assert_allclose(model, expected, rtol=1e-9)
    np.testing.assert_array_equal(signal.data, X)


@pytest.mark.filterwarnings("ignore:.*nearly Gaussian:UserWarning")  # noise
@pytest.mark.parametrize("model", [em.PCA(2), em.ICA(2, random_state=0), em.PLS(2), em.CCA(1)])
def test_weights_of_entries_are_refused_by_what_projects_whole_spectra(model):
    second = {"y": COUNTS[:, :9]} if isinstance(model, em.PLS | em.CCA) else {}
    with pytest.raises(ValueError, match="takes no weights"):
        model.fit(COUNTS, weights=np.ones(COUNTS.shape), **second)
    with pytest.raises(ValueError, match="takes no weights"):
        model.fit(COUNTS, **second).transform(COUNTS, weights=np.ones(COUNTS.shape))
