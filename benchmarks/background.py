"""How fast backgrounds are fitted, how far off their exponents are, and whether their errors are true.

python benchmarks/background.py                 every block
python benchmarks/background.py speed|bias|coverage|separation
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from endmember.preprocess import denoise, fit_background, separate_outliers, subtract_background

METHODS = ["ml", "log", "weighted", "two_area", "local", "two_laws", "convex", "compressed"]


def best_time(task, repeats):
    """Return the shortest processor time in milliseconds, which a busy machine hardly changes."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def speed():
    """64 x 64 pixels, 1024 channels of 0.5 eV, window 420 to 480 eV, counts."""
    from exspy.signals import EELSSpectrum

    rng = np.random.default_rng(0)
    energy = 400 + 0.5 * np.arange(1024)
    laws = rng.uniform(20, 100, (64, 64, 1)) * (energy / 450) ** -rng.uniform(2, 4, (64, 64, 1))
    counts = rng.poisson(laws).astype(np.float32)
    print("64 x 64 x 1024 float32, window of 120 channels: processor milliseconds, best of runs")
    for method in METHODS:
        options = {"rank": 3} if method == "compressed" else {}
        spent = best_time(
            lambda m=method, o=options: subtract_background(counts, (420, 480), m, energy, **o),
            9 if method == "ml" else 2,
        )
        print(f"  {method:28s} {spent:9.1f}")
    signal = EELSSpectrum(counts)
    signal.axes_manager[-1].offset, signal.axes_manager[-1].scale = 400, 0.5
    for fast, repeats in ((True, 2), (False, 1)):
        spent = best_time(
            lambda f=fast: signal.remove_background(
                (420.0, 480.0), fast=f, zero_fill=True, show_progressbar=False
            ),
            repeats,
        )
        print(f"  eXSpy, fast={fast!s:18s} {spent:9.1f}")
    print(f"  denoise, rank 3              {best_time(lambda: denoise(counts, 3), 2):9.1f}")


def bias():
    """Mean exponent found minus 3, and in brackets how many met a bound."""
    print("exponent found minus 3 (share of pixels stopped at a bound), 60 channels, 4000 pixels")
    print(f"  {'counts':>6s} {'window':>10s}" + "".join(f"{m:>18s}" for m in METHODS[:4]))
    for counts in (100, 20, 5, 1):
        for stop in (430, 460, 500):
            energy = np.linspace(400, stop, 60)
            law = (energy / 400) ** -3.0
            y = np.random.default_rng(counts).poisson(
                np.broadcast_to(law * counts / law.mean(), (4000, 60))
            )
            cells = []
            for method in METHODS[:4]:
                fit = fit_background(y, (400, stop + 1), method, energy)
                off = np.nanmean(fit.exponent) - 3
                cells.append(f"{off:+10.3f} ({100 * fit.limited.mean():3.0f} %)")
            print(f"  {counts:6d} {'400-' + str(stop):>10s}" + "".join(f"{c:>18s}" for c in cells))


def coverage():
    """How often the truth lies within one standard error of the extrapolation; 68.3 % is right."""
    energy = 400 + 1.0 * np.arange(80)
    away = np.array([480.0, 520.0, 600.0])
    print("truth within one standard error (%), window 400-480 eV, at 480, 520, 600 eV")
    for counts in (100, 20, 5):
        law = (energy / 400) ** -3.0
        scale = counts / law.mean()
        for method, pixels in (
            ("ml", 20000),
            ("log", 20000),
            ("weighted", 20000),
            ("convex", 3000),
        ):
            y = np.random.default_rng(1).poisson(np.broadcast_to(scale * law, (pixels, 80)))
            fit = fit_background(y, (400, 480), method, energy)
            off = np.abs(fit.background(away) - scale * (away / 400) ** -3)
            share = 100 * np.mean(off < np.sqrt(fit.variance(away)), axis=0)
            print(f"  {counts:4d} counts  {method:10s}" + "".join(f"{s:7.1f}" for s in share))


def gains():
    """How often the truth lies within one standard error at any gain, 20 seeds, window 400-520 eV of 400-600."""
    energy, rows = np.linspace(400.0, 600.0, 400), np.linspace(0, 1, 24)[:, None, None]
    truth = 100 * (energy / 400) ** (-2.5 - 0.5 * rows) * (0.5 + rows.reshape(1, -1, 1))
    beyond = energy > 532
    print(
        "truth within one standard error (%) beyond the window, gain 0.25, 1, 4, without and with read noise"
    )
    for method, options in (
        ("ml", {}),
        ("two_area", {}),
        ("local", {}),
        ("compressed", {"rank": 2}),
    ):
        cells = []
        for gain, read in ((g, r) for g in (0.25, 1.0, 4.0) for r in (0.0, 3.0)):
            inside = []
            for seed in range(20):
                rng = np.random.default_rng(seed)
                y = gain * (rng.poisson(truth) + rng.normal(0, read, truth.shape))
                fit = fit_background(y, (400, 520), method, energy, **options)
                off = fit.background(energy[beyond]) - gain * truth[..., beyond]
                inside.append(np.mean(off**2 < fit.variance(energy[beyond])))
            cells.append(f"{100 * np.mean(inside):7.1f}")
        print(f"  {method:10s}" + "".join(cells))


def noisy():
    """What robust PCA makes of noise: components, false outliers and those found, 20 seeds."""
    print("robust PCA with noise: 400 x 60, 3 components, outliers at 10 to 30 deviations")
    for dose, share in ((40, 0.01), (40, 0.1), (2, 0.01)):
        ranks, false, found = [], [], []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            low = rng.dirichlet([1, 1, 1], 400) @ (rng.random((3, 60)) * dose)
            hit = rng.random(low.shape) < share
            sparse = np.where(hit, rng.uniform(10, 30, low.shape) * np.sqrt(low + 1), 0).round()
            parts = separate_outliers((rng.poisson(low) + sparse).astype(int))
            ranks.append(int(np.linalg.matrix_rank(parts.low_rank)))
            false.append(np.sum((parts.outliers != 0) & ~hit))
            found.append(np.mean(parts.outliers[hit] != 0))
        print(
            f"  dose {dose}, {100 * share:.0f} %: components {min(ranks)} to {max(ranks)}, "
            f"{np.mean(false):.1f} false, {100 * np.mean(found):.1f} % found"
        )


def separation():
    """Error of the low-rank part and wrong places of the sparse part of planted pairs."""
    print("robust PCA: planted pairs, 20 seeds, 200 x 150")
    for rank, share in ((5, 0.05), (10, 0.05), (5, 0.15)):
        errors, wrong = [], 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            low = rng.standard_normal((200, rank)) @ rng.standard_normal((rank, 150))
            sparse = np.where(rng.random(low.shape) < share, rng.uniform(-20, 20, low.shape), 0)
            found = separate_outliers(low + sparse)
            errors.append(np.linalg.norm(found.low_rank - low) / np.linalg.norm(low))
            wrong += np.sum((np.abs(found.outliers) > 1e-3) != (np.abs(sparse) > 1e-3))
        print(
            f"  rank {rank:2d}, {100 * share:3.0f} % outliers: worst error {max(errors):.1e}, {wrong} wrong"
        )


BLOCKS = {
    "speed": speed, "bias": bias, "coverage": coverage, "gains": gains, "separation": separation, "noisy": noisy,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", choices=[*BLOCKS, []], default=list(BLOCKS))
    for name in parser.parse_args().blocks or BLOCKS:
        BLOCKS[name]()
