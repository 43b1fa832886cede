"""Error bars: the bound by brute force, by coverage, and where the spectra are known."""

import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.stats import norm

import endmember as em
from endmember.assess.information import Information, Weights
from endmember.factor.scale.carriers import gradient_of_norm, rescale

RNG = np.random.default_rng(0)


def small():
    rng = np.random.default_rng(1)
    C, S = rng.random((12, 3)), rng.random((9, 3))
    C[:3], S[:3] = np.eye(3), np.eye(3)
    return C, S / np.linalg.norm(S, axis=0)


def brute(C, S, W, norm):
    """Return the bound from the full Jacobian, with zeros and the norm held."""
    (n, k), m = C.shape, len(S)
    J = np.zeros((n * m, (n + m) * k))
    for i in range(n):
        for j in range(m):
            J[i * m + j, i * k : (i + 1) * k] = S[j]
            J[i * m + j, n * k + j + m * np.arange(k)] = C[i]
    assert np.linalg.matrix_rank(J) == k * (n + m - k)
    free = np.concatenate([C.ravel() != 0, S.T.ravel() != 0])
    held = np.zeros((k, J.shape[1]))
    for q in range(k):
        held[q, n * k + q * m : n * k + (q + 1) * m] = norm[:, q]
    U = null_space(held[:, free])
    F = ((J.T * W.ravel()) @ J)[np.ix_(free, free)]
    variance = np.zeros(J.shape[1])
    variance[free] = np.diag(U @ np.linalg.inv(U.T @ F @ U) @ U.T)
    errors = np.sqrt(variance)
    return errors[: n * k].reshape(n, k), errors[n * k :].reshape(k, m).T


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("norm_of", ["l2", "l1"])
def test_bound_is_that_of_the_full_information(separable, norm_of):
    C, S = small()
    rows, columns = RNG.uniform(0.5, 2, 12), RNG.uniform(0.5, 2, 9)
    W = rows[:, None] * columns if separable else RNG.uniform(0.5, 2, (12, 9))
    norm = S if norm_of == "l2" else np.ones(S.shape)
    weights = Weights(rows, columns, None if separable else lambda model: W)
    known = Information(C, S, weights, C == 0, S == 0)
    covariance = known.with_scale(norm)
    maps, spectra = brute(C, S, W, norm)
    np.testing.assert_allclose(known.spectra_errors(covariance), spectra, atol=1e-12)
    np.testing.assert_allclose(known.maps_errors(covariance), maps, atol=1e-12)
    assert len(known.rotations) == 0


@pytest.mark.parametrize("norm", ["l1", "l2", "max", 0.5, 3, ("area", (2, 7))])
def test_what_moves_a_spectrum_but_not_its_norm_lies_across_the_gradient(norm):
    S, energy, normalise = RNG.random((9, 3)) + 0.1, np.arange(9.0) * 0.5, ("spectra", norm)
    across = gradient_of_norm(S, normalise, energy)
    step = 1e-6 * RNG.standard_normal(S.shape)
    step -= across * np.sum(across * step, axis=0) / np.sum(across**2, axis=0)
    (carried, _), (moved, _) = (
        rescale(np.ones((1, 3)), F, normalise, energy) for F in (S, S + step)
    )
    np.testing.assert_allclose(moved, carried, rtol=1e-10)


def test_free_rotations_are_counted():
    C, S = small()
    C, S = C + 0.1, S + 0.1
    weights = Weights(np.ones(12), np.ones(9))
    nothing_held = Information(C, S, weights, C == 0, S == 0)
    assert len(nothing_held.rotations) == 6
    C[0, 1] = 0.0  # component 1 may no longer be mixed with the two others in this pixel
    assert len(Information(C, S, weights, C == 0, S == 0).rotations) == 5


def scene():
    """Return maps with pure pixels and spectra with exclusive channels, of unit length."""
    rng = np.random.default_rng(3)
    C = rng.dirichlet([0.5] * 3, 300)
    C[:30] = np.eye(3).repeat(10, axis=0)
    energy = np.arange(45)
    S = np.stack([np.exp(-0.5 * ((energy - centre) / 4) ** 2) for centre in (10, 22, 34)])
    S[S < 0.02] = 0.0
    return C, S / np.linalg.norm(S, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["gauss", "poisson"])
def test_two_thirds_of_the_truth_lie_within_one_standard_error(kind):
    C, S = scene()
    rng, inside = np.random.default_rng(0), [[], []]
    scale, loss = (60.0, None) if kind == "gauss" else (200.0, em.Poisson())
    for _ in range(6):
        mean = scale * C @ S
        X = mean + 2 * rng.standard_normal(mean.shape) if kind == "gauss" else rng.poisson(mean)
        model = em.NMF(3, loss=loss, init=(scale * C, S), tol=1e-8).fit(X)
        errors = em.assess.uncertainty(model, X)
        pairs = (
            (model.maps_, scale * C, errors.maps, errors.maps_at_zero),
            (model.components_, S, errors.spectra, errors.spectra_at_zero),
        )
        for hits, (found, true, error, at_zero) in zip(inside, pairs, strict=True):
            clear = (true > 3 * error) & ~at_zero
            hits.append((np.abs(found - true) <= error)[clear])
    for hits in inside:
        assert np.mean(np.concatenate(hits)) == pytest.approx(0.683, abs=0.07)


PHANTOMS = [em.synthetic.mixed_phases((10, 10), 32, k=3, dose=100, seed=seed) for seed in range(4)]


def covered(draw, model):
    """Return the shares of all entries of spectra and maps within one and within 1.96 errors, (2, 2)."""
    counted = np.zeros((2, 3))
    for seed, phantom in enumerate(PHANTOMS):
        data = draw(phantom, np.random.default_rng(seed))
        fitted = model().fit(data)
        errors = em.assess.uncertainty(fitted, data)
        size = np.linalg.norm(phantom.spectra, axis=1)
        order = em.match_components(fitted.components_, phantom.spectra)
        for hits, found, true, error in (
            (
                counted[0],
                fitted.components_[order],
                phantom.spectra / size[:, None],
                errors.spectra[order],
            ),
            (counted[1], fitted.maps_[..., order], phantom.maps * size, errors.maps[..., order]),
        ):
            far = np.abs(found - true)
            hits += np.sum(far <= error), np.sum(far <= 1.96 * error), far.size
    return counted[:, :2] / counted[:, 2:]


def correlated(phantom, rng):
    noise = rng.standard_normal(phantom.clean.shape)
    noise = (noise + 0.6 * np.roll(noise, 1, axis=-1)) / np.sqrt(1.36)
    return phantom.clean + np.sqrt(phantom.clean.mean()) * noise


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("draw", "options"),
    [
        (lambda phantom, rng: rng.poisson(phantom.clean), {"loss": em.PoissonScaled()}),
        (lambda phantom, rng: rng.poisson(phantom.clean), {"loss": em.PoissonScaled(), "maps": em.Sparse(0.3)}),
        (lambda phantom, rng: rng.poisson(phantom.clean), {"loss": em.PoissonScaled(), "spectra": em.Smooth(1)}),
        (correlated, {}),
    ],
    ids=["clipped", "sparse", "smooth", "correlated"],
)  # fmt: skip
def test_errors_hold_over_all_entries_whatever_moves_the_answer(draw, options):
    spectra, maps = covered(draw, lambda: em.NMF(3, random_state=0, **options))
    for within in (spectra, maps):
        assert 0.6 < within[0] < 0.85 and within[1] > 0.9


def test_what_the_errors_hold_is_said():
    phantom = PHANTOMS[0]
    model = em.NMF(3, loss=em.PoissonScaled(), random_state=0).fit(phantom.data)
    errors = em.assess.uncertainty(model, phantom.data)
    assert errors.tested and "clipped noise" in errors.sentence
    assert 0.8 < errors.misfit < 1.1 and "residual" not in errors.sentence
    wrong = em.NMF(2, loss=em.PoissonScaled(), random_state=0).fit(phantom.data)
    errors = em.assess.uncertainty(wrong, phantom.data, noise=em.assess.rank(phantom.data).noise)
    assert errors.misfit > 1.1 and "The residual is" in errors.sentence
    tested = em.NMF(3, loss=em.PoissonScaled(), maps=em.Absent("auto"), random_state=0)
    assert em.assess.uncertainty(tested.fit(phantom.data), phantom.data).tested is None


def test_known_spectra_leave_the_errors_of_linear_least_squares():
    C, S = scene()
    X = 60 * C @ S + 2 * np.random.default_rng(0).standard_normal((300, 45))
    model = em.NMF(3, spectra=em.Known(dict(enumerate(S))), normalise=None).fit(X)
    errors = em.assess.uncertainty(model, X)
    assert not errors.spectra.any() and errors.rotations == 0
    inside = (model.maps_ > 0).all(axis=1)
    residual = X - model.inverse_transform(model.maps_)
    variance = np.sum(residual**2) / (X.size - np.count_nonzero(model.maps_) + 3)
    expected = np.sqrt(variance * np.diag(np.linalg.inv(S @ S.T)))
    np.testing.assert_allclose(errors.maps[inside], np.tile(expected, (inside.sum(), 1)), rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_bootstrap_agrees_where_the_bound_is_met():
    C, S = scene()
    X = np.random.default_rng(0).poisson(300 * C[:120] @ S)
    model = em.NMF(3, loss=em.Poisson(), init=(300 * C[:120], S), tol=1e-7).fit(X)
    bound = em.assess.uncertainty(model, X)
    spread = em.assess.uncertainty(model, X, method="bootstrap", n_bootstrap=40)
    clear = model.components_ > 5 * bound.spectra
    ratio = np.sqrt(np.mean(spread.spectra[clear] ** 2) / np.mean(bound.spectra[clear] ** 2))
    assert 0.85 < ratio < 1.25


def test_limit_at_zero_is_one_sided():
    # One component, two channels: without signal the limit is the quantile of half a normal.
    from endmember.assess.information import BELOW, upper_limit

    half = upper_limit(np.zeros(1), np.array([4.0]))[0]
    assert 2 * norm.cdf(2 * half) - 1 == pytest.approx(BELOW)
    steep = upper_limit(np.array([1e4]), np.array([1e-6]))[0]
    assert 1 - np.exp(-1e4 * steep) == pytest.approx(BELOW, rel=1e-6)


def test_masks_scale_and_refusals():
    C, S = scene()
    X = 60 * C @ S + 2 * np.random.default_rng(0).standard_normal((300, 45))
    mask = np.arange(300) % 7 == 0
    model = em.NMF(3, init=(60 * C, S)).fit(X, mask=mask)
    errors = em.assess.uncertainty(model, X, mask=mask)
    assert np.isnan(errors.maps[mask]).all() and np.isfinite(errors.maps[~mask]).all()
    tiny = em.NMF(3, init=(60e-9 * C, S)).fit(1e-9 * X, mask=mask)
    again = em.assess.uncertainty(tiny, 1e-9 * X, mask=mask)
    np.testing.assert_allclose(again.maps[~mask], 1e-9 * errors.maps[~mask], rtol=1e-3)
    with pytest.raises(ValueError, match="allowed"):
        em.assess.uncertainty(model, X, method="guess")
    with pytest.raises(TypeError, match="not fitted"):
        em.assess.uncertainty(em.NMF(3), X)


def test_a_bootstrap_told_to_stop_keeps_the_fits_so_far():
    X = np.abs(
        np.eye(2).repeat(30, axis=0) @ np.eye(2).repeat(5, axis=1) + 0.1 * RNG.random((60, 10))
    )
    fitted = em.NMF(2, random_state=0, n_starts=2).fit(X, domain=(6, 10))
    told = []

    def stop(progress):
        told.append(progress.sweep)
        return progress.sweep > 3

    errors = em.assess.uncertainty(fitted, X, method="bootstrap", n_bootstrap=50, callback=stop)
    few = em.assess.uncertainty(fitted, X, method="bootstrap", n_bootstrap=3)
    assert told == [1, 2, 3, 4] and errors.maps.shape == (6, 10, 2)
    np.testing.assert_array_equal(errors.spectra, few.spectra)


@pytest.mark.parametrize("loss", [em.Poisson(), em.PoissonScaled()], ids=repr)
@pytest.mark.parametrize("gain", [4.0, 0.25])
def test_errors_of_counts_in_another_unit_are_in_that_unit(loss, gain):
    rng = np.random.default_rng(0)
    spectra = np.array([[1.0, 2, 3, 0, 0, 0, 1, 2], [0, 0, 1, 2, 4, 2, 0, 1]])
    maps = 60 * rng.dirichlet([0.5, 0.5], 400)
    counts = rng.poisson(maps @ spectra).astype(float)

    def errors(unit):
        known = em.Known({0: spectra[0], 1: spectra[1]})
        model = em.NMF(2, loss=loss, spectra=known, init=(unit * maps + 1e-6, spectra))
        return em.assess.uncertainty(model.fit(unit * counts), unit * counts).maps

    ratio = np.median(errors(gain) / errors(1.0))
    assert ratio == pytest.approx(gain, rel=0.1)


def test_errors_are_unknown_where_every_entry_has_its_unknown():
    X = np.array([[3.0, 1.0], [1.0, 2.0]])
    errors = em.assess.uncertainty(em.NMF(2, random_state=0).fit(X), X)
    assert np.isnan(errors.maps).all() and np.isnan(errors.spectra).all()
    assert errors.sentence.startswith("Errors are not known")
