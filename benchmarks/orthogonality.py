"""Soft orthogonality on the three layers of the article's Fig. 3, where the truth is known.

python benchmarks/orthogonality.py             every block, few seeds
python benchmarks/orthogonality.py layers --seeds 20
python benchmarks/orthogonality.py path
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

import endmember as em

NOISES = (0.01, 0.03, 0.05)
WEIGHTS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def angles(spectra, truth):
    return em.spectral_angle(spectra[em.match_components(spectra, truth)], truth)


def overlap(maps):
    C = maps.reshape(-1, maps.shape[-1])
    C = C / np.linalg.norm(C, axis=0)
    return (C.T @ C)[np.triu_indices(C.shape[1], 1)].mean()


def layers(seeds, rules):
    """Largest angle of any spectrum and mean overlap of the maps, worst of all seeds."""
    modes = {
        "none, HALS": {"solver": em.HALS()},
        "none, default": {},
        "shiga 0.01": {"maps": em.SoftOrthogonal(0.01)},
        "exact 0.01": {"maps": em.SoftOrthogonal(0.01, "exact")},
        "penalty 0.1": {"maps": em.SoftOrthogonal(0.1, "penalty")},
    }
    print(f"{'rule':14} noise  angle: median   worst   overlap: worst   sweeps")
    for name, options in modes.items():
        if rules and not name.startswith(tuple(rules)):
            continue
        for noise in NOISES:
            rows = []
            for seed in range(seeds):
                phantom = em.synthetic.diode(noise=noise, seed=seed)
                model = em.NMF(3, random_state=seed, **options).fit(phantom.data)
                worst = angles(model.components_, phantom.spectra).max()
                rows.append((worst, overlap(model.maps_), model.n_iter_))
            worst, overlaps, sweeps = np.array(rows).T
            print(
                f"{name:14} {noise:4.0%}  {np.median(worst):12.2f}° {worst.max():7.2f}° "
                f"{overlaps.max():14.3f} {np.median(sweeps):9.0f}",
                flush=True,
            )


def counts(seeds, rules):
    """Largest angle of any spectrum under Poisson noise, median and worst of all seeds."""
    penalties = {
        "none": None,
        "shiga 0.1": em.SoftOrthogonal(0.1),
        "exact 0.1": em.SoftOrthogonal(0.1, "exact"),
        "exact 1": em.SoftOrthogonal(1.0, "exact"),
    }
    phantom = em.synthetic.diode(shape=(24, 24), channels=80, noise=0.0)
    clean = np.maximum(phantom.data, 0) / phantom.data.mean()
    for name, penalty in penalties.items():
        if rules and not name.startswith(tuple(rules)):
            continue
        for dose in (30, 100, 300):
            worst = []
            for seed in range(seeds):
                X = np.random.default_rng(seed).poisson(clean * dose)
                nmf = em.NMF(3, loss=em.Poisson(), maps=penalty, n_starts=3, random_state=seed).fit(
                    X
                )
                worst.append(angles(nmf.components_, phantom.spectra).max())
            print(
                f"{name:14} {dose:4} counts a channel: {np.median(worst):6.2f}° {max(worst):6.2f}°",
                flush=True,
            )


def path(seeds, rules):
    """The weight that the path suggests, and what it gives."""
    for noise in NOISES:
        for seed in range(max(1, seeds // 4)):
            phantom = em.synthetic.diode(noise=noise, seed=seed)
            nmf = em.NMF(3, maps=em.SoftOrthogonal(), random_state=0)
            found = em.assess.path(nmf, phantom.data, "maps__weight", WEIGHTS)
            spectra = found.spectra[list(found.values).index(found.suggested)]
            print(
                f"noise {noise:.0%}, seed {seed}: w = {found.suggested:g}, "
                f"largest angle {angles(spectra, phantom.spectra).max():.2f}°"
            )


if __name__ == "__main__":
    blocks = {"layers": layers, "counts": counts, "path": path}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", nargs="?", choices=blocks)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument(
        "--rules", nargs="+", help="beginnings of names, such as shiga; all unless given"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, block in blocks.items():
        if arguments.block in (None, name):
            print(f"== {name}: {block.__doc__}")
            block(arguments.seeds, arguments.rules)
