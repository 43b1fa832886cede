"""By what factor an image beside spectra, or a sampled scan, changes the dose that maps need.

``python benchmarks/dose.py`` prints the table of the page "How little dose is enough"; ``--quick`` takes 3 seeds of 20.
A dose factor is the squared ratio of the errors of maps without and with the help, at one dose.

The rules for images were chosen on scenes of the same function, of another size: other scenes may fare worse.
"""

import sys
import warnings

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
    for share in (0.1, 0.2, 0.3):
        found = [sampled(3, seed, share) for seed in seeds]
        print(
            f"| {share:.0%} of the pixels, error | 3 | {np.median(found):.2f} | {max(found):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
