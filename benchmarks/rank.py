"""How often the suggested number of components is right, and how well the noise is known.

python benchmarks/rank.py                    every block, few seeds
python benchmarks/rank.py phases --seeds 20  one block
ENDMEMBER_DATA=FOLDER python benchmarks/rank.py files
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import lfilter

from endmember import synthetic
from endmember.assess.criteria import elbow
from endmember.assess.number import rank
from endmember.assess.surrogates import whitened
from endmember.factor.noise.model import NoiseModel, estimate_noise
from endmember.factor.noise.photon_transfer import detection_limit
from endmember.factor.noise.whitening import whitening_weights

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILES = {
    "edxs/two_phase_50x50.bcf": "2",
    "other/uvvis_three_component.npz": "3",
    "edxs/mineral_71GPa.hspy": "3-4",
    "edxs/chevkinite.bcf": "printed",
    "edxs/SiO2_on_carbon.hspy": "printed",
    "edxs/FePt_bare_core.hspy": "printed",
    "edxs/low_dose_TEM.bcf": "printed",
    "edxs/velox_16x16.emd": "printed",
    "eels/NMC_TM_O.dm3": "printed",
    "eels/NMC_Si.dm3": "printed",
    "eels/LSMO_STO_linescan.hspy": "printed",
    "other/raman_carbohydrates.npz": "3",
    "Indian Pines": "printed",
}


def suggested(data, **options):
    return rank(data, stability=False, **options).suggested


def strength_over_limit(clean, noise):
    """Strength of every component of noise-free data over the limit of the spiked model."""
    X = clean.reshape(-1, clean.shape[-1])
    n, m = X.shape
    rows, columns = whitening_weights(X, noise)
    values = np.linalg.svd(X * rows[:, None] * columns, compute_uv=False) ** 2
    return values / n / detection_limit(m / n)


def phases(seeds):
    """Four mixed phases, doses 10 to 1000, beside the unscaled elbow counted from 1."""
    for dose in (10, 30, 100, 300, 1000):
        found, knees, weakest = [], [], []
        for seed in range(seeds):
            phantom = synthetic.mixed_phases(k=4, dose=dose, seed=seed)
            weakest.append(strength_over_limit(phantom.clean, NoiseModel(poisson=True))[3])
            found.append(suggested(phantom.data))
            values = np.linalg.svd(
                phantom.data.reshape(-1, phantom.data.shape[-1]).astype(float), compute_uv=False
            )
            knees.append(elbow(values**2) + 1)
        right = np.mean(np.equal(found, 4))
        print(
            f"dose {dose:5d}: right {right:4.0%} of {seeds}, found {_tally(found)}; weakest "
            f"component {min(weakest):.1f} x limit; elbow counted from 1: {_tally(knees)}"
        )


def weak(seeds, figure=None):
    """Detect a weak fourth phase of 0.3 to 5 times the limit; the share of seeds that see it."""
    factors = (0.3, 0.5, 0.7, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
    criteria = ("parallel analysis", "map structure", "scree elbow", "thinning", "indicator")
    rates = {name: [] for name in ("suggested", "suggested > 4", *criteria)}
    for factor in factors:
        reports = [rank(weak_phase(factor, seed), stability=False) for seed in range(seeds)]
        votes = [{vote.criterion: vote.count for vote in report.table} for report in reports]
        rates["suggested"].append(np.mean([r.suggested == 4 for r in reports]))
        rates["suggested > 4"].append(np.mean([r.suggested > 4 for r in reports]))
        for name in criteria:
            rates[name].append(np.mean([vote[name] == 4 for vote in votes]))
    print(f"{'strength / limit':20s}" + "".join(f"{factor:7.1f}" for factor in factors))
    for name, values in rates.items():
        print(f"{name:20s}" + "".join(f"{value:7.0%}" for value in values))
    if figure:
        _draw_rates(factors, rates, figure)


def _draw_rates(factors, rates, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.2), layout="constrained")
    axes = figure.subplots()
    drawn = [name for name in rates if name != "suggested > 4"]
    for shift, name in enumerate(drawn):
        # A hair apart, so that no curve hides another.
        axes.semilogx(factors, np.array(rates[name]) + 0.008 * shift, "o-", label=name, ms=4)
    axes.axvline(1.0, color="0.7", lw=1)
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.minorticks_off()
    axes.set_xlabel("strength of the fourth phase / limit")
    axes.set_ylabel("share of seeds with 4 components")
    axes.legend(frameon=False, fontsize="small", loc="center left")
    figure.savefig(path, dpi=150)


def weak_phase(factor, seed, dose=100):
    """Counts of four phases, the fourth scaled to ``factor`` times the limit."""
    phantom = synthetic.mixed_phases(k=4, dose=dose, seed=seed)
    maps, spectra = phantom.maps.reshape(-1, 4), phantom.spectra

    def clean(share):
        pure = maps * [1, 1, 1, share]
        return (pure + (1 - share) * maps[:, 3:] * [1, 0, 0, 0]) @ spectra

    low, high = 1e-4, 1.0
    for _ in range(25):
        middle = math.sqrt(low * high)
        if strength_over_limit(clean(middle), NoiseModel(poisson=True))[3] > factor:
            high = middle
        else:
            low = middle
    counts = np.random.default_rng(1000 + seed).poisson(clean(middle))
    return counts.reshape(phantom.data.shape)


def diode(seeds):
    """The diode of three layers."""
    print("diode:", _tally([suggested(synthetic.diode(seed=seed).data) for seed in range(seeds)]))


def pure_noise(seeds):
    """Noise without phases."""
    for name, draw in {
        "Gaussian of mean 0": lambda rng: rng.standard_normal((48, 48, 160)),
        "Gaussian of mean 5": lambda rng: 5 + rng.standard_normal((48, 48, 160)),
        "counts of mean 3": lambda rng: rng.poisson(np.full((48, 48, 160), 3.0)),
        "counts of mean 0.02": lambda rng: rng.poisson(np.full((48, 48, 160), 0.02)),
    }.items():
        reports = [
            rank(draw(np.random.default_rng(seed)), stability=False) for seed in range(seeds)
        ]
        print(f"{name}: {_tally([r.suggested for r in reports])}. {reports[0].sentence}")


def manganese(seeds):
    """The Mn3O4 phantom with noise of 0.20 of its maximum."""
    import scipy.io

    clean = scipy.io.loadmat(DATA / "phantoms" / "Mn3O4_theory.mat")["datar"][..., 36:116]
    found = []
    for seed in range(seeds):
        noise = np.random.default_rng(seed).standard_normal(clean.shape)
        found.append(suggested(clean + 0.20 * clean.max() * noise))
    print(f"Mn3O4 theory + noise 0.20 max: {_tally(found)}")


def files(_seeds):
    """Real files."""
    for name, expected in FILES.items():
        try:
            data = _read(name)
        except FileNotFoundError:
            print(f"{name}: not there")
            continue
        start = time.perf_counter()
        report = rank(data)
        votes = ", ".join(f"{vote.criterion} {vote.count}" for vote in report.table)
        low, high = report.range
        print(
            f"{name} (expected {expected}): {report.suggested} [{low}, {high}] in "
            f"{time.perf_counter() - start:.1f} s\n  {report.sentence}\n"
            f"  {report.noise.sentence()}\n  {votes}\n  " + "\n  ".join(report.warnings)
        )


def gain(seeds):
    """Planted gain and read noise."""
    for planted in (0.25, 1.0, 3.4):
        for read in (0.0, 1.0, 3.0):
            errors = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                counts = rng.poisson(synthetic.mixed_phases(dose=20, seed=seed).clean)
                data = planted * (counts + read * rng.standard_normal(counts.shape))
                noise = estimate_noise(data)
                deviation = math.sqrt(noise.read_variance) / planted
                errors.append((noise.gain / planted - 1, deviation - read))
            worst = np.abs(errors).max(axis=0)
            print(
                f"gain {planted}, read noise {read} counts: worst error of the gain "
                f"{worst[0]:.1%}, of the read noise {worst[1]:.2f} counts"
            )


def correlated(seeds):
    """Four phases in noise whose neighbours correlate by 0.6."""
    for name, colour in {
        "channels, moving average": lambda w: convolve1d(w, [1, 2, 2, 1], axis=2, mode="wrap"),
        "channels, exponential": lambda w: lfilter([1], [1, -0.6], w, axis=2),
        "pixels, moving average": lambda w: convolve1d(w, [1, 2, 2, 1], axis=1, mode="wrap"),
        "pixels, exponential": lambda w: lfilter(
            [1], [1, -0.6], lfilter([1], [1, -0.6], w, axis=0), axis=1
        ),
    }.items():
        found, named, edge = [], 0, []
        for seed in range(seeds):
            clean = synthetic.mixed_phases((48, 48), 256, dose=100, seed=seed).clean
            noise = colour(np.random.default_rng(seed).standard_normal(clean.shape))
            report = rank(clean + 3 * noise / noise.std(), stability=False)
            found.append(report.suggested)
            edge.append(next(v.count for v in report.table if v.criterion == "noise edge"))
            named += any(name.split(",")[0] in sentence for sentence in report.warnings)
        print(
            f"correlation 0.6 of {name}: suggested {_tally(found)} (planted 4), named in {named} "
            f"of {seeds}; the edge for white noise counts {_tally(edge)}"
        )


def timing(_seeds):
    """Time of the panel by the size of the data."""
    for shape, channels in (((32, 32), 256), ((64, 64), 512), ((128, 128), 1024)):
        data = synthetic.mixed_phases(shape, channels, dose=30).data
        start = time.perf_counter()
        estimate_noise(data)
        middle = time.perf_counter()
        white = whitened(data)
        assert white.scree.total > 0
        rank(data, stability=False)
        print(
            f"{shape[0]} x {shape[1]} x {channels}: noise {middle - start:.2f} s, panel "
            f"{time.perf_counter() - middle:.2f} s"
        )


NOISES = ("Gaussian", "Poisson", "gain", "correlated")
DOSES = (0.02, 0.1, 0.5, 2.5, 15.0, 100.0)
EXTRAS = ("nothing", "spikes", "drift")


def draws(first, step):
    """200 draws: k of 1 to 8, 0.02 to 100 counts a voxel, four kinds of noise, spikes and drift."""
    right, left_out = {}, 0
    for seed in range(first, first + 200, step):
        k, noise, extra = 1 + seed % 8, NOISES[seed // 8 % 4], EXTRAS[seed // 3 % 3]
        data, weakest = drawn(seed, k, noise, seed // 32 % 5, extra)
        if data is None:
            left_out += 1
            continue
        report = rank(data, 14, stability=False)
        hit = report.suggested == k
        axis = f"drift, {256 / data.shape[-1]:.1f} eV a channel"
        for stratum in (f"k = {k}", noise, extra, *[axis] * (extra == "drift"), "all"):
            right.setdefault(stratum, []).append(hit)
        if not hit:
            votes = ", ".join(f"{vote.criterion} {vote.count}" for vote in report.table)
            print(
                f"seed {seed}: {report.suggested} {report.range} for {k}; {noise}, {extra}, mean "
                f"{data.mean():.3g}, weakest {weakest:.1f} x limit; {votes}"
            )
    for stratum, hits in sorted(right.items()):
        print(f"{stratum}: {np.mean(hits):.0%} right of {len(hits)}")
    print(f"left out, since no phantom of the dose had its weakest at 1.5 x the limit: {left_out}")


def drawn(seed, k, noise, stratum, extra):
    """Draw an image of k phases whose weakest reaches 1.5 times the limit; None where 30 trials gave none."""
    rng = np.random.default_rng([seed, 2])
    low, high = DOSES[stratum : stratum + 2]
    for _ in range(30):
        shape = (32, 40) if rng.random() < 0.5 else (48, 48)
        m, start = int(rng.choice([96, 160, 240])), int(rng.integers(1 << 30))
        drift = float(rng.uniform(0.1, 1.0)) if extra == "drift" else 0.0
        phantom = synthetic.mixed_phases(shape, m, k, dose=1, drift=drift, seed=start)
        shares = phantom.maps.reshape(-1, k)
        spectra = phantom.spectra
        if not drift and rng.random() < 0.5:  # lines, as of X-rays
            spectra = _lines(k, m, rng)
        still = shares @ spectra
        dose = math.exp(rng.uniform(math.log(low), math.log(high)))
        clean = (phantom.clean.reshape(still.shape) if drift else still) * dose / still.mean()
        still *= dose / still.mean()
        model = NoiseModel(poisson=True)
        if noise in ("Gaussian", "correlated"):
            model = NoiseModel(gain=0.0, read_variance=dose)
        near = float(rng.uniform(0.2, 0.7)) if noise == "correlated" else 0.0
        # Beside correlated noise strength counts after its correlation is divided out.
        seen = lfilter([1, -near], [1], still, axis=1) / math.sqrt(1 - near**2)
        weakest = strength_over_limit(seen if near else still, model)[k - 1]
        if weakest >= 1.5:
            break
    else:
        return None, 0.0
    data = _noisy(clean.reshape(*shape, m), noise, dose, rng, near)
    if extra == "spikes":
        hit = rng.choice(data.size, 5, replace=False)
        height = np.round(30 * math.sqrt(dose + 1) * rng.uniform(1, 3, 5))
        data.flat[hit] += height.astype(data.dtype)
    return data, weakest


def _lines(k, m, rng):
    """Spectra of lines on a falling background."""
    x = np.arange(m)
    spectra = np.tile(0.3 * np.exp(-x / (0.6 * m)), (k, 1))
    for spectrum in spectra:
        for place in rng.uniform(0.05 * m, 0.95 * m, rng.integers(2, 6)):
            spectrum += rng.uniform(0.2, 2.0) * np.exp(-0.5 * ((x - place) / 1.5) ** 2)
    return spectra


def _noisy(clean, noise, dose, rng, near=None):
    """Add noise of a kind, with the variance that counts of this dose would have; of correlation ``near``."""
    if noise == "Poisson":
        return rng.poisson(clean)
    if noise == "gain":
        gain = rng.uniform(0.3, 5.0)
        return gain * rng.poisson(clean)
    hiss = rng.standard_normal(clean.shape)
    if noise == "correlated":
        near = rng.uniform(0.2, 0.7) if near is None else near
        hiss = lfilter([1], [1, -near], hiss, axis=2)
        hiss /= hiss.std()
    return clean + math.sqrt(dose) * hiss


def alone(first, step):
    """200 draws of noise alone: Gaussian, correlated, counts and counts with gain, around a constant or nothing."""
    wrong, total = 0, 0
    for seed in range(first, first + 200, step):
        rng, noise = np.random.default_rng([seed, 1]), NOISES[seed % 4]
        dose = math.exp(rng.uniform(math.log(0.02), math.log(100)))
        shape = [(24, 30), (40, 40)][seed // 4 % 2]
        data = _noisy(np.full((*shape, int(rng.choice([60, 160]))), dose), noise, dose, rng)
        report = rank(data, 12, stability=False)
        total += 1
        if report.suggested > 1:
            wrong += 1
            print(f"seed {seed}: {report.suggested} in {noise} noise, mean {dose:.3g}")
    print(f"more than the constant in {wrong} of {total}")


def _tally(found):
    values, counts = np.unique(found, return_counts=True)
    return ", ".join(f"{v} ({c} x)" for v, c in zip(values, counts, strict=True))


def _read(name):
    if name == "Indian Pines":
        try:
            from tensorly.datasets import load_indian_pines
        except ImportError as error:
            raise FileNotFoundError(name) from error
        return np.asarray(load_indian_pines().tensor, dtype=float)
    path = DATA / name
    if not path.exists():
        raise FileNotFoundError(path)
    if path.suffix == ".npz":
        return np.load(path)["D"]
    import hyperspy.api as hs

    loaded = hs.load(path)
    signals = loaded if isinstance(loaded, list) else [loaded]
    return next(
        s
        for s in signals
        if s.axes_manager.signal_dimension == 1 and s.axes_manager.navigation_dimension >= 1
    )


BLOCKS = {
    "phases": phases,
    "weak": weak,
    "diode": diode,
    "noise": pure_noise,
    "manganese": manganese,
    "files": files,
    "gain": gain,
    "correlated": correlated,
    "timing": timing,
    "draws": draws,
    "alone": alone,
}


def main():
    """Run the chosen blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("blocks", nargs="*", choices=[*BLOCKS, []], default=list(BLOCKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--first", type=int, default=0, help="seed of 'draws' and 'alone': 0 reports"
    )
    parser.add_argument("--step", type=int, default=1, help="of 'draws' and 'alone': every so many")
    parser.add_argument("--figure", help="file for the detection curve of the block 'weak'")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for name in arguments.blocks:
        print(f"== {name}: {BLOCKS[name].__doc__}", flush=True)
        if name == "weak":
            weak(arguments.seeds, arguments.figure)
        elif name in ("draws", "alone"):
            BLOCKS[name](arguments.first, arguments.step)
        else:
            BLOCKS[name](arguments.seeds)


if __name__ == "__main__":
    main()
