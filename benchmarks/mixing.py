"""Mixed pixels and like spectra are the same data: is each truth inside the bands, and is the angle between them named?

python benchmarks/mixing.py [--seeds 5]

How far each end of ``em.unmix`` is from each truth says benchmarks/scoreboard.py in its table "mixing".
"""

import argparse
import time

import numpy as np
from scoreboard import mixing, quiet

import endmember as em
from endmember.assess.opinions import second_opinions


def inside(bands, errors, model, scene):
    """Shares of entries of the true spectra and maps within the bands, and within these and two standard errors."""
    areas = scene.spectra.sum(axis=1, keepdims=True)
    spectra, maps = scene.spectra / areas, scene.maps * areas[:, 0]
    order, own = em.match_components(bands.spectra, spectra), model.components_.sum(axis=1)
    for widths in (0, 2):
        by = widths * (errors.spectra / own[:, None])[order]
        low, high = bands.spectra_low[order] - by, bands.spectra_high[order] + by
        yield np.mean((low <= spectra) & (spectra <= high))
        by = widths * errors.maps * own
        low, high = (M[..., order] for M in (bands.maps_low - by, bands.maps_high + by))
        yield np.mean((low <= maps) & (maps <= high))


def row(share, seed):
    """Angle between both truths, angle named, share of the mean that was found; shares of entries inside."""
    mixed, like = mixing(share, seed), mixing(f"{share} alike", seed)
    with quiet():
        ends = [
            em.unmix(mixed.data, n_components=3, assume=end).model
            for end in ("pure_maps", "distinct_spectra")
        ]
        first, other = ends
        order = em.match_components(other.components_, first.components_)
        named = em.spectral_angle(other.components_[order], first.components_).max()
        said = []
        for model, scene in zip(ends, (like, mixed), strict=True):
            bands = em.assess.ambiguity(model, mixed.data)
            errors = em.assess.uncertainty(model, mixed.data)
            said += inside(bands, errors, model, scene)
    return np.max(em.spectral_angle(like.spectra, mixed.spectra)), named, other.mixed_, *said


def cost():
    """Seconds of processor time of one fit at 64 x 64 x 512: plain NMF, with tested zeros, second opinions."""
    data = em.synthetic.mixed_phases((64, 64), 512, k=3, dose=100, seed=0).signal
    plain = em.NMF(3, loss=em.PoissonScaled(), random_state=0)
    tested = em.NMF(3, loss=em.PoissonScaled(), maps=em.Absent("auto"), random_state=0)
    observed = tested.observed(data)
    calls = (
        lambda: plain.fit(observed),
        lambda: tested.fit(observed),
        lambda: second_opinions(tested, observed),
    )
    with quiet():
        for call in calls:
            call()  # imports what it needs
            spent = []
            for _ in range(5):
                begun = time.process_time()
                call()
                spent.append(time.process_time() - begun)
            yield np.median(spent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    of_each = ("spectra", "maps", "spectra ± 2 errors", "maps ± 2 errors")
    heads = ("between truths", "named", "share found")
    heads += tuple(f"{end}: {part}" for end in ("like", "distinct") for part in of_each)
    print(f"| mixed | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
    for share in (0.1, 0.3, 0.5):
        middle = np.mean([row(share, seed) for seed in range(seeds)], axis=0)
        print(f"| {share:g} | {' | '.join(f'{value:.3g}' for value in middle)} |", flush=True)
    plain, tested, opinions = cost()
    print(
        f"At 64 x 64 x 512, seconds of processor time: plain NMF {plain:.2f}, with tested zeros {tested:.2f}, "
        f"second opinions {opinions:.2f}"
    )
