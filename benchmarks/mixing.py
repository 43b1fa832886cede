"""Mixed pixels and like spectra are the same data: how far each end of ``em.unmix`` is from each truth.

python benchmarks/mixing.py [--seeds 5]
"""

import argparse
import time

import numpy as np
from scoreboard import dose, errors, mixing, quiet, zeros_known

import endmember as em
from endmember.assess.opinions import second_opinions


def worst(scene, model, spectra):
    """The worst angle (deg) of the spectra of a model to those of one of the two truths."""
    scene.spectra = spectra
    return errors(scene, model.components_, model.maps_.reshape(-1, scene.k))[0].max()


def row(share, seed):
    """Angles to the like spectra of the default and with zeros known; to the distinct ones of the other end and NMF."""
    scene, pure = mixing(share, seed), dose(100, seed)
    distinct, mean = scene.spectra, pure.maps.mean(axis=(0, 1))
    like = (1 - share) * distinct + share * (mean @ distinct)
    with quiet():
        default = em.unmix(scene.data, n_components=3).model
        other = em.unmix(scene.data, n_components=3, assume="distinct_spectra").model
        plain = [
            em.NMF(3, loss=loss, random_state=0).fit(scene.data)
            for loss in (None, em.PoissonScaled())
        ]
        scene.maps, scene.spectra = pure.maps, like
        known = errors(scene, *zeros_known(scene))[0].max()
    return (
        worst(scene, default, like), known, worst(scene, other, distinct),
        *(worst(scene, one, distinct) for one in plain), other.mixed_,
        np.max(em.spectral_angle(like, distinct)),
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    heads = (
        "default to like",
        "zeros known",
        "distinct to distinct",
        "NMF",
        "NMF, counts",
        "share found",
        "between truths",
    )
    print(f"| mixed | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
    for share in (0.1, 0.3, 0.5):
        middle = np.median([row(share, seed) for seed in range(seeds)], axis=0)
        print(f"| {share:g} | {' | '.join(f'{value:.2f}' for value in middle)} |", flush=True)
    phantom = em.synthetic.mixed_phases((64, 64), 512, k=3, dose=100, seed=0)
    model = em.NMF(3, loss=em.PoissonScaled(), maps=em.Absent("auto"), random_state=0)
    observed = model.observed(phantom.signal)
    model.fit(observed)
    second_opinions(model, observed)  # imports what it needs
    begun = time.process_time()
    second_opinions(model, observed)
    print(
        f"Second opinions at 64 x 64 x 512: {time.process_time() - begun:.2f} s of processor time"
    )
