"""Fusion: identities of equations (14) and (15), optimality, scales, refusals."""

import warnings

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning

import endmember as em


@pytest.fixture(scope="module")
def pair():
    """Two detectors over 60 tilts, with a little noise."""
    rng = np.random.default_rng(0)
    weights = rng.random((60, 2)) + 0.1
    first = weights @ rng.random((2, 40)) + 0.02 * rng.standard_normal((60, 40))
    second = weights @ rng.random((2, 30)) + 0.02 * rng.standard_normal((60, 30))
    return first, second


def equation_14(first, second, penalty, lam=1.0, **options):
    """Fit equation (14); return the fit and its factors C, N, S1, S2."""
    C, N = em.Factor(2, name="C"), em.Factor(2, penalties=[em.Free(), penalty], name="N")
    S1, S2 = em.Factor(2, name="S1"), em.Factor(2, name="S2")
    terms = [em.Term(first, C + N, S1, weight=1), em.Term(second, C, S2, weight=lam)]
    return em.Fusion(terms, **{"random_state": 0, "tol": 1e-8, **options}).fit(), (C, N, S1, S2)


def test_strict_coupling_is_nmf_of_the_stacked_data(pair):
    first, second = pair
    stacked = np.hstack([first, np.sqrt(2.0) * second])
    with pytest.warns(UserWarning, match="negative"):
        nmf = em.NMF(2, random_state=0, tol=1e-8).fit(stacked)
    fit, (_, N, _, _) = equation_14(first, second, em.Norm(1.0), lam=2.0)
    assert not fit[N].any()
    assert fit.objective_[-1] == pytest.approx(nmf.objective_[-1], rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*negative")
def test_no_coupling_is_two_independent_factorisations(pair):
    alone = [em.NMF(2, random_state=0, tol=1e-9).fit(X).objective_[-1] for X in pair]
    fit, _ = equation_14(*pair, em.Ridge(0.0), tol=1e-9)
    assert fit.objective_[-1] == pytest.approx(sum(alone), rel=1e-5)


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("penalty", [em.Norm(0.001), em.Ridge(0.05)], ids=repr)
def test_equation_14_is_solved(pair, penalty):
    fit, (C, N, S1, S2) = equation_14(*pair, penalty, tol=1e-7, n_starts=2)
    assert np.diff(fit.objective_[30:]).max() <= 1e-12 * fit.objective_[-1]
    assert fit.optimality_ < 1e-4
    assert np.linalg.norm(fit[N]) > 0.01
    assert min(fit[F].min() for F in (C, S1, S2)) >= 0
    assert (fit[C] + fit[N]).min() >= 0
    np.testing.assert_allclose(np.linalg.norm(fit[S1], axis=0), 1.0, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:not converged")
def test_optimality_of_the_unsquared_norm_by_hand(pair):
    """At the minimum the slope of the misfit in N is minus that of the norm, where C + N > 0."""
    fit, (C, N, S1, _) = equation_14(*pair, em.Norm(0.001), tol=1e-11, max_iter=500, n_starts=1)
    gamma = (fit.objective_[-1] - sum(fit.misfits_)) / np.linalg.norm(fit[N])
    slope = ((fit[C] + fit[N]) @ fit[S1].T - pair[0]) @ fit[S1]
    inside = fit[C] + fit[N] > 1e-9
    expected = -gamma * fit[N] / np.linalg.norm(fit[N])
    np.testing.assert_allclose(slope[inside], expected[inside], atol=0.01 * gamma)


def test_equation_15_is_equation_14_transposed(pair):
    """The sum among the spectra, of the transposed data, gives the same number from the same start."""
    first, second = pair[0][:, :30], pair[1]
    rng = np.random.default_rng(1)
    starts = [rng.random((60, 2)), 0.1 * rng.random((60, 2)), rng.random((30, 2))]
    values = []
    for turned in (False, True):
        C, N, S = em.Factor(2), em.Factor(2, penalties=[em.Free(), em.Ridge(0.1)]), em.Factor(2)
        data = (first.T, second.T) if turned else (first, second)
        modes = [(S, C + N), (S, C)] if turned else [(C + N, S), (C, S)]
        terms = [em.Term(X, *factors, weight=1) for X, factors in zip(data, modes, strict=True)]
        init = dict(zip((C, N, S), starts, strict=True))
        values.append(em.Fusion(terms, init=init, tol=1e-10).fit().objective_[-1])
    assert values[0] == pytest.approx(values[1], rel=1e-7)


@pytest.mark.filterwarnings("ignore:not converged")
def test_scaling_the_data_scales_the_answer_alone(pair):
    plain, (C, N, S1, _) = equation_14(*pair, em.Norm(0.001), max_iter=80, n_starts=2)
    larger = pair[0] * 1e6, pair[1] * 1e6
    scaled, (D, M, R1, _) = equation_14(*larger, em.Norm(0.001), max_iter=80, n_starts=2)
    np.testing.assert_allclose(scaled[D], 1e6 * plain[C], rtol=1e-6, atol=1e-2)
    np.testing.assert_allclose(scaled[M], 1e6 * plain[N], rtol=1e-6, atol=1e-2)
    np.testing.assert_allclose(scaled[R1], plain[S1], rtol=1e-6, atol=1e-8)


def test_one_term_is_nmf():
    phantom = em.synthetic.diode(shape=(12, 12), channels=40)
    C, S = em.Factor(3), em.Factor(3)
    fit = em.Fusion([em.Term(phantom.data, C, S, weight=1)], random_state=0, tol=1e-8).fit()
    nmf = em.NMF(3, random_state=0, tol=1e-8).fit(phantom.data)
    assert fit[C].shape == (12, 12, 3)
    assert fit.objective_[-1] == pytest.approx(nmf.objective_[-1], rel=1e-4)


def test_a_series_is_cp():
    rng = np.random.default_rng(2)
    series = np.einsum("ak,bk,ck->abc", *(rng.random((n, 2)) for n in (6, 7, 8)))
    A, B, S = (em.Factor(2) for _ in range(3))
    fit = em.Fusion([em.Term(series, A, B, S, weight=1)], random_state=0, tol=1e-10).fit()
    model = np.einsum("ak,bk,ck->abc", fit[A], fit[B], fit[S])
    np.testing.assert_allclose(model, series, atol=1e-3)


def test_known_matrix_between_two_grids():
    """Fine maps are found where the second detector sees them blurred to half as many pixels."""
    rng = np.random.default_rng(3)
    maps, first, second = rng.random((40, 2)), rng.random((2, 30)), rng.random((2, 20))
    coarse = np.kron(np.eye(20), [[0.5, 0.5]])
    C, S1, S2 = em.Factor(2), em.Factor(2), em.Factor(2)
    terms = [
        em.Term(maps @ first, C, S1, weight=1),
        em.Term(coarse @ maps @ second, coarse @ C, S2, weight=1),
    ]
    fit = em.Fusion(terms, random_state=0, tol=1e-10, max_iter=3000).fit()
    assert np.diff(fit.objective_[30:]).max() <= 1e-12 * terms[0].data.squared_norm
    np.testing.assert_allclose(coarse @ fit[C] @ fit[S2].T, coarse @ maps @ second, atol=1e-2)


def test_fixed_entries_stay_and_make_private_components():
    rng = np.random.default_rng(4)
    maps, first, second = rng.random((50, 3)), rng.random((3, 20)), rng.random((3, 10))
    second[2] = 0
    known = np.full((10, 3), np.nan)
    known[:, 2] = 0
    C, S1, S2 = em.Factor(3), em.Factor(3, fixed=first), em.Factor(3, fixed=known)
    terms = [em.Term(maps @ first, C, S1, weight=1), em.Term(maps @ second, C, S2, weight=1)]
    fit = em.Fusion(terms, random_state=0, tol=1e-10).fit()
    np.testing.assert_array_equal(fit[S1], first.T)
    np.testing.assert_array_equal(fit[S2][:, 2], 0)
    np.testing.assert_allclose(fit[C], maps, atol=1e-3)
    np.testing.assert_allclose(fit[S2], second.T, atol=1e-3)


def test_masked_pixels_of_one_detector_come_from_the_other():
    rng = np.random.default_rng(5)
    maps, first, second = rng.random((6, 7, 2)), rng.random((2, 30)), rng.random((2, 20))
    spoiled, mask = maps @ first, np.zeros((6, 7), bool)
    mask[2:4, 3] = True
    spoiled[mask] = np.nan
    C, S1, S2 = em.Factor(2), em.Factor(2), em.Factor(2)
    terms = [
        em.Term(spoiled, C, S1, weight=1, mask=mask),
        em.Term(maps @ second, C, S2, weight=1),
    ]
    fit = em.Fusion(terms, random_state=0, tol=1e-11, max_iter=4000).fit()
    np.testing.assert_allclose(fit[C] @ fit[S1].T, maps @ first, atol=1e-2)


def test_an_image_is_data_of_one_channel():
    rng = np.random.default_rng(6)
    maps, spectra = rng.random((8, 8, 2)), rng.random((2, 30))
    image = maps @ [1.0, 3.0]
    C, S, heavy = em.Factor(2), em.Factor(2), em.Factor(2)
    terms = [em.Term(maps @ spectra, C, S, weight=1), em.Term(image[..., None], C, heavy, weight=1)]
    fit = em.Fusion(terms, random_state=0, tol=1e-10).fit()
    np.testing.assert_allclose((fit[C] @ fit[heavy].T)[..., 0], image, atol=1e-2)


def test_automatic_weight_is_one_over_the_variance_of_the_noise():
    rng = np.random.default_rng(7)
    clean = rng.random((400, 2)) @ rng.random((2, 50)) * 40
    noisy = clean + 3.0 * rng.standard_normal(clean.shape)
    C, S = em.Factor(2), em.Factor(2)
    assert em.Term(noisy, C, S).weight_ == pytest.approx(1 / 9.0, rel=0.05)
    assert em.Term(rng.poisson(clean), C, S).weight_ == pytest.approx(1 / clean.mean(), rel=0.05)
    image = rng.random((60, 1, 1)) + 0.1 * rng.standard_normal((60, 60, 1))
    assert em.Term(image, C, S).weight_ == pytest.approx(100.0, rel=0.1)


@pytest.fixture(scope="module")
def counts():
    """Few counts of two detectors over 50 tilts, and what was expected."""
    rng = np.random.default_rng(8)
    weights = rng.random((50, 2)) + 0.1
    means = weights @ rng.random((2, 30)) * 2, weights @ rng.random((2, 20)) * 5
    return [rng.poisson(mean) for mean in means], means


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("loss", [em.Poisson(), em.BetaDivergence(1.5)], ids=repr)
def test_one_term_of_counts_is_nmf_of_that_loss(counts, loss):
    X = counts[0][1]
    C, S = em.Factor(2), em.Factor(2)
    fit = em.Fusion([em.Term(X, C, S, loss=loss)], random_state=0, tol=1e-9, n_starts=4).fit()
    nmf = em.NMF(2, loss=loss, random_state=0, tol=1e-9, n_starts=4).fit(X)
    assert fit.objective_[-1] == pytest.approx(nmf.objective_[-1], rel=1e-4)
    assert np.diff(fit.objective_[30:]).max() <= 1e-10 * fit.objective_[-1]
    assert fit.optimality_ < 1e-3


@pytest.mark.filterwarnings("ignore:not converged")
def test_terms_of_counts_that_share_maps_are_nmf_of_the_stacked_counts(counts):
    first, second = counts[0]
    C, S1, S2 = (em.Factor(2) for _ in range(3))
    terms = [em.Term(X, C, S, loss=em.Poisson()) for X, S in ((first, S1), (second, S2))]
    fit = em.Fusion(terms, random_state=0, tol=1e-9, n_starts=4).fit()
    stacked = np.hstack([first, second])
    nmf = em.NMF(2, loss=em.Poisson(), random_state=0, tol=1e-9, n_starts=4).fit(stacked)
    assert sum(fit.misfits_) == pytest.approx(nmf.objective_[-1], rel=1e-4)


def test_sparse_counts_of_two_detectors_descend_to_the_stacked_answer():
    """Where most entries are zero the squares are as ill-conditioned as they get."""
    both = em.synthetic.concurrent((10, 10), 3, 30, 5.0, seed=0)
    pair = [both.eels.data, both.edxs.data]
    options = {"loss": em.Poisson(), "random_state": 0, "n_starts": 2}
    together = em.Coupled(3, **options).fit(pair)
    stacked = em.NMF(3, **options).fit(np.concatenate(pair, axis=-1))
    assert np.diff(together.objective_[30:]).max() <= 1e-10 * together.objective_[-1]
    assert sum(together.misfits_) == pytest.approx(stacked.objective_[-1], rel=1e-3)


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("penalty", [em.Norm(0.01), em.Ridge(0.05)], ids=repr)
def test_counts_beside_squares_descend_under_equation_14(counts, penalty):
    first, second = counts[0]
    C, N, S1, S2 = em.Factor(2), em.Factor(2, [em.Free(), penalty]), em.Factor(2), em.Factor(2)
    terms = [
        em.Term(first, C + N, S1, loss=em.Poisson()),
        em.Term(second, C, S2, loss=em.PoissonScaled()),
    ]
    fit = em.Fusion(terms, random_state=0, tol=1e-8, n_starts=2, max_iter=300).fit()
    assert np.diff(fit.objective_[30:]).max() <= 1e-10 * fit.objective_[-1]
    assert (fit[C] + fit[N]).min() >= -1e-12
    np.testing.assert_allclose(np.linalg.norm(fit[S1], axis=0), 1.0, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:not converged")
def test_counts_on_a_coarser_grid(counts):
    """A known matrix stands before the maps of a term of counts; noise-free data are explained wholly."""
    first, second = counts[1]
    coarse = np.kron(np.eye(25), [[1.0, 1.0]])
    C, S1, S2 = (em.Factor(2) for _ in range(3))
    terms = [
        em.Term(first, C, S1, loss=em.Poisson()),
        em.Term(coarse @ second, coarse @ C, S2, loss=em.Poisson()),
    ]
    fit = em.Fusion(terms, random_state=0, tol=1e-10, max_iter=1500, n_starts=2).fit()
    assert np.diff(fit.objective_[30:]).max() <= 1e-10 * first.sum()
    np.testing.assert_allclose(coarse @ fit[C] @ fit[S2].T, coarse @ second, rtol=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X, C, S: [em.Term(X, C, S), em.Term(X.T, C, S)], "known matrix"),
        (lambda X, C, S: [em.Term(X, C, em.Factor(3))], "same number"),
        (lambda X, C, S: [em.Term(X[:, :30], C, C)], "twice"),
        (lambda X, C, S: [em.Term(X, C, S, S)], "axes"),
        (lambda X, C, S: [em.Term(X, C, S, weight=-1)], "weight"),
        (lambda X, C, S: [em.Term(X, C, S, weight="some")], "weight"),
        (lambda X, C, S: [em.Term(X, np.eye(3) @ C, S)], "known matrix"),
        (lambda X, C, S: [em.Term(X, C, em.Factor(2, fixed=np.ones((3, 2))))], "fixed"),
        (lambda X, C, S: [em.Term(X, C, em.Factor(2, em.Relevance()))], "how many"),
        (
            lambda X, C, S: [em.Term(np.abs(X), C, em.Factor(2, em.Free()), loss=em.Poisson())],
            "without negative values",
        ),
        (
            lambda X, C, S: [em.Term(X, np.eye(60) @ C + em.Factor(2, em.Free()), S)],
            "held non-negative",
        ),
    ],
)
def test_refused_in_one_sentence(pair, make, message):
    C, S = em.Factor(2), em.Factor(2)
    with pytest.raises(ValueError, match=message):
        em.Fusion(make(pair[0], C, S)).fit()


@pytest.mark.parametrize("detector", ["eels", "edxs"])
def test_a_channelling_series_is_not_fixed_by_the_data(detector):
    """Other spectra fit without misfit, and the bands say so: they hold the truth that the answer misses."""
    series = em.synthetic.channelling(seed=0)
    truth = getattr(series, f"{detector}_spectra")
    exact = getattr(series, f"{detector}_weights") @ truth
    nmf = em.NMF(2, random_state=0).fit(exact)
    truth = truth / truth.sum(axis=1, keepdims=True)
    order = em.match_components(nmf.components_, truth)
    assert nmf.objective_[-1] < 1e-20 * np.sum(exact**2)
    assert em.spectral_angle(nmf.components_[order], truth).max() > 9
    bands = em.assess.ambiguity(nmf, exact)
    assert "not fixed by the data" in bands.sentence
    assert not bands.fixed.any()
    # The nearest answer need not lie in the region of the true component: either order counts.
    room = 1e-6 * truth.max()
    low, high = bands.spectra_low - room, bands.spectra_high + room
    assert any(np.all((low[o] <= truth) & (truth <= high[o])) for o in ([0, 1], [1, 0]))


def test_what_is_no_factor_is_refused(pair):
    with pytest.raises(TypeError, match="no factor"):
        em.Term(pair[0], em.Factor(2), 3)
    fit, _ = equation_14(*pair, em.Ridge(1.0), max_iter=30, tol=1.0)
    with pytest.raises(KeyError):
        fit[em.Factor(2)]


def test_shared_weights_alone_leave_other_spectra_that_fit_as_well():
    series = em.synthetic.channelling(seed=0, difference=0.0)
    maps, truth = series.eels_weights, np.hstack([series.eels_spectra, series.edxs_spectra])
    least = np.min(maps[:, ::-1] / maps, axis=0)
    mix = np.array([[1.0, least[0]], [least[1], 1.0]])
    other_maps, other = maps @ np.linalg.inv(mix), mix @ truth
    assert other_maps.min() > -1e-12
    np.testing.assert_allclose(other_maps @ other, maps @ truth, rtol=1e-10, atol=1e-12)
    assert em.spectral_angle(other, truth).min() > 9.0
    model = em.NMF(2, random_state=0, n_starts=2, tol=1e-9).fit(maps @ truth)
    bands = em.assess.ambiguity(model, maps @ truth)
    assert not bands.fixed.any()
    assert "not fixed by the data" in bands.sentence
    for spectra in (truth, other):
        spectra = spectra / spectra.sum(axis=1, keepdims=True)
        order, room = em.match_components(bands.spectra, spectra), 1e-6 * spectra.max()
        assert np.all(bands.spectra_low[order] <= spectra + room)
        assert np.all(bands.spectra_high[order] >= spectra - room)


def test_poisson_terms_are_poisson_nmf_of_the_stacked_counts():
    rng = np.random.default_rng(3)
    maps = rng.random((50, 2)) + 0.05
    first, second = (rng.poisson(maps @ rng.random((2, n)) * 30) for n in (25, 18))
    nmf = em.NMF(2, loss=em.Poisson(), random_state=0, tol=1e-9, max_iter=5000)
    nmf.fit(np.hstack([first, second]))
    C, S1, S2 = em.Factor(2), em.Factor(2), em.Factor(2)
    terms = [em.Term(first, C, S1, loss=em.Poisson()), em.Term(second, C, S2, loss=em.Poisson())]
    fit = em.Fusion(terms, random_state=0, tol=1e-9, max_iter=5000).fit()
    assert fit.objective_[-1] == pytest.approx(nmf.objective_[-1], rel=1e-6)
    assert np.all(np.diff(fit.objective_) <= 1e-9 * fit.objective_[0])
    model = fit[C] @ np.vstack([fit[S1], fit[S2]]).T
    np.testing.assert_allclose(model, nmf.maps_ @ nmf.components_, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("penalty", [em.Sparse(0.1), em.Ridge(0.1)])
def test_weighted_poisson_terms_with_a_penalty_never_rise(penalty):
    rng = np.random.default_rng(4)
    maps = rng.random((40, 2))
    first, second = (rng.poisson(maps @ rng.random((2, n)) * 20) for n in (20, 15))
    C = em.Factor(2, penalty)
    terms = [
        em.Term(X, C, em.Factor(2), loss=em.Poisson(), weight=weight)
        for X, weight in ((first, 1.0), (second, 3.0))
    ]
    fit = em.Fusion(terms, random_state=0, n_starts=1, max_iter=3000).fit()
    assert np.all(np.diff(fit.objective_) <= 1e-9 * fit.objective_[0])
    assert fit.optimality_ < 1e-2
    assert sum(fit.misfits_) <= fit.objective_[-1]


def test_a_fit_along_a_valley_says_converged_only_where_noise_hides_the_rest():
    E, (y, x) = np.linspace(500, 600, 60), np.mgrid[:16, :16] / 15
    share = np.clip(1.3 * x - 0.2, 0, 1)
    maps = np.stack([share, 1 - share], axis=-1) * (0.6 + 0.4 * np.sin(3 * y))[..., None]
    step, lines = (E > 532) * 0.6 * (1 - np.exp((532 - E) / 4)), np.array([[537.0, 2], [543, 4]])
    edges = (E > 532) * (step + np.exp(-0.5 * ((E - lines[:, :1]) / lines[:, 1:]) ** 2))
    laws = np.stack([2.0 * (E / 500) ** -2.2, 2.5 * (E / 500) ** -3.6])
    raw = np.random.default_rng(1).poisson(30 * maps @ (edges + laws)).astype(float)
    C, S, N = em.Factor(2), em.Factor(2), em.Factor(2, em.PowerLaws(E))
    net = em.Term(raw - 30 * maps @ laws, C, S, weight=1 / 30)
    terms = [em.Term(raw, C, S + N, weight=1 / 30), net]
    fit = em.Fusion(terms, n_starts=4, random_state=0).fit()
    further = em.Fusion(terms, init=fit.arrays, tol=1e-9, max_iter=600)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        left = fit.objective_[-1] - further.fit().objective_[-1]
    variance = sum(fit.misfits_) / raw.size
    assert fit.converged_
    assert left < 0.2 * variance


def alternately_solved(blocks, factors, sweeps=3000):
    """Minimise ½ Σ ‖Xₜ − Aₜ Bₜᵀ‖² by SciPy's NNLS of the stacked problem of one factor after the other.

    ``blocks`` holds, for every data set, the data, the names of the summands of its maps and of its spectra.
    """
    for _ in range(sweeps):
        before = [F.copy() for F in factors.values()]
        for name in factors:
            rows = []
            for X, maps, spectra in blocks:
                for own, other, Y in ((maps, spectra, X), (spectra, maps, X.T)):
                    if name in own:
                        Z = sum(factors[one] for one in other)
                        rest = sum((factors[one] for one in own if one != name), 0 * factors[name])
                        rows.append((Z, Y.T - Z @ rest.T))
            A, B = (np.vstack(part) for part in zip(*rows, strict=True))
            factors[name] = np.array([nnls(A, b)[0] for b in B.T])
        if all(
            np.allclose(*pair, rtol=0, atol=1e-13)
            for pair in zip(before, factors.values(), strict=True)
        ):
            break
    return sum(
        0.5 * np.sum((X - sum(factors[n] for n in maps) @ sum(factors[n] for n in spectra).T) ** 2)
        for X, maps, spectra in blocks
    )  # fmt: skip


def test_equation_14_is_the_stacked_least_squares_of_scipy():
    """Tied maps that may only be larger in one detector: C + N with N ≥ 0."""
    rng = np.random.default_rng(0)
    weights = rng.random((30, 2)) + 0.1
    first = (weights + 0.2 * rng.random((30, 2))) @ rng.random((2, 12)) + 0.01 * rng.random(
        (30, 12)
    )
    second = weights @ rng.random((2, 9)) + 0.01 * rng.random((30, 9))
    C, N, S, L = (em.Factor(2, name=name) for name in "CNSL")
    terms = [em.Term(first, C + N, S, weight=1), em.Term(second, C, L, weight=1)]
    fit = em.Fusion(terms, random_state=0, tol=1e-12, max_iter=4000).fit()
    start = {name: fit[F].copy() for name, F in zip("NCSL", (N, C, S, L), strict=True)}
    least = alternately_solved([(first, "CN", "S"), (second, "C", "L")], start)
    assert fit.objective_[-1] == pytest.approx(least, rel=1e-6)
    C_, N_, S_, L_ = (fit[F] for F in (C, N, S, L))
    formula = np.sum((first - (C_ + N_) @ S_.T) ** 2) + np.sum((second - C_ @ L_.T) ** 2)
    assert fit.objective_[-1] == pytest.approx(formula / 2, rel=1e-8)


def test_equation_15_is_the_stacked_least_squares_of_scipy():
    rng = np.random.default_rng(1)
    weights, lines, falls = rng.random((30, 2)) + 0.1, rng.random((2, 12)), 2 * rng.random((2, 12))
    raw = weights @ (lines + falls) + 0.01 * rng.standard_normal((30, 12))
    net = weights @ lines + 0.01 * rng.standard_normal((30, 12))
    C, S, N = (em.Factor(2, name=name) for name in "CSN")
    terms = [em.Term(raw, C, S + N, weight=1), em.Term(net, C, S, weight=1)]
    fit = em.Fusion(terms, random_state=0, tol=1e-12, max_iter=4000).fit()
    start = {name: fit[F].copy() for name, F in zip("CSN", (C, S, N), strict=True)}
    least = alternately_solved([(raw, "C", "SN"), (net, "C", "S")], start)
    assert fit.objective_[-1] == pytest.approx(least, rel=1e-6)
    C_, S_, N_ = (fit[F] for F in (C, S, N))
    formula = np.sum((raw - C_ @ (S_ + N_).T) ** 2) + np.sum((net - C_ @ S_.T) ** 2)
    assert fit.objective_[-1] == pytest.approx(formula / 2, rel=1e-8)
