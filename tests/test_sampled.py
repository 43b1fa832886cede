"""Sampled scans: spectra from the pixels that were measured, maps everywhere, errors where something was."""

import dask.array as da
import numpy as np
import pytest
from scipy import sparse

import endmember as em
from endmember.cli import main
from endmember.factor.data import filled_in

SHAPE = (24, 24)
MODEL = {"loss": em.PoissonScaled(), "maps": em.Smooth(0.001), "n_starts": 3, "random_state": 0}


def scene(dose, seed):
    phantom = em.synthetic.edxs_phases((48, 48), channels=128, k=3, dose=dose, seed=seed)
    return np.asarray(phantom.signal.data), phantom.maps


def error_of(maps, truth):
    """The relative error of maps, each at its best scale, in the order of the truth."""
    A, T = (F.reshape(-1, 3) for F in (maps, truth))
    order = em.match_components(A.T, T.T)
    A = A[:, order]
    A = A * np.sum(A * T, axis=0) / np.sum(A**2, axis=0)
    return np.linalg.norm(A - T) / np.linalg.norm(T)


@pytest.fixture(scope="module")
def sampled():
    X = np.asarray(em.synthetic.edxs_phases(SHAPE, channels=96, k=3, dose=100, seed=0).signal.data)
    keep = np.random.default_rng(0).random(SHAPE) < 0.3
    return X, keep, em.NMF(3, **MODEL).fit(X, mask=~keep)


def test_gaps_are_filled_within_the_range_of_what_is_around_them():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :30] / 10
    maps = np.stack([np.sin(x) + np.cos(y), np.ones_like(x)], axis=-1)
    holed = np.where(rng.random(x.shape)[..., None] < 0.3, maps, np.nan)
    filled, known = filled_in(holed), np.isfinite(holed)
    assert np.array_equal(filled[known], holed[known])
    assert np.all(filled >= np.nanmin(holed, axis=(0, 1))) and np.all(
        filled <= np.nanmax(holed, axis=(0, 1))
    )
    assert np.abs(filled[..., 1] - 1).max() < 1e-5
    assert np.sqrt(np.mean((filled - maps)[..., 0] ** 2)) < 0.02 * np.std(maps[..., 0])


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_a_sampled_scan_is_as_good_as_a_full_one_of_the_same_total_dose(share):
    ratios = []
    for seed in range(3):
        full, truth = scene(30, seed)
        few, _ = scene(30 / share, seed)
        keep = np.random.default_rng(seed).random(truth.shape[:2]) < share
        whole = em.NMF(3, **MODEL).fit(full).maps_
        ratios.append(
            error_of(em.NMF(3, **MODEL).fit(few, mask=~keep).maps_, truth) / error_of(whole, truth)
        )
    assert np.median(ratios) <= 1.2


@pytest.mark.parametrize("given", ["weights", "sparse", "lazy", "zeros", "other penalty", "fusion"])
def test_maps_go_on_whatever_holds_the_data(sampled, given):
    X, keep, model = sampled
    data, options, own = X, {"mask": ~keep}, MODEL
    if given == "weights":
        options = {"weights": keep.astype(float)}
    elif given == "sparse":
        data, options = sparse.csr_array(X.reshape(-1, 96)), options | {"domain": SHAPE}
    elif given == "lazy":
        data = da.from_array(X, chunks=(8, 8, 96))
    elif given == "zeros":
        data = np.where(keep[..., None], X, 0)
    elif given == "other penalty":
        own = {"maps": em.TotalVariation(1e-4), "n_starts": 2, "random_state": 0}
    if given == "fusion":
        C, S = em.Factor(3, em.Smooth(0.001)), em.Factor(3)
        term = em.Term(data, C, S, mask=~keep)
        maps = em.Fusion([term], n_starts=3, random_state=0).fit()[C]
        assert np.isfinite(maps).all()
        return
    maps = em.NMF(3, **own).fit(data, **options).maps_
    assert np.isfinite(maps).all() and (maps[~keep].sum(axis=-1) > 0).mean() > 0.99
    if given != "other penalty":
        assert np.allclose(maps, model.maps_, atol=1e-6 * model.maps_.max())


def test_errors_say_where_nothing_was_measured(sampled):
    X, keep, model = sampled
    errors = em.assess.uncertainty(model, X, mask=~keep)
    assert np.array_equal(np.isfinite(errors.maps).all(axis=-1), keep)


def test_without_neighbours_maps_end_where_nothing_was_measured(sampled):
    X, keep, _ = sampled
    for options in ({"mask": ~keep}, {"weights": keep.astype(float)}):
        maps = em.NMF(3, n_starts=2, random_state=0).fit(X, **options).maps_
        assert np.array_equal(np.isfinite(maps).all(axis=-1), keep)


def test_info_tells_a_sampled_scan_and_its_command_fills_it(sampled, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, keep, _ = sampled
    signal = em.synthetic.edxs_phases(SHAPE, channels=96, k=3, dose=100, seed=0).signal
    for name, data in (
        ("zeros", X * keep[..., None]),
        ("nan", np.where(keep[..., None], X, np.nan)),
    ):
        signal.data = data
        signal.save(f"{name}.hspy")
        assert main(["info", f"{name}.hspy"]) == 0
        said = capsys.readouterr().out
        assert "of the pixels are empty" in said and "--missing empty --smooth" in said
    words = [
        "unmix",
        "zeros.hspy",
        "-k",
        "3",
        "--missing",
        "empty",
        "--smooth",
        "0.001",
        "-o",
        "kept",
    ]
    assert main(words) == 0
    result = em.open("kept")
    assert np.isfinite(result.maps.data).all() and (result.maps.data.sum(axis=0) > 0).all()
    assert "filled in" in (tmp_path / "kept" / "report.html").read_text()
    low = em.synthetic.edxs_phases(SHAPE, channels=96, k=3, dose=0.03, seed=0).signal
    low.save("low.hspy")
    main(["info", "low.hspy"])
    assert "of the pixels are empty" not in capsys.readouterr().out  # as many as chance leaves so
