"""By what factor an image beside spectra, or a sampled scan, changes the dose that maps need.

``python benchmarks/dose.py`` prints the table of the page "How little dose is enough"; ``--quick`` takes 3 seeds of 20.
A dose factor is the squared ratio of the errors of maps without and with the help, at one dose. The published cubes
are read from the folder that ENDMEMBER_DATA names, and left out without.

The rules for images were chosen on scenes of the same function, of another size: other scenes may fare worse.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np

import endmember as em

SHAPE, CHANNELS, DOSE, NOISE = (32, 32), 96, 10, 0.02
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
LIES = {
    "honest": lambda image: image,
    "power of 1.6": lambda image: image**1.6,
    "a thickness step": lambda image: image * np.where(SHAPE[1] // 2 > X, 1.0, 1.5),
    "carbon": lambda image: image + 0.5 * np.exp(-((Y - 10) ** 2 + (X - 20) ** 2) / 72),
}


def error(maps, truth):
    """Return the relative error of maps, each at its best scale."""
    C, T = (F.reshape(-1, F.shape[-1]) for F in (maps, truth))
    C = C[:, em.match_components(C.T, T.T)]
    C = C * np.sum(C * T, axis=0) / np.maximum(np.sum(C * C, axis=0), 1e-300)
    return np.linalg.norm(C - T) / np.linalg.norm(T)


def scene(k, seed, dose=DOSE, blobs=False):
    """Return counts and the truth: minerals that mix smoothly, or single-pixel precipitates of the last phase."""
    phantom = em.synthetic.edxs_phases(SHAPE, channels=CHANNELS, k=k, dose=dose, seed=seed)
    if not blobs:
        return np.asarray(phantom.signal.data), phantom.maps
    rng = np.random.default_rng(seed)
    maps = np.zeros((*SHAPE, k))
    maps[..., 0] = 1.0
    maps[rng.random(SHAPE) < 0.05] = np.eye(k)[-1]
    maps[: SHAPE[0] // 3, :, 1 % (k - 1)] += maps[: SHAPE[0] // 3, :, 0]
    maps[: SHAPE[0] // 3, :, 0] = 0.0 if k > 2 else maps[: SHAPE[0] // 3, :, 0]
    expected = maps @ phantom.spectra
    return rng.poisson(expected * dose / expected.max()).astype(np.uint16), maps


def grains(k, seed, dose=DOSE):
    """Return counts and the truth: eight grains with sharp edges, each of one mineral alone."""
    phantom = em.synthetic.edxs_phases(SHAPE, channels=CHANNELS, k=k, dose=dose, seed=seed)
    rng = np.random.default_rng(seed)
    centres = rng.random((8, 2)) * SHAPE
    nearest = np.argmin(
        (Y[..., None] - centres[:, 0]) ** 2 + (X[..., None] - centres[:, 1]) ** 2, axis=-1
    )
    maps = np.eye(k)[np.arange(8) % k][nearest]
    expected = maps @ phantom.spectra
    return rng.poisson(expected * dose / expected.max()).astype(np.uint16), maps


def with_neighbours(k, seed):
    """Return the dose factors on grains with sharp edges: neighbours alone, an honest image, and both."""
    counts, truth = grains(k, seed)
    image = truth @ np.linspace(0.4, 1.0, k)
    image = image + NOISE * np.ptp(image) * np.random.default_rng(seed).standard_normal(SHAPE)
    tested, smooth = em.Absent("auto"), [em.Absent("auto"), em.Smooth("auto")]
    alone = em.NMF(k, loss=em.PoissonScaled(), maps=tested, n_starts=4, random_state=0)
    both = em.Coupled(k, n_starts=2, random_state=0)
    helped = [
        em.NMF(k, loss=em.PoissonScaled(), maps=smooth, n_starts=4, random_state=0).fit(counts),
        both.fit([counts, image]),
    ]
    errors = [error(model.maps_, truth) for model in helped]
    errors.append(error(both.set_params(maps=smooth).fit([counts, image]).maps_, truth))
    return (error(alone.fit(counts).maps_, truth) / np.array(errors)) ** 2


def few_counts(seed):
    """Return the angle of the worst spectrum at two counts in the brightest voxel, plain and with zeros tested."""
    phantom = em.synthetic.edxs_phases((64, 64), k=3, dose=2, seed=seed)
    angles = []
    for maps in (None, em.Absent("auto")):
        model = em.NMF(3, loss=em.Poisson(), maps=maps, random_state=0).fit(phantom.data)
        order = em.match_components(model.components_, phantom.spectra)
        angles.append(em.spectral_angle(model.components_[order], phantom.spectra).max())
    return angles


def published(folder):
    """Return the errors of the maps of the published cubes with drift: zeros tested, and with neighbours."""
    stored = np.load(Path(folder, "phantoms", "oxide_interface_dose200.npz"))
    errors = []
    for seed in range(3):
        cube, truth = (stored[f"{what}_drift1_5_seed{seed}"] for what in ("cube", "maps"))
        for maps in (em.Absent("auto"), [em.Absent("auto"), em.Smooth("auto")]):
            model = em.NMF(3, loss=em.PoissonScaled(), maps=maps, random_state=0)
            errors.append(error(model.fit(cube).maps_, truth))
    return np.reshape(errors, (3, 2))


def beside(k, seed, lie, blobs=False):
    """Return the dose factor of an image beside the counts."""
    counts, truth = scene(k, seed, blobs=blobs)
    image = lie(truth @ np.linspace(0.4, 1.0, k))
    image = image + NOISE * np.ptp(image) * np.random.default_rng(seed).standard_normal(SHAPE)
    model = em.NMF(k, loss=em.PoissonScaled(), maps=em.Absent("auto"), n_starts=4, random_state=0)
    both = em.Coupled(k, n_starts=2, random_state=0).fit([counts, image])
    return (error(model.fit(counts).maps_, truth) / error(both.maps_, truth)) ** 2


def sampled(k, seed, share):
    """Return the error from a share of the pixels over that of the full scan of the same total dose."""
    (full, truth), (few, _) = scene(k, seed), scene(k, seed, DOSE / share)
    measured = np.random.default_rng(seed).random(SHAPE) < share
    model = em.NMF(k, loss=em.PoissonScaled(), maps=em.Smooth("auto"), n_starts=4, random_state=0)
    whole = error(model.fit(full).maps_, truth)
    return error(model.fit(few, mask=~measured).maps_, truth) / whole


def main():
    """Print the table."""
    warnings.simplefilter("ignore")
    seeds = range(3 if "--quick" in sys.argv else 20)
    print("| | phases | median | worst |\n|---|---|---|---|")
    for k in (2, 3):
        for name, lie in LIES.items():
            found = [beside(k, seed, lie) for seed in seeds]
            print(
                f"| image, {name} | {k} | {np.median(found):.2f} | {min(found):.2f} |", flush=True
            )
        found = [beside(k, seed, LIES["honest"], blobs=True) for seed in seeds]
        print(
            f"| image, single pixels | {k} | {np.median(found):.2f} | {min(found):.2f} |",
            flush=True,
        )
        found = np.array([with_neighbours(k, seed) for seed in seeds])
        for name, factors in zip(("neighbours", "image", "both"), found.T, strict=True):
            middle, worst = np.median(factors), factors.min()
            print(f"| grains, {name} | {k} | {middle:.2f} | {worst:.2f} |", flush=True)
    found = np.array([few_counts(seed) for seed in seeds])
    for name, angles in zip(("plain", "zeros tested"), found.T, strict=True):
        print(f"| 2 counts, {name}, degrees | 3 | {np.median(angles):.1f} | {angles.max():.1f} |")
    if folder := os.environ.get("ENDMEMBER_DATA"):
        for name, errors in zip(("tested", "with neighbours"), published(folder).T, strict=True):
            middle, worst = np.median(errors), errors.max()
            print(
                f"| published, zeros {name}, error | 3 | {middle:.3f} | {worst:.3f} |", flush=True
            )
    for share in (0.1, 0.2, 0.3):
        found = [sampled(3, seed, share) for seed in seeds]
        print(
            f"| {share:.0%} of the pixels, error | 3 | {np.median(found):.2f} | {max(found):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
