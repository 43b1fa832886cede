"""How well pixels that are no mixture are found: hits, false alarms, and what is found where nothing is odd.

python benchmarks/anomalies.py [--seeds 20]
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from scipy.ndimage import shift
from sklearn.metrics import roc_auc_score

import endmember as em

SHARE = 0.005  # of the pixels
MOVED = 0.5  # eV


def planted(dose, seed):
    """Four oxides of which one pixel in two hundred has its edges moved; counts, and which pixels."""
    phantom = em.synthetic.mixed_phases((64, 64), channels=512, k=4, dose=dose, seed=seed)
    rng = np.random.default_rng(seed + 100)
    odd = rng.random((64, 64)) < SHARE
    channels = MOVED / (phantom.energy[1] - phantom.energy[0])
    moved = shift(phantom.spectra, (0, channels), order=1, mode="nearest")
    clean = phantom.maps @ phantom.spectra
    clean[odd] = phantom.maps[odd] @ moved
    return rng.poisson(clean), odd


def fitted(data, k, loss):
    return em.NMF(k, loss=loss, maps=em.Absent("auto"), random_state=0).fit(data)


ORDINARY = {
    "EDXS, 2 counts": lambda seed: em.synthetic.edxs_phases((64, 64), 512, k=3, dose=2, seed=seed),
    "EDXS, 5 counts": lambda seed: em.synthetic.edxs_phases((64, 64), 512, k=3, dose=5, seed=seed),
    "EDXS, 100 counts": lambda seed: em.synthetic.edxs_phases(
        (64, 64), 512, k=3, seed=seed, dose=100
    ),
    "EELS with background, 100 counts": lambda seed: em.synthetic.mixed_phases(
        (64, 64), channels=256, k=3, dose=100, background=True, seed=seed
    ),
    "diode": lambda seed: em.synthetic.diode(seed=seed),
}


def main(seeds):
    warnings.simplefilter("ignore")
    print(
        "| counts | area under the curve, median (least) | found | false share |\n|---|---|---|---|"
    )
    for dose in (100, 300, 1000):
        areas, hits, false = [], [], []
        for seed in range(seeds):
            data, odd = planted(dose, seed)
            answer = em.assess.anomalies(fitted(data, 4, em.PoissonScaled()), data)
            areas.append(roc_auc_score(odd.ravel(), answer.score.ravel()))
            hits.append(np.mean(answer.found[odd]))
            false.append(np.sum(answer.found & ~odd) / max(np.sum(answer.found), 1))
        print(
            f"| {dose} | {np.median(areas):.3f} ({min(areas):.3f}) | {np.mean(hits):.0%} | {np.mean(false):.3f} |"
        )
    print("\n| nothing odd | images with a pixel that is called so |\n|---|---|")
    for name, make in ORDINARY.items():
        called = 0
        for seed in range(seeds):
            phantom = make(seed)
            loss = em.SquaredError() if name == "diode" else em.PoissonScaled()
            model = fitted(phantom.data, phantom.maps.shape[-1], loss)
            called += bool(em.assess.anomalies(model, phantom.data).found.any())
        print(f"| {name} | {called} of {seeds} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    main(parser.parse_args().seeds)
