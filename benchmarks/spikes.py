"""Spikes: how many planted ones are found, how often pure noise or a real edge is taken for one.

python benchmarks/spikes.py                                  all that needs no files
ENDMEMBER_DATA=FOLDER python benchmarks/spikes.py            real spectrum images too
ENDMEMBER_DATA=FOLDER python benchmarks/spikes.py --picture spikes.png    draws those of NMC_Si.dm3
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import endmember as em
from endmember.factor.noise.model import estimate_noise

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
FIND = em.preprocess.find_spikes
HEIGHTS = (8, 12, 20, 100)
REAL = (
    "eels/NMC_TM_O.dm3",
    "eels/NMC_zero_loss.dm3",
    "eels/LSMO_STO_linescan.hspy",
    "eels/LSMO_STO_linescan_low_loss.hspy",
    "edxs/FePt_bare_core.hspy",
    "edxs/chevkinite.bcf",
    "edxs/two_phase_50x50.bcf",
)


def plant(data, height, number, seed):
    """Add spikes to one channel each, that many standard deviations (and at least 15 counts) high."""
    rng, flat = np.random.default_rng(seed), np.array(data, dtype=float).ravel()
    noise = estimate_noise(data)
    places = rng.choice(flat.size, number, replace=False)
    local = np.maximum(flat[places], np.mean(data))
    flat[places] += np.maximum(height * np.sqrt(noise.variance(local)), 15 * noise.gain)
    if data.dtype.kind in "iu" or not np.mod(data, 1).any():
        flat = np.rint(flat).astype(int)
    return flat.reshape(data.shape), places


def recall(name, data):
    """Print the share of planted spikes that is found, and what else is marked in addition to before."""
    before = FIND(data, grow=0)
    shares, others = [], 0
    number = max(50, data.size // 5000)
    for height in HEIGHTS:
        planted, places = plant(data, height, number, seed=height)
        after = FIND(planted, grow=0).ravel()
        shares.append(after[places].mean())
        new = after & ~before.ravel()
        new[places] = False
        others = max(others, new.sum())
    table = "  ".join(f"{share:8.2%}" for share in shares)
    print(f"{name:34s} {number:6d}  {table}   {others}")


def phantoms():
    counts = em.synthetic.mixed_phases(dose=300).signal.data
    yield "mixed_phases, 300 counts", counts
    yield "mixed_phases with background", em.synthetic.mixed_phases(background=True).signal.data
    yield "diode, constant noise 3 %", em.synthetic.diode(noise=0.03).signal.data


def false_positives(images):
    print("\nPure Poisson noise: share of entries marked (grow = 0; grow = 1)")
    for mean in (0.05, 1, 100):
        marked = grown = total = 0
        for seed in range(images):
            data = np.random.default_rng(seed).poisson(mean, (64, 64, 512))
            marked += FIND(data, grow=0).sum()
            grown += FIND(data).sum()
            total += data.size
        print(f"mean {mean:6g}: {marked / total:.1e}; {grown / total:.1e} of {total} entries")


def runs(mask):
    """Count runs of marked channels."""
    return int((np.diff(mask.astype(int), axis=-1, prepend=0) == 1).sum())


def real():
    print("\nReal spectrum images as they are: entries marked (grow = 0), runs of channels, pixels")
    for name in ("eels/NMC_Si.dm3", *REAL):
        data = em.load(DATA / name).data
        start = time.perf_counter()
        mask = FIND(data, grow=0)
        seconds = time.perf_counter() - start
        print(
            f"{name:34s} {int(mask.sum()):6d} entries, {runs(mask):5d} runs, "
            f"{int(mask.any(axis=-1).sum()):5d} of {mask[..., 0].size} pixels, {seconds:.2f} s"
        )


def one_threshold():
    """Judge steps between channels by one threshold for all, and what it marks by the noise of its own level."""
    data = np.asarray(em.load(DATA / "eels" / "NMC_Si.dm3").data, dtype=float)
    noise, steps = estimate_noise(data), np.diff(data, axis=-1)
    marked = np.abs(steps) > 8 * 1.4826 * np.median(np.abs(steps - np.median(steps)))
    level = np.maximum((data[..., 1:] + data[..., :-1]) / 2, 0.0)
    own = np.abs(steps) / np.sqrt(2 * noise.variance(level))
    print(
        f"\nNMC_Si.dm3, one threshold for all: {marked.sum()} steps in {marked.any(axis=-1).sum()} pixels, levels from "
        f"{level[marked].min():.0f} to {level[marked].max():.0f}; beyond five of their own standard deviations: "
        f"{(own[marked] > 5).sum()}"
    )


def picture(file):
    """Draw the spectra of NMC_Si.dm3 with the most spikes, and what remains of them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    signal = em.load(DATA / "eels" / "NMC_Si.dm3")
    data, energy = signal.data, signal.axes_manager[-1].axis
    mask = FIND(data)
    clean = em.preprocess.remove_spikes(data, mask)
    flat = [part.reshape(-1, data.shape[-1]) for part in (data, mask, clean)]
    order = np.argsort(-flat[1].sum(axis=1))[:4]
    figure, axes = plt.subplots(4, 1, figsize=(9, 10), sharex=True, layout="constrained")
    for axis, row in zip(axes, order, strict=True):
        raw, marked, kept = (part[row] for part in flat)
        axis.plot(energy, raw, color="0.7", lw=0.8, label="raw")
        axis.plot(energy, kept, color="tab:blue", lw=0.8, label="repaired")
        axis.plot(energy[marked], raw[marked], ".", color="tab:red", ms=4, label="marked")
        axis.set_ylabel(f"pixel {row}")
        axis.set_yscale("symlog", linthresh=np.percentile(np.abs(kept), 90))
    axes[0].legend(loc="upper right", frameon=False)
    axes[-1].set_xlabel("energy loss (eV)")
    figure.savefig(file, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2, help="images of pure noise for each mean")
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    heading = "  ".join(f"{height:5d} sd" for height in HEIGHTS)
    print(f"Planted spikes found\n{'data':34s} number  {heading}   others newly marked")
    for name, data in phantoms():
        recall(name, data)
    if DATA.is_dir():
        for name in REAL:
            recall(name, em.load(DATA / name).data)
    false_positives(chosen.images)
    if DATA.is_dir():
        real()
        one_threshold()
        if chosen.picture:
            picture(chosen.picture)


if __name__ == "__main__":
    main()
