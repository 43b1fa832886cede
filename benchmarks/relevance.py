"""How many of ten components relevance determination keeps, on two phantoms with a known answer.

python benchmarks/relevance.py                    every block, few seeds
python benchmarks/relevance.py diode --seeds 20   one block: diode, manganese or clipped
ENDMEMBER_DATA=FOLDER python benchmarks/relevance.py manganese
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.io import loadmat

import endmember as em

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
LEVELS = (0.1, 0.125, 0.15, 0.2)


def reduced(X, weight, mode, seed):
    """Fit ten components and let relevance determination choose."""
    penalties = [em.SoftOrthogonal(weight), em.Relevance(mode=mode)]
    return em.NMF(10, maps=penalties, random_state=seed).fit(X)


def tally(kept):
    return ", ".join(f"{k} kept in {count}" for k, count in sorted(Counter(kept).items()))


def diode(seeds, noises):
    """Print how many are kept of the three of the diode, and by how much their spectra are off."""
    for noise in noises or (0.01, 0.03, 0.05):
        kept, worst = [], 0.0
        for seed in range(seeds):
            phantom = em.synthetic.diode(noise=noise, seed=seed)
            model = reduced(phantom.data, 0.01, "guarded", seed)
            kept.append(model.n_components_)
            if model.n_components_ == 3:
                order = em.match_components(model.components_, phantom.spectra)
                angles = em.spectral_angle(model.components_[order], phantom.spectra)
                worst = max(worst, float(angles.max()))
        print(
            f"diode, noise {noise:.0%}: {tally(kept)}; worst spectrum {worst:.2f} degrees",
            flush=True,
        )


def manganese(seeds, noises, clipped=False, modes=("guarded",)):
    """Print how many are kept of the two of the Mn3O4 phantom, with noise as it is or cut off at 0."""
    clean = loadmat(DATA / "phantoms" / "Mn3O4_theory.mat")["datar"][..., 36:116]
    clean = clean / clean.max()
    for mode in modes:
        for level in noises or LEVELS:
            kept = []
            for seed in range(seeds):
                X = clean + level * np.random.default_rng(seed).standard_normal(clean.shape)
                X = np.maximum(X, 0.0) if clipped else X
                kept.append(reduced(X, 0.05, mode, seed).n_components_)
            noise = f"noise {level}{' cut off at 0' if clipped else ''}"
            print(f"Mn3O4, {noise}, {mode}: {tally(kept)}", flush=True)


def main():
    warnings.simplefilter("ignore")
    blocks = {
        "diode": diode,
        "manganese": manganese,
        "clipped": lambda seeds, noises: manganese(seeds, noises, True, ("guarded", "published")),
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("block", nargs="?", choices=blocks, help="every block unless given")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noises", type=float, nargs="+", help="the usual ones unless given")
    given = parser.parse_args()
    for name, block in blocks.items():
        if given.block in (None, name):
            block(given.seeds, given.noises)


if __name__ == "__main__":
    main()
