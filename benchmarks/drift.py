"""Energy drift on phantoms whose shifts and spectra are known.

python benchmarks/drift.py                     every block, few seeds
python benchmarks/drift.py angles --seeds 20
python benchmarks/drift.py field --seeds 20
python benchmarks/drift.py stretch --seeds 5
python benchmarks/drift.py oxides --seeds 5
python benchmarks/drift.py real                needs the folder of real data, ENDMEMBER_DATA
"""

from __future__ import annotations

import argparse
import os
import runpy
import warnings
from pathlib import Path

import numpy as np

import endmember as em

DRIFT, STRETCH = 1.5, 0.006
EXAMPLE = Path(__file__).parents[1] / "examples" / "plot_drift.py"


def angle(model, spectra):
    """Mean angle to the true spectra over the channels that are known, in degrees."""
    seen = np.isfinite(model.components_).all(axis=0)
    found, spectra = model.components_[:, seen], spectra[:, seen]
    return em.spectral_angle(found[em.match_components(found, spectra)], spectra).mean()


def error(found, truth):
    """Root-mean-square error; only differences can be known."""
    return np.std(found - truth)


def with_known_shifts(nmf, phantom):
    """NMF of the data aligned by the true shifts."""
    X = em.preprocess.align(phantom.data.astype(float), shifts=phantom.drift, ends="nan")
    unseen = np.isnan(X).any(axis=(0, 1))
    return em.NMF(**nmf.get_params()).fit(np.nan_to_num(X), channel_mask=unseen)


def angles(seeds):
    """NMF without drift (also from other starts), with it, inside Drifting, and with the shifts known."""
    print("      no drift                      drift 1.5 channels")
    print(
        "seed     NMF  other starts  Drifting     NMF  shifts known  Drifting  ratio  rms of shifts"
    )
    rows = []
    for seed in seeds:
        still = em.synthetic.mixed_phases(seed=seed)
        moved = em.synthetic.mixed_phases(drift=DRIFT, seed=seed)
        nmf = em.NMF(4, random_state=seed)
        free = angle(nmf.fit(still.data), still.spectra)
        other = angle(em.NMF(4, random_state=1000 + seed).fit(still.data), still.spectra)
        idle = angle(em.Drifting(nmf).fit(still.data), still.spectra)
        plain = angle(nmf.fit(moved.data), moved.spectra)
        known = angle(with_known_shifts(nmf, moved), moved.spectra)
        drifting = em.Drifting(nmf).fit(moved.data)
        found = angle(drifting, moved.spectra)
        rows.append((free, other, idle, plain, known, found, error(drifting.shifts_, moved.drift)))
        print(
            "{:4} {:6.2f}° {:12.2f}° {:8.2f}° {:6.2f}° {:12.2f}° {:8.2f}° {:6.3f} {:14.4f}".format(
                seed, *rows[-1][:6], found / free, rows[-1][-1]
            ),
            flush=True,
        )
    free, other, idle, plain, known, found, errors = np.array(rows).T
    print(
        "mean {:6.2f}° {:12.2f}° {:8.2f}° {:6.2f}° {:12.2f}° {:8.2f}°".format(
            *np.mean(rows, axis=0)[:6]
        )
    )
    for name, values in (
        ("Drifting under drift", found),
        ("shifts known", known),
        ("other starts, no drift", other),
        ("Drifting, no drift", idle),
    ):
        ratio = values / free
        print(
            f"{name:24} over NMF without drift: mean of angles {values.mean() / free.mean():.3f}, "
            f"median seed {np.median(ratio):.3f}, worst seed {ratio.max():.3f}"
        )
    print(f"rms error of the shifts: median {np.median(errors):.4f}, worst {errors.max():.4f}")


def field(seeds):
    """Root-mean-square error of the shifts, in channels, by dose."""
    print("dose    rms error of the shifts: median   worst   (channels)")
    for dose in (20, 200, 1000, 5000):
        errors = []
        for seed in seeds:
            phantom = em.synthetic.mixed_phases(dose=dose, drift=DRIFT, seed=seed)
            model = em.Drifting(em.NMF(4, n_starts=1, random_state=seed)).fit(phantom.data)
            errors.append(error(model.shifts_, phantom.drift))
        print(f"{dose:5} {np.median(errors):32.4f} {max(errors):8.4f}", flush=True)


def stretch(seeds):
    """Shift and stretch: errors in channels at the middle and at the ends, and angles, by dose (means)."""
    print(
        "dose   at the middle  at the ends   angles: no drift  shifts alone  shifts and stretches"
    )
    for dose in (200, 5000):
        rows = []
        for seed in seeds:
            still = em.synthetic.mixed_phases(dose=dose, seed=seed)
            moved = em.synthetic.mixed_phases(dose=dose, drift=DRIFT, stretch=STRETCH, seed=seed)
            nmf = em.NMF(4, random_state=seed)
            both = em.Drifting(nmf, dispersion=True).fit(moved.data)
            half = (moved.energy.size - 1) / 2
            rows.append(
                (
                    error(both.shifts_, moved.drift),
                    half * error(both.stretches_, moved.stretch),
                    angle(nmf.fit(still.data), still.spectra),
                    angle(em.Drifting(nmf).fit(moved.data), moved.spectra),
                    angle(both, moved.spectra),
                )
            )
        print(
            "{:5} {:14.4f} {:12.4f} {:17.2f}° {:12.2f}° {:20.2f}°".format(
                dose, *np.mean(rows, axis=0)
            ),
            flush=True,
        )


def oxides(seeds):
    """The example's oxides: angles of its models, and errors of the shifts in channels (means)."""
    example = runpy.run_path(str(EXAMPLE))
    for counts in (250, 2500):
        print(f"{counts} counts a spectrum")
        for name, model in example["models"].items():
            found, errors = [], []
            for seed in seeds:
                data, truth, shifts = example["scene"](seed, counts)
                found.append(angle(model.fit(data), truth))
                if hasattr(model, "shifts_"):
                    errors.append(error(model.shifts_, shifts))
            shown = f"   rms of shifts {np.mean(errors):.3f}" if errors else ""
            seen = " ".join(f"{value:.1f}" for value in found)
            print(f"  {name:42} {np.mean(found):5.2f}°   seeds: {seen}{shown}", flush=True)


def real(seeds):
    """Real data: a zero-loss peak aligned, and a planted drift of dual EELS taken back by the low loss."""
    folder = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "eels").is_dir():
        print("no folder of real data; set ENDMEMBER_DATA")
        return
    peak = em.load(folder / "eels" / "NMC_zero_loss.dm3")
    aligned = em.preprocess.align(peak)
    for name, signal in (("before", peak), ("after", aligned)):
        left = em.preprocess.find_shifts(signal, method="correlation", window=(-10, 10)).std()
        print(f"NMC_zero_loss.dm3 {name}: {left:.3f} channels rms, by correlation")
    low, core = (
        em.load(folder / "eels" / f"LSMO_STO_linescan{part}.hspy") for part in ("_low_loss", "")
    )
    for seed in seeds:
        planted = np.cumsum(np.random.default_rng(seed).normal(0, 0.8, len(core.data)))
        moved = []
        for signal in (low, core):
            found = em.preprocess.align(signal, shifts=-planted, ends="nan")
            found.data = np.nan_to_num(found.data)
            moved.append(found.isig[12:-12])
        wrong = error(em.preprocess.find_shifts(moved[1], moved[0]), planted)
        print(
            f"LSMO/STO core loss by its low loss: {planted.std():.2f} channels rms planted, "
            f"found to {wrong:.3f}"
        )


BLOCKS = {
    "angles": angles, "field": field, "stretch": stretch, "oxides": oxides, "real": real,
}  # fmt: skip

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
