"""NMF as a user meets it: every kind of input, every wrong one, and scikit-learn's and HyperSpy's own contracts."""

import warnings

import dask.array as da
import hyperspy
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import endmember as em

PHANTOM = em.synthetic.mixed_phases(shape=(14, 11), channels=90, k=3, dose=400, seed=3)
COUNTS = PHANTOM.data
FITTED = em.NMF(3, random_state=0).fit(COUNTS)


def angles(model):
    order = em.match_components(model.components_, PHANTOM.spectra)
    return em.spectral_angle(model.components_[order], PHANTOM.spectra)


def test_the_phantom_is_recovered():
    assert angles(FITTED).max() < 6
    order = em.match_components(FITTED.components_, PHANTOM.spectra)
    areas = FITTED.components_.sum(axis=1)[order]
    maps = FITTED.maps_[..., order] * areas
    true = PHANTOM.maps * PHANTOM.spectra.sum(axis=1)
    assert np.corrcoef(maps.ravel(), true.ravel())[0, 1] > 0.98


def test_shapes_order_and_product():
    assert FITTED.maps_.shape == (14, 11, 3) and FITTED.components_.shape == (3, 90)
    model = FITTED.inverse_transform(FITTED.maps_)
    assert model.shape == COUNTS.shape
    assert 0.5 * np.sum((COUNTS - model) ** 2) == pytest.approx(FITTED.objective_[-1], rel=1e-9)
    assert len(FITTED.objective_) == FITTED.n_iter_ and FITTED.converged_
    assert (np.diff(FITTED.objective_) <= 1e-12 * FITTED.objective_[0]).all()


@pytest.mark.parametrize(
    "same",
    [
        COUNTS.astype(float),
        COUNTS.astype(np.int32),
        np.asfortranarray(COUNTS),
        da.from_array(COUNTS, chunks=(5, 4, 30)),
        PHANTOM.signal,
    ],
    ids=["float64", "int32", "fortran", "dask", "signal"],
)
def test_every_kind_of_input_gives_the_same_answer(same):
    model = em.NMF(3, random_state=0).fit(same)
    np.testing.assert_allclose(model.components_, FITTED.components_, atol=1e-6)
    np.testing.assert_allclose(model.maps_, FITTED.maps_, rtol=1e-5, atol=1e-3)


def test_matrix_sparse_and_lazy_signal_agree_with_the_cube():
    flat = COUNTS.reshape(-1, 90)
    lazy = PHANTOM.signal.as_lazy()
    for X, domain in ((flat, (14, 11)), (sparse.csr_matrix(flat), (14, 11)), (lazy, None)):
        model = em.NMF(3, random_state=0).fit(X, domain=domain)
        assert model.maps_.shape == (14, 11, 3)
        np.testing.assert_allclose(model.components_, FITTED.components_, atol=1e-6)
    assert em.NMF(3, random_state=0).fit_transform(flat).shape == (154, 3)


def test_lazy_data_are_never_loaded_as_a_whole():
    def refuse(block):
        assert block.shape[0] <= 5, "more than a chunk was asked for"
        return block

    lazy = da.from_array(COUNTS, chunks=(5, 11, 90)).map_blocks(refuse, dtype=COUNTS.dtype)
    model = em.NMF(3, random_state=0).fit(lazy)
    np.testing.assert_allclose(model.components_, FITTED.components_, atol=1e-6)


def test_float32_stays_float32_and_agrees():
    model = em.NMF(3, random_state=0).fit(COUNTS.astype(np.float32))
    assert model.components_.dtype == model.maps_.dtype == np.float32
    np.testing.assert_allclose(model.components_, FITTED.components_, atol=1e-5)


def test_compression_changes_nothing_that_matters():
    options = {"random_state": 0, "tol": 1e-9, "max_iter": 20000}
    direct = em.NMF(3, compress=False, **options).fit(COUNTS)
    sketched = em.NMF(3, compress=True, **options).fit(COUNTS)
    assert max(direct.optimality_, sketched.optimality_) < 1e-5
    assert sketched.objective_[-1] == pytest.approx(direct.objective_[-1], rel=1e-5)
    assert em.spectral_angle(sketched.components_, direct.components_[
        em.match_components(direct.components_, sketched.components_)
    ]).max() < 0.5  # fmt: skip


def test_solvers_agree_at_convergence():
    options = {"random_state": 0, "tol": 1e-10, "max_iter": 50000, "init": "pure_pixels"}
    anls, hals = (em.NMF(3, solver=s, **options).fit(COUNTS) for s in (em.ANLS(), em.HALS()))
    assert hals.objective_[-1] == pytest.approx(anls.objective_[-1], rel=1e-6)
    assert em.spectral_angle(hals.components_, anls.components_).max() < 0.1


def test_scale_of_the_data_plays_no_part():
    for scale in (1e-8, 1e8):
        model = em.NMF(3, random_state=0).fit(COUNTS * scale)
        assert abs(model.n_iter_ - FITTED.n_iter_) <= 1
        np.testing.assert_allclose(model.components_, FITTED.components_, atol=1e-4)
        np.testing.assert_allclose(
            model.maps_ / scale, FITTED.maps_, atol=1e-3 * FITTED.maps_.max()
        )


def test_the_seed_fixes_every_bit_and_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    again = em.NMF(3, random_state=0).fit(COUNTS)
    np.testing.assert_array_equal(again.components_, FITTED.components_)
    np.testing.assert_array_equal(again.maps_, FITTED.maps_)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_masked_pixels_and_channels_have_no_say():
    spoilt = COUNTS.astype(float)
    mask, channel_mask = np.zeros((14, 11), bool), np.zeros(90, bool)
    mask[0, 3], mask[9, 1], channel_mask[7] = True, True, True
    spoilt[mask] = 1e9
    spoilt[..., 7] = np.nan
    clean = em.NMF(3, random_state=0).fit(COUNTS, mask=mask, channel_mask=channel_mask)
    model = em.NMF(3, random_state=0).fit(spoilt, mask=mask, channel_mask=channel_mask)
    np.testing.assert_array_equal(np.isnan(model.maps_[..., 0]), mask)
    np.testing.assert_array_equal(np.isnan(model.components_[0]), channel_mask)
    np.testing.assert_allclose(model.components_, clean.components_, atol=1e-12)
    np.testing.assert_allclose(
        model.transform(spoilt, mask=mask),
        model.maps_,
        rtol=1e-6,
        atol=1e-6 * np.nanmax(model.maps_),
    )


def test_masks_may_be_signals():
    mask = PHANTOM.signal.sum(-1) * 0
    mask.data = np.zeros((14, 11), bool)
    mask.data[2, 9] = True
    model = em.NMF(2, random_state=0).fit(PHANTOM.signal, mask=mask)
    assert np.argwhere(np.isnan(model.maps_[..., 0])).tolist() == [[2, 9]]


def test_missing_entries_are_filled_by_the_model():
    rng = np.random.default_rng(0)
    exact = rng.dirichlet(np.ones(2) * 0.3, 80) @ rng.random((2, 40))
    holes = rng.random(exact.shape) < 0.3
    model = em.NMF(2, random_state=0, tol=1e-10, max_iter=20000).fit(
        np.where(holes, np.nan, exact), weights=np.ones_like(exact)
    )
    np.testing.assert_allclose(model.inverse_transform(model.maps_)[holes], exact[holes], atol=2e-3)
    by_zero = em.NMF(2, random_state=0).fit(np.where(holes, 7.0, exact), weights=~holes * 1.0)
    assert by_zero.objective_[-1] < 1e-3 * np.sum(exact**2)


def test_weights_of_one_are_no_weights():
    weighted = em.NMF(3, random_state=0, compress=False).fit(COUNTS, weights=np.ones(COUNTS.shape))
    plain = em.NMF(3, random_state=0, compress=False).fit(COUNTS)
    np.testing.assert_allclose(weighted.components_, plain.components_, atol=1e-5)


def test_empty_pixels_and_channels_come_back_as_zeros():
    cube = COUNTS.copy()
    cube[3, 4], cube[..., 50:55] = 0, 0
    model = em.NMF(3, random_state=0).fit(cube)
    assert (model.maps_[3, 4] == 0).all() and (model.components_[:, 50:55] == 0).all()
    assert np.isfinite(model.maps_).all() and np.isfinite(model.components_).all()


def test_transform_finds_the_maps_of_other_pixels():
    half = em.NMF(3, random_state=0).fit(COUNTS[:7])
    maps = half.transform(COUNTS)
    np.testing.assert_allclose(maps[:7], half.maps_, rtol=1e-6, atol=1e-6 * maps.max())
    gradient = (COUNTS - maps @ half.components_) @ half.components_.T
    assert gradient[maps == 0].max(initial=0) <= 1e-8 * np.abs(gradient).max() + 1e-6


@pytest.mark.parametrize(
    ("normalise", "norm"),
    [
        (("spectra", "l1"), lambda m: np.abs(m.components_).sum(axis=1)),
        (("spectra", "l2"), lambda m: np.linalg.norm(m.components_, axis=1)),
        (("spectra", "max"), lambda m: m.components_.max(axis=1)),
        (("spectra", ("area", (20, 60))), lambda m: m.components_[:, 20:60].sum(axis=1)),
        (("maps", "l2"), lambda m: np.linalg.norm(m.maps_.reshape(-1, 3), axis=0)),
        (("maps", "max"), lambda m: m.maps_.reshape(-1, 3).max(axis=0)),
        (("maps", 0.5), lambda m: np.sqrt(m.maps_.reshape(-1, 3)).sum(axis=0) ** 2),
        (("spectra", 3), lambda m: (m.components_**3).sum(axis=1)),
        (("spectra", np.inf), lambda m: m.components_.max(axis=1)),
    ],
)
def test_normalisation_moves_the_scale_and_keeps_the_product(normalise, norm):
    model = em.NMF(3, random_state=0, normalise=normalise).fit(COUNTS)
    np.testing.assert_allclose(norm(model), 1.0, rtol=1e-12)
    np.testing.assert_allclose(
        model.inverse_transform(model.maps_),
        FITTED.inverse_transform(FITTED.maps_),
        rtol=1e-10,
        atol=1e-12,
    )


def test_the_norm_of_p_zero_divides_by_the_number_of_entries_that_are_not_zero():
    left, counted = (
        em.NMF(3, random_state=0, normalise=normalise).fit(COUNTS)
        for normalise in (None, ("maps", 0))
    )
    number = np.count_nonzero(left.maps_.reshape(-1, 3), axis=0)
    np.testing.assert_allclose(counted.maps_, left.maps_ / number, rtol=1e-12)
    np.testing.assert_allclose(counted.components_.T, left.components_.T * number, rtol=1e-12)


def test_area_is_taken_in_the_unit_of_a_signals_axis():
    axis = PHANTOM.signal.axes_manager.signal_axes[0]
    window = (float(axis.axis[20]), float(axis.axis[60]))
    model = em.NMF(3, random_state=0, normalise=("spectra", ("area", window))).fit(PHANTOM.signal)
    np.testing.assert_allclose(model.components_[:, 20:60].sum(axis=1) * axis.scale, 1.0, rtol=1e-9)


def test_own_start_is_where_it_starts():
    start = (FITTED.maps_, FITTED.components_)
    model = em.NMF(3, init=start).fit(COUNTS)
    assert model.objective_[0] <= FITTED.objective_[-1] * (1 + 1e-9)
    assert model.starts_ == []


def test_starts_tell_what_each_one_cost():
    assert [start.init for start in FITTED.starts_[:3]] == [
        "nndsvd",
        "pure_pixels",
        "random_pixels",
    ]
    chosen = [start for start in FITTED.starts_ if start.chosen]
    assert len(chosen) == 1 and chosen[0].angle < 1e-6
    assert chosen[0].objective == min(start.objective for start in FITTED.starts_)


def test_stopping_keeps_what_there_is():
    model = em.NMF(3, random_state=0).fit(COUNTS, callback=lambda progress: progress.sweep >= 5)
    assert not model.converged_ and model.components_.shape == (3, 90)
    assert np.isfinite(model.optimality_)


def test_free_spectra_may_be_negative():
    rng = np.random.default_rng(0)
    X = rng.random((60, 2)) @ rng.normal(size=(2, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # they can follow negative data
        model = em.NMF(2, spectra=em.Free(), random_state=0, tol=1e-9).fit(X)
    assert model.components_.min() < 0 <= model.maps_.min()
    np.testing.assert_allclose(model.inverse_transform(model.maps_), X, atol=1e-3)


def test_parameters_are_kept_as_given():
    solver = em.HALS(inner=3)
    model = em.NMF(4, solver=solver, n_starts=3)
    copy = clone(model)
    assert model.solver is solver and copy.get_params()["solver__inner"] == 3
    assert repr(em.NMF(4, solver=em.HALS())) == "NMF(n_components=4, solver=HALS())"


def test_not_converging_is_said():
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        em.NMF(3, random_state=0, max_iter=12, tol=1e-15).fit(COUNTS)


def test_one_component_and_one_pixel_row():
    model = em.NMF(1, random_state=0).fit(COUNTS)
    u, s, v = np.linalg.svd(COUNTS.reshape(-1, 90).astype(float), full_matrices=False)
    assert em.spectral_angle(model.components_[0], np.abs(v[0])) < 0.05
    assert em.NMF(1).fit(np.ones((1, 5))).maps_.shape == (1, 1)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (em.NMF(), "em.assess.rank"),
        (em.NMF(0), "n_components=0"),
        (em.NMF(-2), "at least 1"),
        (em.NMF(2.5), "not a whole number"),
        (em.NMF("3"), "not a whole number"),
        (em.NMF(True), "not a whole number"),
        (
            em.NMF(91),
            "n_samples = 154 pixels and n_features = 85 channels are neither masked nor empty",
        ),
        (em.NMF(2, init="best"), "init='best' is not known; allowed: multistart, random"),
        (em.NMF(2, init=(1, 2)), r"\(14, 11, 2\) and \(2, 90\)"),
        (em.NMF(2, n_starts=0), "n_starts=0"),
        (em.NMF(2, max_iter=0), "max_iter=0"),
        (em.NMF(2, tol=-1), "tol=-1"),
        (em.NMF(2, solver="hals"), "is not a solver"),
        (em.NMF(2, loss="kl"), "is not a loss"),
        (em.NMF(2, maps="sparse"), "is not a penalty"),
        (em.NMF(2, normalise="l2"), "allowed: None or"),
        (em.NMF(2, normalise=("maps", -1)), "allowed: None or"),
        (em.NMF(2, normalise=("maps", ("area", (2, 5)))), "for spectra alone"),
        (em.NMF(2, normalise=("spectra", ("area", (5, 2)))), "allowed: None or"),
        (em.NMF(2, normalise=("spectra", ("area", (900, 990)))), "no channel lies in the window"),
        (em.NMF(2, compress="yes"), "compress='yes'"),
    ],
)
def test_wrong_parameters_are_refused_with_what_is_allowed(model, words):
    with pytest.raises((ValueError, TypeError), match=words):
        model.fit(COUNTS)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros((4, 5, 6)), "all values are zero"),
        (np.ones(7), r"1D array\. Reshape your data: one spectrum to \(1, channels\)"),
        (np.float64(7), "0D array"),
        ([1.0, 2.0], "1D array"),
        (None, "X is None"),
        (np.ones((4, 4, 0)), "no entry along axis 2"),
        (np.ones((0, 4, 5)), "no entry along axis 0"),
        (np.ones((3, 4), complex), "[Cc]omplex"),
    ],
)
def test_wrong_data_are_refused_with_a_reason(X, words):
    with pytest.raises((ValueError, TypeError), match=words):
        em.NMF(2).fit(X)


def test_a_signal_of_images_is_refused():
    import hyperspy.api as hs

    with pytest.raises(ValueError, match="2 signal axes"):
        em.NMF(2).fit(hs.signals.Signal2D(np.ones((4, 5, 6))))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="90 features"):
        FITTED.transform(COUNTS[..., :80])


OLD = tuple(map(int, hyperspy.__version__.split(".")[:2])) < (2, 5)
LAZY = pytest.param(True, marks=pytest.mark.skipif(OLD, reason="HyperSpy does so from 2.5 on"))


@pytest.mark.parametrize("lazy", [False, LAZY])
def test_hyperspy_decomposes_with_it(lazy):
    signal = PHANTOM.signal.deepcopy()
    signal.change_dtype("float64")
    signal = signal.as_lazy() if lazy else signal
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.decomposition(algorithm=em.NMF(3, random_state=0), print_info=False)
    factors = signal.learning_results.factors.T
    order = em.match_components(factors, FITTED.components_)
    np.testing.assert_allclose(em.spectral_angle(factors[order], FITTED.components_), 0, atol=0.5)
    model = signal.get_decomposition_model().data
    np.testing.assert_allclose(np.asarray(model).sum(), COUNTS.sum(), rtol=1e-2)


def test_hyperspy_decomposes_with_its_own_mask():
    signal = PHANTOM.signal.deepcopy()
    signal.change_dtype("float64")
    mask = np.zeros(signal.axes_manager.navigation_shape, bool)
    mask[:, 0] = True
    signal.decomposition(
        algorithm=em.NMF(3, random_state=0), navigation_mask=mask, print_info=False
    )
    assert np.isnan(signal.learning_results.loadings).any(axis=1).sum() == mask.sum()


@pytest.mark.parametrize("init", ["nndsvd", "pure_pixels", "multistart"])
def test_closure_has_no_scale_either(init):
    options = {"maps": em.SumToOne(), "init": init, "random_state": 0, "max_iter": 300}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = em.NMF(3, **options).fit(COUNTS)
        for scale in (1e-9, 1e7):
            scaled = em.NMF(3, **options).fit(COUNTS * scale)
            np.testing.assert_allclose(scaled.maps_, plain.maps_, atol=1e-4)
    np.testing.assert_allclose(plain.maps_.sum(axis=-1), 1.0, rtol=1e-12)


@pytest.mark.filterwarnings(
    "ignore:nothing is left:sklearn.exceptions.ConvergenceWarning"
)  # of weight 0.9
def test_a_grid_search_needs_nothing_more():
    from sklearn.model_selection import GridSearchCV

    pixels = COUNTS.reshape(-1, COUNTS.shape[-1]).astype(float)
    model = em.NMF(3, maps=em.Sparse(0.1), n_starts=1, random_state=0)
    found = GridSearchCV(model, {"maps__weight": [0.0, 0.9]}, cv=2).fit(pixels)
    assert found.best_params_ == {"maps__weight": 0.0}
    rest = pixels - FITTED.inverse_transform(FITTED.transform(pixels))
    assert FITTED.score(COUNTS) == pytest.approx(1 - (rest**2).sum() / (pixels**2).sum(), rel=1e-9)
    assert em.PCA(3).fit(pixels).score(pixels) > FITTED.score(pixels) - 1e-6
    masked = em.NMF(3, random_state=0).fit(pixels, channel_mask=np.arange(pixels.shape[1]) < 5)
    assert masked.score(pixels) == pytest.approx(
        1
        - np.sum((pixels[:, 5:] - masked.maps_ @ masked.components_[:, 5:]) ** 2)
        / np.sum(pixels[:, 5:] ** 2),
        rel=1e-6,
    )
