"""Bands, error bars and comparison against the truth.

python benchmarks/doubts.py             every block
python benchmarks/doubts.py coverage    one of: closed inside collapse shared large coverage known
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

import endmember as em


def scene(k, seed, channels=60, pixels=300, floor=0.1):
    """Overlapped spectra of unit sum, and mixed pixels, none of them pure."""
    rng = np.random.default_rng(seed)
    energy, centres = np.arange(channels), np.linspace(0.25, 0.75, k) * channels
    width = 0.3 * channels / k
    peaks = np.exp(-0.5 * ((energy - centres[:, None]) / width) ** 2) + 0.02 * rng.random((k, 1))
    maps = rng.dirichlet([0.6] * k, pixels) * (1 - floor) + floor / k
    return maps, peaks / peaks.sum(axis=1, keepdims=True)


def inside(k, seed):
    """Share of the entries of spectra and maps where the truth lies within the bands."""
    maps, spectra = scene(k, seed)
    X = maps @ spectra
    model = em.NMF(k, random_state=seed, max_iter=300).fit(X)
    bands = em.assess.ambiguity(model, X)
    order = em.match_components(model.components_, spectra)
    hits = (bands.spectra_low[order] <= spectra) & (spectra <= bands.spectra_high[order])
    low, high = bands.maps_low[:, order], bands.maps_high[:, order]
    return hits.mean(), ((low <= maps) & (maps <= high)).mean(), bands.angle.max()


def show_closed(seeds):
    """Two components: the bands against the closed form of Lawton and Sylvestre."""
    worst = 0.0
    for seed in range(seeds):
        maps, spectra = scene(2, seed)
        X = maps @ spectra
        U, sizes, V = np.linalg.svd(X, full_matrices=False)
        sign = np.sign(V[0].sum())
        w, v = U[:, :2] * sizes[:2] * [sign, 1], V[:2] * [[sign], [1]]
        slope, score = v[1] / v[0], w[:, 1] / w[:, 0]
        outer = max(-1 / slope[slope > 0]), min(-1 / slope[slope < 0])
        bands = em.assess.ambiguity(em.NMF(2, random_state=0, tol=1e-9).fit(X), X)
        ends = [
            np.array([v[0] + t * v[1] for t in pair])
            for pair in ((outer[0], score.min()), (score.max(), outer[1]))
        ]
        ends = [np.sort(pair / pair.sum(axis=1, keepdims=True), axis=0) for pair in ends]
        order = em.match_components(bands.spectra, np.array([pair.mean(axis=0) for pair in ends]))
        for j, (low, high) in zip(order, ends, strict=True):
            gaps = (bands.spectra_low[j] - low, bands.spectra_high[j] - high)
            worst = max(worst, *(np.abs(gap).max() for gap in gaps))
    print(f"k = 2: bands from the closed form by at most {worst:.1e} over {seeds} seeds")


def show_inside(seeds):
    """Truth within the bands, without noise."""
    for k in (2, 3, 4):
        found = np.array([inside(k, seed) for seed in range(seeds)])
        print(
            f"k = {k}: truth inside at {100 * found[:, 0].mean():.2f} % of the entries of spectra (worst seed "
            f"{100 * found[:, 0].min():.2f} %), {100 * found[:, 1].mean():.2f} % of maps (worst "
            f"{100 * found[:, 1].min():.2f} %); other spectra up to {np.median(found[:, 2]):.0f}° away (median)"
        )


def show_collapse(seeds):
    """Pure pixels and exclusive channels leave nothing free."""
    for k in (2, 3, 4):
        worst = 0.0
        for seed in range(seeds):
            maps, spectra = scene(k, seed)
            maps, spectra = np.vstack([maps, np.eye(k)]), np.hstack([spectra, np.eye(k)])
            X = maps @ spectra
            bands = em.assess.ambiguity(em.NMF(k, random_state=seed).fit(X), X)
            worst = max(worst, np.max(bands.spectra_high - bands.spectra_low))
        print(
            f"k = {k}: widest band with pure pixels and exclusive channels {worst:.1e}, {seeds} seeds"
        )


def show_shared(seeds):
    """EELS with a background that all components share: starts that fit equally well, and the bands."""
    phantom = em.synthetic.mixed_phases((32, 32), channels=256, k=3, background=True, pure=False)
    fits = [
        em.NMF(3, init="random", n_starts=1, random_state=seed).fit(phantom.data)
        for seed in range(seeds)
    ]
    cost = [np.sqrt(np.mean((phantom.data - f.inverse_transform(f.maps_)) ** 2)) for f in fits]
    equal = [f for f, c in zip(fits, cost, strict=True) if c < 1.001 * min(cost)]
    apart = [
        em.spectral_angle(
            b.components_[em.match_components(b.components_, a.components_)], a.components_
        ).max()
        for i, a in enumerate(equal)
        for b in equal[:i]
    ]
    bands = em.assess.ambiguity(fits[int(np.argmin(cost))], phantom.data)
    print(
        f"shared background: {len(equal)} of {seeds} random starts within 0.1 % of the lowest misfit, spectra "
        f"{np.median(apart):.1f}° apart (median of pairs), up to {max(apart):.1f}°; the bands say up to "
        f"{bands.angle.max():.1f}° for one answer, width {bands.width.max():.2f} of its area"
    )


def show_large(_):
    """Four components on a large cube."""
    phantom = em.synthetic.mixed_phases((128, 128), channels=1024, k=4)
    model = em.NMF(4, random_state=0, n_starts=2).fit(phantom.data)
    began = time.perf_counter()
    bands = em.assess.ambiguity(model, phantom.data)
    seconds = time.perf_counter() - began
    print(f"128 x 128 x 1024, k = 4: bands in {seconds:.1f} s, up to {bands.angle.max():.1f}° away")


def pure_scene():
    """Maps with pure pixels and spectra with exclusive channels, of unit length."""
    rng = np.random.default_rng(3)
    maps = rng.dirichlet([0.5] * 3, 400)
    maps[:30] = np.eye(3).repeat(10, axis=0)
    energy = np.arange(45)
    spectra = np.exp(-0.5 * ((energy - np.array([[10], [22], [34]])) / 4) ** 2)
    spectra[spectra < 0.02] = 0.0
    return maps, spectra / np.linalg.norm(spectra, axis=1, keepdims=True)


def show_coverage(seeds):
    """Truth within one standard error, at entries three errors above zero; bound over observed variance."""
    maps, S = pure_scene()
    for kind, scale, loss in (("Gaussian", 60.0, None), ("Poisson", 200.0, em.Poisson())):
        C = scale * maps
        hits, found, bound = [[], []], [[], []], [[], []]
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            mean = C @ S
            X = mean + 2 * rng.standard_normal(mean.shape) if loss is None else rng.poisson(mean)
            model = em.NMF(3, loss=loss, init=(C, S), tol=1e-8).fit(X)
            errors = em.assess.uncertainty(model, X)
            pairs = (
                (model.components_, S, errors.spectra, errors.spectra_at_zero),
                (model.maps_, C, errors.maps, errors.maps_at_zero),
            )
            for i, (value, true, error, at_zero) in enumerate(pairs):
                clear = (true > 3 * error) & ~at_zero
                hits[i].append((np.abs(value - true) <= error)[clear])
                found[i].append(value)
                bound[i].append(error)
        for i, name in enumerate(("spectra", "maps")):
            covered = np.mean(np.concatenate(hits[i]))
            variance, limit = np.var(found[i], axis=0, ddof=1), np.mean(np.square(bound[i]), axis=0)
            clear = (S if i == 0 else C) > 5 * np.sqrt(limit)
            efficiency = limit[clear].sum() / variance[clear].sum()
            print(
                f"{kind:8} {name:7}: coverage {100 * covered:.1f} %, efficiency (bound / observed variance) "
                f"{efficiency:.3f}, {seeds} seeds"
            )


def show_known(_):
    """Known spectra: the errors are those of multiple linear least squares."""
    maps, S = pure_scene()
    X = 60 * maps @ S + 2 * np.random.default_rng(0).standard_normal((400, 45))
    model = em.NMF(3, spectra=em.Known(dict(enumerate(S))), normalise=None).fit(X)
    errors = em.assess.uncertainty(model, X)
    free = (model.maps_ > 0).all(axis=1)
    residual = X - model.inverse_transform(model.maps_)
    variance = np.sum(residual**2) / (X.size - np.count_nonzero(model.maps_))
    expected = np.sqrt(variance * np.diag(np.linalg.inv(S @ S.T)))
    gap = np.abs(errors.maps[free] / expected - 1).max()
    print(f"known spectra: errors of maps within {gap:.1e} (relative) of linear least squares")


if __name__ == "__main__":
    blocks = {
        name.removeprefix("show_"): value
        for name, value in list(globals().items())
        if name.startswith("show_")
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("block", nargs="?", choices=blocks)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, block in blocks.items():
        if given.block in (None, name):
            block(given.seeds)
