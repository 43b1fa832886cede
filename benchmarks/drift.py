"""Energy drift on phantoms whose shifts and spectra are known.

python benchmarks/drift.py                     every block, few seeds
python benchmarks/drift.py angles --seeds 20
python benchmarks/drift.py field --seeds 20
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

import endmember as em

DRIFT = 1.5


def angle(model, phantom):
    """Mean angle to the true spectra, in degrees."""
    order = em.match_components(model.components_, phantom.spectra)
    return em.spectral_angle(model.components_[order], phantom.spectra).mean()


def error(model, phantom):
    """Root-mean-square error of the shifts, in channels; only differences can be known."""
    difference = model.shifts_ - phantom.drift
    return np.std(difference)


def angles(seeds):
    """NMF without drift, with it, and inside Drifting, on the same maps and spectra."""
    print("seed   no drift: NMF  Drifting   drift: NMF  Drifting  Drifting/no drift  rms of shifts")
    rows = []
    for seed in seeds:
        still = em.synthetic.mixed_phases(seed=seed)
        moved = em.synthetic.mixed_phases(drift=DRIFT, seed=seed)
        nmf = em.NMF(4, random_state=seed)
        free, idle = nmf.fit(still.data), em.Drifting(nmf).fit(still.data)
        row = [angle(free, still), angle(idle, still), angle(nmf.fit(moved.data), moved)]
        drifting = em.Drifting(nmf).fit(moved.data)
        row += [angle(drifting, moved), error(drifting, moved)]
        rows.append(row)
        print(
            f"{seed:4}  {row[0]:13.2f}° {row[1]:8.2f}° {row[2]:11.2f}° {row[3]:8.2f}° "
            f"{row[3] / row[0]:18.3f} {row[4]:14.4f}",
            flush=True,
        )
    free, idle, plain, drifting, errors = np.array(rows).T
    print(
        f"mean  {free.mean():13.2f}° {idle.mean():8.2f}° {plain.mean():11.2f}° {drifting.mean():8.2f}°"
    )
    print(
        f"Drifting over no drift: mean of angles {drifting.mean() / free.mean():.3f}, worst seed "
        f"{(drifting / free).max():.3f}; without drift, worst seed {(idle / free).max():.3f}; "
        f"worst rms of shifts {errors.max():.4f}"
    )


def field(seeds):
    """Root-mean-square error of the shifts, in channels, by dose."""
    print("dose    rms error of the shifts: median   worst   (channels)")
    for dose in (20, 200, 1000, 5000):
        errors = []
        for seed in seeds:
            phantom = em.synthetic.mixed_phases(dose=dose, drift=DRIFT, seed=seed)
            model = em.Drifting(em.NMF(4, n_starts=1, random_state=seed)).fit(phantom.data)
            errors.append(error(model, phantom))
        print(f"{dose:5} {np.median(errors):32.4f} {max(errors):8.4f}", flush=True)


BLOCKS = {"angles": angles, "field": field}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", nargs="*", choices=[*BLOCKS, []], default=[])
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.block or BLOCKS:
        print(f"\n{name}: {BLOCKS[name].__doc__}")
        BLOCKS[name](range(arguments.first, arguments.first + arguments.seeds))
