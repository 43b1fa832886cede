"""Pure pixels where there are some, artificial ones where there are none, against known truth."""

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import qr
from sklearn.base import clone

import endmember as em
from endmember.factor.data.in_memory import Dense
from endmember.factor.geometry import extremes, subspace
from endmember.factor.regression import Limits, least_squares

METHODS = {
    "VCA": em.VCA(3, random_state=0),
    "SPA": em.SPA(3),
    "NFINDR": em.NFINDR(3, random_state=0),
}
SAMPLING = em.SubspaceSampling(3, random_state=0)


def separable(seed, k=3, n=200, m=40, bright=True):
    """Mixtures with exactly k pure pixels, under an illumination from 0.3 to 3 that is weakest on these."""
    rng = np.random.default_rng(seed)
    fractions = rng.dirichlet(np.ones(k), n)
    pure = rng.choice(n, k, replace=False)
    fractions[pure] = np.eye(k)
    light = rng.uniform(0.4, 3.0, (n, 1)) if bright else np.ones((n, 1))
    light[pure] = 0.3 if bright else 1.0
    spectra = rng.random((k, m))
    return light * fractions @ spectra, pure, fractions * light, spectra


def angles(model, phantom):
    order = em.match_components(model.components_, phantom.spectra)
    return em.spectral_angle(model.components_[order], phantom.spectra)


@pytest.mark.parametrize("model", [METHODS["VCA"], METHODS["NFINDR"]], ids=["VCA", "NFINDR"])
def test_a_sketch_that_weighs_counts_has_the_spectra_of_one_that_does_not(model):
    phantom = em.synthetic.diode(shape=(20, 18), channels=120)
    found = [
        clone(model).fit(em.compress(phantom.data, 12, scaling=scaling))
        for scaling in (None, "poisson")
    ]
    assert all(one.signal_to_noise_ > 20 for one in found)
    plain, weighed = (angles(one, phantom).max() for one in found)
    assert weighed < plain + 0.5


@pytest.mark.parametrize("model", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_pure_pixels_are_found_exactly_whatever_the_illumination(model, seed):
    X, pure, maps, spectra = separable(seed)
    model.fit(X)
    assert set(model.pixels_) == set(pure)
    order = [list(pure).index(pixel) for pixel in model.pixels_]
    np.testing.assert_allclose(model.components_, 0.3 * spectra[order], atol=1e-9)
    np.testing.assert_allclose(0.3 * model.maps_, maps[:, order], atol=1e-8)
    np.testing.assert_allclose(model.transform(X), model.maps_, atol=1e-8)


@pytest.mark.parametrize("model", METHODS.values(), ids=METHODS)
def test_scale_order_and_storage_of_the_data_change_nothing(model):
    X, pure, *_ = separable(1)
    shuffled = np.random.default_rng(0).permutation(len(X))
    assert set(shuffled[model.fit(X[shuffled]).pixels_]) == set(pure)
    for scale in (1e-9, 1e7):
        np.testing.assert_allclose(model.fit(X * scale).components_[:, 0] / scale > 0, True)
        assert set(model.pixels_) == set(pure)
    mask = np.zeros((10, 20), bool)
    mask.flat[pure[0]] = True
    cube = model.fit(X.reshape(10, 20, -1), mask=mask)
    assert not mask.flat[cube.pixels_].any() and np.isnan(cube.maps_[mask]).all()
    plain = model.fit(X).components_
    np.testing.assert_allclose(model.fit(sparse.csr_array(X)).components_, plain, atol=1e-9)
    single = model.fit(X.astype(np.float32))
    assert single.components_.dtype == np.float32 and set(single.pixels_) == set(pure)


def test_order_of_successive_projection_is_that_of_pivoted_qr():
    X = np.random.default_rng(3).random((80, 30))
    order = qr((X / X.sum(axis=1, keepdims=True)).T, mode="r", pivoting=True)[1]
    np.testing.assert_array_equal(em.SPA(12).fit(X).pixels_, order[:12])


def test_the_simplex_grows_to_the_largest_of_all():
    from itertools import combinations

    for seed in range(5):
        Y = np.random.default_rng(seed).standard_normal((14, 3))
        largest = max(abs(np.linalg.det(Y[list(three)])) for three in combinations(range(14), 3))
        found = extremes.largest_simplex(Y, 10, np.random.default_rng(0))
        assert abs(np.linalg.det(Y[found])) == pytest.approx(largest, rel=1e-12)


def test_the_projection_follows_the_noise():
    X, *_ = separable(2, n=2000, bright=False)
    quiet, loud = (em.VCA(3, noise=noise, random_state=0).fit(X) for noise in ("auto", "high"))
    assert set(quiet.pixels_) == set(loud.pixels_)
    noisy = X + np.random.default_rng(0).normal(0, 0.1, X.shape)
    signal = np.mean(X**2) / 0.1**2
    assert em.VCA(3).fit(noisy).signal_to_noise_ == pytest.approx(10 * np.log10(signal), abs=0.3)
    told = em.VCA(3, noise=0.1).fit(noisy).signal_to_noise_
    assert told == pytest.approx(10 * np.log10(signal), abs=0.3)


def closed_maps(data, S):
    return least_squares(data, S, np.ones(len(S)), Limits(shares=np.ones(S.shape[1])))


def test_closed_maps_are_the_exact_minimum():
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    S, X = rng.random((20, 4)), rng.random((6, 20)) * 3
    found = closed_maps(Dense(X), S)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert found.min() >= 0
    for x, c in zip(X, found, strict=True):
        best = minimize(
            lambda c, x=x: np.sum((x - S @ c) ** 2), np.full(4, 0.25), bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda c: c.sum() - 1}, tol=1e-14,
        )  # fmt: skip
        np.testing.assert_allclose(c, best.x, atol=1e-5)
    fractions = rng.dirichlet(np.ones(4), 6)
    np.testing.assert_allclose(closed_maps(Dense(fractions @ S.T), S), fractions, atol=1e-9)


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_factorising_with_all_spectra_known_and_closed_maps_finds_the_same(unit):
    rng = np.random.default_rng(5)
    S = unit * rng.random((3, 30))
    X = rng.dirichlet(np.full(3, 0.3), 80) @ S + 0.02 * unit * rng.standard_normal((80, 30))
    model = em.NMF(3, spectra=em.Known(dict(enumerate(S))), maps=em.SumToOne(), random_state=0)
    exact = closed_maps(Dense(X), S.T)
    np.testing.assert_allclose(model.fit(X).maps_, exact, atol=1e-6)
    np.testing.assert_allclose(model.transform(X), exact, atol=1e-6)
    np.testing.assert_array_equal(model.components_, S)


def rare_phase(seed):
    """Three phases in noise, the third on 0.5 % of the image."""
    rng = np.random.default_rng(seed)
    maps = rng.dirichlet(np.ones(2), (64, 64)) @ np.eye(2, 3)
    y, x = rng.integers(0, 59, 2)
    maps[y : y + 5, x : x + 4] = [0, 0, 1]
    channel = np.arange(120)
    peaks = [np.exp(-0.5 * ((channel - centre) / 9) ** 2) for centre in (30, 55, 80)]
    spectra = np.array(peaks) + 0.3
    return maps @ spectra + rng.normal(0, 0.7, (64, 64, 120)), spectra


def test_segments_find_a_phase_on_half_a_percent_of_the_image():
    angles = {None: [], 16: []}
    for seed in range(4):
        X, spectra = rare_phase(seed)
        for segments, found in angles.items():
            model = em.VCA(3, segments=segments, random_state=seed).fit(X)
            found.append(em.spectral_angle(model.components_, spectra[2]).min())
    assert max(angles[16]) < 25 < min(angles[None])


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_segments_average_no_more_pixels_than_a_phase_has(noise):
    maps = np.zeros((30, 30, 3))
    maps[..., 0] = 1
    maps[3:5, 3:5], maps[20:22, 25:27] = [0, 1, 0], [0, 0, 1]
    spectra = np.exp(-0.5 * ((np.arange(30) - np.array([[8], [15], [22]])) / 5) ** 2) + 0.5
    X = maps @ spectra + noise * np.random.default_rng(0).standard_normal((30, 30, 30))
    whole, tiled = (
        em.spectral_angle(
            em.VCA(3, segments=segments, random_state=0).fit(X).components_[:, None], spectra
        ).min(axis=0)
        for segments in (None, 9)
    )
    assert tiled.max() <= whole.max() + 1e-6


@pytest.mark.parametrize("sampler", ["vertices", "rejection", "hit-and-run"])
def test_films_without_a_pure_pixel_are_found_by_their_own_lines(sampler):
    phantom = em.synthetic.plan_view((24, 24), channels=512)
    sss = em.SubspaceSampling(3, sampler=sampler, n_samples=2000, random_state=0).fit(phantom.data)
    assert angles(sss, phantom).max() < 1
    assert sss.unique_ and sss.own_.min() > 5
    assert angles(em.VCA(3, random_state=0).fit(phantom.data), phantom).max() > 8


def test_clean_films_are_exact_and_so_are_their_corners():
    phantom = em.synthetic.plan_view((12, 12), channels=256)
    sss = em.SubspaceSampling(3, random_state=0, sharpen=False).fit(phantom.clean)
    assert angles(sss, phantom).max() < 1e-4 and sss.unique_


@pytest.mark.parametrize("model", [em.SubspaceSampling(3), em.VCA(3, segments=4)])
def test_counts_are_counts_whatever_their_type_and_unit(model):
    counts = em.synthetic.plan_view((16, 16), channels=256, dose=200).data
    model.set_params(random_state=0)
    found = model.fit(counts).components_
    for same in (counts.astype(float), counts.astype(np.float32), 0.1 * counts):
        again = model.fit(same).components_
        np.testing.assert_allclose(em.spectral_angle(again, found), 0, atol=1e-4)


def test_low_dose_costs_little():
    phantom = em.synthetic.plan_view((32, 32), dose=10)
    assert angles(em.SubspaceSampling(3, random_state=0).fit(phantom.data), phantom).max() < 3


def test_shared_lines_are_said():
    phantom = em.synthetic.plan_view((24, 24), channels=512, exclusive=False)
    for data in (phantom.data, phantom.clean):
        with pytest.warns(UserWarning, match="belongs to one component alone"):
            sss = em.SubspaceSampling(3, random_state=0).fit(data)
        assert not sss.unique_


def test_maps_of_overlapping_spectra_are_found_where_each_is_alone():
    phantom = em.synthetic.mixed_phases((32, 32), channels=256, k=3, dose=40)
    sss = em.SubspaceSampling(3, on="maps", random_state=0).fit(phantom.data)
    assert angles(sss, phantom).max() < 2 and sss.unique_
    mixed = em.synthetic.mixed_phases((32, 32), channels=256, k=3, dose=300, pure=False)
    with pytest.warns(UserWarning, match="pixel"):
        assert not em.SubspaceSampling(3, on="maps", random_state=0).fit(mixed.data).unique_


def test_points_lie_within_the_polytope_and_its_corners_hold_them():
    phantom = em.synthetic.plan_view((12, 12), channels=128, dose=100)
    space, _ = subspace.subspaces(Dense(phantom.data.reshape(-1, 128)[:, 10:40] + 1.0), 3)
    polytope = subspace.polytope(space, 3.0)
    rng = np.random.default_rng(0)
    inside = subspace.hit_and_run(polytope, 300, rng)
    drawn, accepted = subspace.rejection(polytope, inside, 300, 3.0, rng)
    ends = subspace.corners(polytope, rng)
    assert 0 < accepted < 1
    for points in (inside, drawn, ends):
        np.testing.assert_allclose(points @ space.total, 1, atol=1e-8)
        edge = 1e-6 * np.abs(polytope.delta).max()
        assert np.all(points @ space.V.T >= -polytope.delta - edge)
    from scipy.spatial import Delaunay

    flat = (ends - polytope.origin) @ np.linalg.pinv(polytope.frame).T
    hull = Delaunay(flat * 1.000001)
    for points in (inside, drawn):
        assert np.all(
            hull.find_simplex((points - polytope.origin) @ np.linalg.pinv(polytope.frame).T) >= 0
        )


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_any_number_of_components(k):
    spectra = np.kron(np.eye(k), [1.0, 2.0, 1.0]) + np.kron(np.eye(k)[::-1], [0, 0, 0.0])
    X = (
        np.random.default_rng(0).dirichlet(np.full(k, 4.0), 60) @ spectra
        if k > 1
        else np.outer(np.arange(1, 9), spectra[0])
    )
    model = em.SubspaceSampling(k, random_state=0).fit(X)
    order = em.match_components(model.components_, spectra)
    np.testing.assert_allclose(model.components_[order] * np.sqrt(6), spectra, atol=1e-4)
    assert em.VCA(k, random_state=0).fit(X).maps_.shape[-1] == k


def test_corners_beyond_five_components_are_corners_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    spectra = np.kron(np.eye(4), [1.0, 2.0, 1.0, 0.5]) + 0.2 * rng.random((4, 16))
    space, _ = subspace.subspaces(Dense(rng.dirichlet(np.ones(4), 80) @ spectra), 4)
    polytope = subspace.polytope(space, 3.0)
    listed = subspace.corners(polytope, rng)
    monkeypatch.setattr(subspace, "MOST_ENUMERATED", 2)
    searched = subspace.corners(polytope, rng)
    apart = np.linalg.norm(searched[:, None] - listed[None], axis=2).min(axis=1)
    assert len(searched) >= 4 and apart.max() < 1e-5 * np.linalg.norm(polytope.frame)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("on", ["spectra", "maps"])
def test_signals_lazy_counts_and_masks_give_the_same_answer(on):
    import dask.array as da

    phantom = em.synthetic.plan_view((16, 12), channels=128, dose=2000)
    cube, left_out = phantom.data, np.zeros((16, 12), bool)
    left_out[3, 4] = left_out[10, 2] = True
    model = em.SubspaceSampling(3, on=on, random_state=0)
    plain = model.fit(cube).components_
    kinds = [(phantom.signal, {}), (da.from_array(cube, chunks=(4, 12, 128)), {})]
    kinds += [(sparse.csr_array(cube.reshape(-1, 128)), {"domain": (16, 12)})]
    for X, options in kinds:
        np.testing.assert_allclose(model.fit(X, **options).components_, plain, atol=1e-6)
    spoilt = cube.copy()
    spoilt[left_out] = 99
    masked = model.fit(spoilt, mask=left_out)
    angle = em.spectral_angle(masked.components_[:, None], plain[None]).min(axis=1)
    assert np.isnan(masked.maps_[left_out]).all() and angle.max() < 1


def test_vertex_components_search_among_samples():
    phantom = em.synthetic.plan_view((24, 24), channels=512)
    vca = em.VCA(3, sampling=em.SubspaceSampling(), random_state=0).fit(phantom.data)
    assert angles(vca, phantom).max() < 1 and vca.unique_


def test_answers_start_a_factorisation():
    phantom = em.synthetic.plan_view((24, 24), channels=512)
    sss = em.SubspaceSampling(3, random_state=0)
    nmf = em.NMF(3, init=sss, loss=em.PoissonScaled(), random_state=0).fit(phantom.data)
    assert angles(nmf, phantom).max() < 1.5
    free = em.NMF(3, init=em.VCA(random_state=0), max_iter=1, maps=em.SumToOne(), compress=False)
    with pytest.warns(UserWarning):
        assert free.fit(phantom.data).components_.min() >= 0
    with pytest.raises(ValueError, match="finds 2 components and the model has 3"):
        em.NMF(3, init=em.VCA(2)).fit(phantom.data)


@pytest.mark.parametrize("method", ["vca", "spa", "nfindr", "sss"])
def test_command_line_and_folder_keep_what_the_library_finds(method, tmp_path, capsys):
    from endmember.cli import main

    file, folder = tmp_path / "films.hspy", tmp_path / "found"
    phantom = em.synthetic.plan_view((10, 8), channels=128, dose=2000)
    phantom.signal.save(file)
    words = ["unmix", str(file), "-k", "3", "--method", method, "-o", str(folder)]
    assert main(words) == 0
    assert "3 components by" in capsys.readouterr().out
    found = em.open(folder)
    again = found.reproduce(phantom.signal)
    np.testing.assert_allclose(found.spectra.data, again.spectra.data, rtol=1e-9, atol=1e-12)
    text = (folder / "report.html").read_text()
    assert found.model.references[0].split(",")[0] in text
    if method == "sss":
        assert found.model.unique_ == again.model.unique_
    else:
        np.testing.assert_array_equal(found.model.pixels_, again.model.pixels_)
        y, x = np.unravel_index(found.model.pixels_[0], (10, 8))
        assert f"pixels ({y}, {x})" in text
    assert main([*words, "--overwrite", "--sparse", "0.1"]) == 2
    assert f"--method {method} takes no --sparse" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (em.VCA(), r"say how many; em\.assess\.rank\(X\) suggests"),
        (em.SPA(0), "at least 1"),
        (em.VCA(2, noise="loud"), 'allowed: "auto", "low", "high"'),
        (em.VCA(2, segments=0), "segments=0"),
        (em.VCA(2, n_starts=0), "n_starts=0"),
        (em.VCA(2, sampling=em.SubspaceSampling(), closure=True), "leave one of them out"),
        (em.NFINDR(2, noise=-1), "noise=-1"),
        (em.SPA(2, closure="yes"), "allowed: True, False"),
        (em.SubspaceSampling(2, on="pixels"), '"spectra", "maps"'),
        (em.SubspaceSampling(2, sampler="gibbs"), '"hit-and-run"'),
        (em.SubspaceSampling(2, slack=0), "slack=0 must be a positive number"),
        (em.NFINDR(50), "n_components=50 is more"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(model, words):
    with pytest.raises(ValueError, match=words):
        model.fit(np.random.default_rng(0).random((30, 20)))


def test_weights_of_entries_are_refused():
    X = np.random.default_rng(0).random((30, 20))
    for model in (*METHODS.values(), SAMPLING):
        with pytest.raises(ValueError, match="takes no weights"):
            model.fit(X, weights=np.ones(X.shape))


@pytest.mark.parametrize(
    "model", [em.VCA(3, random_state=0), em.SPA(3), em.NFINDR(3, random_state=0)]
)
def test_an_answer_is_unique_where_every_component_has_a_pixel_of_its_own(model):
    fractions = np.vstack([np.eye(3), np.full((2, 3), 1 / 3), [[0.5, 0.5, 0]]])
    spectra = np.array([[4.0, 1, 0, 1], [0, 3, 1, 2], [1, 0, 5, 1]])
    assert model.fit(fractions @ spectra).unique_ is True
    spectra[2] = spectra[0] + spectra[1]
    assert model.fit(fractions @ spectra).unique_ is False
