"""Ambiguity: bands hold every feasible answer and nothing else, by closed forms, brute force and phantoms."""

import numpy as np
import pytest

import endmember as em
from endmember.factor.geometry.feasible import three_components, two_components
from endmember.factor.geometry.rotations import Fixed, sampled

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def scene(k, seed=0, channels=60, pixels=300, floor=0.1):
    """Overlapped spectra of unit sum, and pixels none of which is pure."""
    rng = np.random.default_rng(seed)
    energy, centres = np.arange(channels), np.linspace(0.25, 0.75, k) * channels
    width = 0.3 * channels / k
    S = np.stack(
        [np.exp(-0.5 * ((energy - c) / width) ** 2) + 0.02 * rng.random() for c in centres]
    )
    S = S.T / S.sum(axis=1)
    return S, rng.dirichlet([0.6] * k, pixels) * (1 - floor) + floor / k


def feasible(T, S, points, tolerance=1e-12):
    """Tell whether a rotation leaves nothing negative."""
    return (-tolerance <= S @ T.T).all() and (points @ np.linalg.inv(T) >= -tolerance).all()


def test_two_components_meet_the_closed_form_of_lawton_and_sylvestre():
    S, points = scene(2)
    X = points @ S.T
    U, sizes, V = np.linalg.svd(X, full_matrices=False)
    w, v = U[:, :2] * sizes[:2], V[:2] * np.sign(V[0].sum())
    w = w * np.sign(V[0].sum())
    slope = v[1] / v[0]
    outer = max(-1 / slope[slope > 0]), min(-1 / slope[slope < 0])
    inner = min(w[:, 1] / w[:, 0]), max(w[:, 1] / w[:, 0])
    expected = []
    for low, high in ((outer[0], inner[0]), (inner[1], outer[1])):
        ends = np.stack([v[0] + t * v[1] for t in (low, high)])
        expected.append(np.sort(ends / ends.sum(axis=1, keepdims=True), axis=0))
    model = em.NMF(2, random_state=0, tol=1e-9).fit(X)
    bands = em.assess.ambiguity(model, X)
    order = em.match_components(bands.spectra, np.stack([e.mean(axis=0) for e in expected]))
    for j, (low, high) in zip(order, expected, strict=True):
        np.testing.assert_allclose(bands.spectra_low[j], low, atol=1e-6)
        np.testing.assert_allclose(bands.spectra_high[j], high, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_three_components_hold_every_feasible_rotation_and_are_met_by_them(seed):
    S, points = scene(3, seed)
    found = three_components(S, np.zeros(60), points)
    walked = sampled(S, np.zeros(60), points, np.ones(300), None, np.random.default_rng(seed))
    assert found.exact and not found.touching
    for k in range(3):
        spectra, met = found.corners[k] @ S.T, walked.corners[k] @ S.T
        assert (met.min(axis=0) >= spectra.min(axis=0) - 1e-9).all()
        assert (met.max(axis=0) <= spectra.max(axis=0) + 1e-9).all()
        assert np.ptp(met, axis=0).sum() > 0.93 * np.ptp(spectra, axis=0).sum()
        assert spectra.min() > -1e-8 and (found.duals[k] @ points.T).min() > -1e-8


@pytest.mark.parametrize("k", [2, 3, 4])
def test_walks_stay_feasible(k):
    S, points = scene(k)
    walked = sampled(S, np.zeros(60), points, np.ones(300), None, np.random.default_rng(0))
    for step in range(0, len(walked.corners[0]), 7):
        T = np.stack([walked.corners[j][step] for j in range(k)])
        inverse = np.stack([walked.duals[j][step] for j in range(k)], axis=1)
        np.testing.assert_allclose(T @ inverse, np.eye(k), atol=1e-9)
        assert feasible(T, S, points, 1e-9)


def test_walks_of_two_components_reach_the_closed_form():
    S, points = scene(2)
    walked = sampled(S, np.zeros(60), points, np.ones(300), None, np.random.default_rng(0))
    exact = two_components(S, np.zeros(60), points)
    for k in range(2):
        for mine, theirs, F in (
            (walked.corners[k], exact.corners[k], S),
            (walked.duals[k], exact.duals[k], points),
        ):
            np.testing.assert_allclose(
                (mine @ F.T).min(axis=0), (theirs @ F.T).min(axis=0), atol=1e-7
            )
            np.testing.assert_allclose(
                (mine @ F.T).max(axis=0), (theirs @ F.T).max(axis=0), atol=1e-7
            )


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("seed", range(2))
def test_the_truth_lies_inside_without_noise(k, seed):
    S, points = scene(k, seed)
    X = (points * np.random.default_rng(seed).uniform(1, 5, (300, 1))) @ S.T
    model = em.NMF(k, random_state=0, max_iter=300).fit(X)
    bands = em.assess.ambiguity(model, X)
    order = em.match_components(model.components_, S.T)
    maps = X @ np.linalg.pinv(S).T
    inside = (bands.spectra_low[order] <= S.T) & (bands.spectra_high[order] >= S.T)
    assert inside.mean() >= 0.99
    low, high = bands.maps_low[:, order], bands.maps_high[:, order]
    assert ((maps >= low) & (maps <= high)).mean() >= 0.99
    assert bands.exact == (k < 4) and not bands.fixed.all()


@pytest.mark.parametrize("k", [2, 3, 4])
def test_bands_collapse_with_pure_pixels_and_exclusive_channels(k):
    S, points = scene(k)
    S = np.vstack([S, np.eye(k)])
    points = np.vstack([points, np.eye(k)])
    X = points @ S.T
    bands = em.assess.ambiguity(em.NMF(k, random_state=0).fit(X), X)
    assert np.max(bands.spectra_high - bands.spectra_low) < 1e-6
    assert np.max(bands.maps_high - bands.maps_low) < 1e-5 * np.max(bands.maps_high)
    assert bands.fixed.all() and "fixed by the data" in bands.sentence


def test_noise_keeps_the_truth_inside():
    phantom = em.synthetic.mixed_phases(shape=(24, 24), channels=120, k=3, dose=100, seed=1)
    model = em.NMF(3, random_state=0).fit(phantom.data)
    bands = em.assess.ambiguity(model, phantom.data)
    order = em.match_components(model.components_, phantom.spectra)
    truth = phantom.spectra / phantom.spectra.sum(axis=1, keepdims=True)
    inside = (truth >= bands.spectra_low[order]) & (truth <= bands.spectra_high[order])
    assert inside.mean() > 0.9


def test_what_the_model_holds_stays_held():
    S, points = scene(3)
    X = points @ S.T
    model = em.NMF(3, spectra=em.Known({1: S[:, 1]}), random_state=0).fit(X)
    bands = em.assess.ambiguity(model, X)
    assert bands.width[1] < 1e-6 < bands.width[0]
    S, points = scene(4)
    fixed = Fixed(np.zeros((60, 4), bool), np.tile([True, False, False, False], (4, 1)))
    walked = sampled(S, np.zeros(60), points, np.ones(300), fixed, np.random.default_rng(0))
    np.testing.assert_allclose(
        walked.duals[0], np.eye(4)[:1].repeat(len(walked.duals[0]), 0), atol=1e-9
    )
    assert np.ptp(walked.duals[1], axis=0).max() > 0.01


def test_what_is_alone_in_a_region_leaves_the_others_as_uncertain_as_they_are():
    rng = np.random.default_rng(0)
    S = rng.uniform(0.2, 1.0, (60, 4))  # without a zero: the last three may be mixed in many ways
    C = rng.uniform(0.2, 1.0, (12, 12, 4))
    absent = np.zeros(C.shape, bool)
    absent[:4, :, 1:] = True
    C[absent] = 0.0
    C /= C.sum(axis=-1, keepdims=True)
    model = em.NMF(4, maps=em.Absent(absent), init=(C, S.T), max_iter=1).fit(C @ S.T)
    bands = em.assess.ambiguity(model, C @ S.T)
    T = np.eye(4)
    T[1, 1:3] = 1.02, -0.02  # zeros stay zero, and nothing becomes negative
    assert (C @ np.linalg.inv(T) >= 0).all() and ((C @ np.linalg.inv(T))[absent] == 0).all()
    other = T @ S.T
    other /= other.sum(axis=1, keepdims=True)
    assert (other > 0).all()
    assert not bands.fixed[1:].any()
    within = (other >= bands.spectra_low - 1e-6) & (other <= bands.spectra_high + 1e-6)
    assert within.mean() > 0.9


def test_scale_and_layout_change_nothing():
    S, points = scene(3)
    X = points @ S.T
    model = em.NMF(3, random_state=0, max_iter=300).fit(X)
    bands = em.assess.ambiguity(model, X)
    tiny = em.NMF(3, random_state=0, max_iter=300).fit(1e-9 * X)
    again = em.assess.ambiguity(tiny, 1e-9 * X)
    np.testing.assert_allclose(again.spectra_high, bands.spectra_high, atol=1e-5)
    np.testing.assert_allclose(again.maps_high, 1e-9 * bands.maps_high, atol=1e-13)
    cube = X.reshape(15, 20, 60)
    mask = np.zeros((15, 20), bool)
    mask[0] = True
    cube_bands = em.assess.ambiguity(
        em.NMF(3, random_state=0, max_iter=300).fit(cube, mask=mask), cube, mask=mask
    )
    assert cube_bands.maps_low.shape == (15, 20, 3)
    assert np.isnan(cube_bands.maps_low[0]).all() and np.isfinite(cube_bands.maps_low[1:]).all()


def test_one_component_cannot_mix():
    X = np.outer(np.arange(1.0, 5.0), [1.0, 2.0, 1.0])
    bands = em.assess.ambiguity(em.NMF(1, random_state=0).fit(X), X)
    assert bands.fixed.all() and np.array_equal(bands.spectra_low, bands.spectra_high)


def test_an_unmixing_brings_its_data(tmp_path):
    S, points = scene(3)
    import hyperspy.api as hs

    cube = hs.signals.Signal1D((points @ S.T).reshape(15, 20, 60))
    cube.save(tmp_path / "cube.hspy")
    result = em.unmix(em.load(tmp_path / "cube.hspy"), em.NMF(3, random_state=0, max_iter=300))
    bands = em.assess.ambiguity(result)
    direct = em.assess.ambiguity(result.model, cube)
    np.testing.assert_array_equal(bands.spectra_high, direct.spectra_high)


def test_refusals():
    S, points = scene(3)
    X = points @ S.T
    with pytest.raises(TypeError, match="not fitted"):
        em.assess.ambiguity(em.NMF(3), X)
    with pytest.raises(TypeError, match="data are missing"):
        em.assess.ambiguity(em.NMF(3, random_state=0).fit(X))
    free = em.NMF(3, maps=em.Free(), random_state=0).fit(X)
    with pytest.raises(ValueError, match="maps may be negative"):
        em.assess.ambiguity(free, X)


def test_rows_of_a_matrix_give_bands_of_the_image_they_form():
    X = np.eye(3).repeat(4, axis=0) @ np.eye(3).repeat(3, axis=1)
    told = []
    fitted = em.NMF(3, random_state=0).fit(X, domain=(3, 4))
    bands = em.assess.ambiguity(fitted, X, callback=told.append)
    assert bands.maps_low.shape == fitted.maps_.shape == (3, 4, 3)
    assert [progress.sweep for progress in told] == [1, 2]
    flat = em.assess.ambiguity(fitted, X, domain=(12,))
    np.testing.assert_array_equal(flat.maps_high.reshape(3, 4, 3), bands.maps_high)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("dose", [10, 1000])
def test_bands_of_noisy_data_hold_the_truth_entry_by_entry(k, dose):
    phantom = em.synthetic.mixed_phases((20, 20), 64, k, dose=dose, seed=1)
    model = em.NMF(k, loss=em.PoissonScaled(), random_state=0).fit(phantom.data)
    bands, total = em.assess.ambiguity(model, phantom.data), phantom.spectra.sum(axis=1)
    order = em.match_components(model.components_, phantom.spectra)
    spectra, maps = phantom.spectra / total[:, None], phantom.maps * total
    inside = (bands.spectra_low[order] <= spectra) & (spectra <= bands.spectra_high[order])
    assert inside.mean() >= 0.95
    inside = (bands.maps_low[..., order] <= maps) & (maps <= bands.maps_high[..., order])
    assert inside.mean() >= 0.95


@pytest.mark.parametrize("rounding", [1e-33, 1e-17])
def test_what_rounding_leaves_of_a_zero_ends_no_interval(rounding):
    S = np.array([[0.5, 0.1], [0.5, 0.2], [0.0, 0.7], [0.0, 0.0]])
    points = np.array([[0.6, 0.4], [0.2, 0.8]])
    expected = two_components(S, np.zeros(4), points)
    for spurious in ([3, 1], [1, 3], [-5, 1]):
        S[3] = rounding * np.array(spurious)
        found = two_components(S, np.zeros(4), points)
        np.testing.assert_allclose(found.corners, expected.corners)
