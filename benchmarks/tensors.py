"""CP beside TensorLy: speed to the same error, chemical rank of measured kinetics, sparse tilt series.

python benchmarks/tensors.py                 every block
python benchmarks/tensors.py duel            one of them: duel, kinetics or tilts
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import numpy as np
from scipy import sparse

import endmember as em


def product(factors):
    return np.einsum("ak,bk,ck->abc", *factors)


def duel():
    """Time to the same error, 128 x 128 x 1024, rank 6."""
    from tensorly.decomposition import non_negative_parafac_hals

    rng = np.random.default_rng(0)
    series = product([rng.random((size, 6)) ** 2 for size in (128, 128, 1024)])
    series += 0.05 * series.std() * rng.standard_normal(series.shape)
    em.CP(2, n_starts=1, max_iter=3).fit(series[:16, :16])
    print("| program | starts | seconds | processor seconds | half squared error |")
    print("|---|---|---|---|---|")
    ours = []
    for starts in (10, 1):
        wall, cpu = time.perf_counter(), time.process_time()
        model = em.CP(6, n_starts=starts, random_state=0).fit(series)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ours.append((wall, cpu))
        print(f"| Endmember | {starts} | {wall:.2f} | {cpu:.2f} | {model.objective_[-1]:.4f} |")
    goal = model.objective_[-1] * (1 + 1e-5)
    for sweeps in (10, 20, 40, 80, 160):
        wall, cpu = time.perf_counter(), time.process_time()
        found = non_negative_parafac_hals(
            series, 6, n_iter_max=sweeps, init="random", random_state=0, tol=0
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        error = 0.5 * np.sum((series - product([found[1][0] * found[0], *found[1][1:]])) ** 2)
        print(f"| TensorLy, {sweeps} sweeps | 1 | {wall:.2f} | {cpu:.2f} | {error:.4f} |")
        if error <= goal:
            break
    for (seconds, processor), starts in zip(ours, (10, 1), strict=True):
        print(
            f"TensorLy takes {wall / seconds:.1f} times as long as {starts} starts of Endmember, "
            f"{cpu / processor:.1f} times the processor time."
        )


def kinetics():
    """Share of the squares unexplained and the largest congruence, by the number of components."""
    from tensorly.datasets.data_imports import load_kinetic

    data = load_kinetic()
    series, missing = np.asarray(data.tensor), np.asarray(data.missing_values_position, bool)
    weights = 1.0 - missing
    total = np.sum(series[~missing] ** 2)
    kept = np.setdiff1d(np.arange(len(series)), data.outlier_measurements_idx)
    print("| components | samples | unexplained | congruence | largest change of a spectrum |")
    print("|---|---|---|---|---|")
    for k in range(2, 7):
        models = []
        for rows in (np.arange(len(series)), kept):
            X, W = np.where(missing, np.nan, series)[rows], weights[rows]
            model = em.CP(k, n_starts=4, max_iter=500, tol=1e-5, random_state=0).fit(X, weights=W)
            model.shares_ = np.sum(((X - model.inverse_transform(model.maps_)) ** 2)[W > 0])
            models.append(model)
            order = em.match_components(model.components_, models[0].components_)
            moved = em.spectral_angle(model.components_[order], models[0].components_).max()
            print(
                f"| {k} | {len(rows)} | {model.shares_ / total:.2e} | {model.congruence_:.2f} | {moved:.1f} |"
            )


def tilts():
    """Time and memory of Poisson CP on tilt series of counts, by their non-zeros."""
    rng = np.random.default_rng(0)
    print("| pixels | non-zeros | seconds | processor seconds | peak memory (MB) |")
    print("|---|---|---|---|---|")
    points = []
    for pixels in (32, 64, 128):
        phantom = em.synthetic.mixed_phases(shape=(pixels, pixels), channels=512, k=3, seed=1)
        profile = 1 + 0.4 * np.sin(np.linspace(0, 3, 16)[:, None] + [0.0, 1.5, 3.0])
        scale = 0.05 / np.mean(phantom.maps @ phantom.spectra)
        slices = [
            sparse.csr_array(
                rng.poisson(scale * ((phantom.maps * row) @ phantom.spectra)).reshape(-1, 512)
            )
            for row in profile
        ]
        counts = sparse.csr_array(sparse.vstack(slices))
        wall, cpu = time.perf_counter(), time.process_time()
        model = em.CP(3, loss=em.Poisson(), joined=(1, 2), n_starts=3, random_state=0)
        model.fit(counts, domain=(16, pixels, pixels))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        points.append((counts.nnz, cpu))
        print(
            f"| 16 x {pixels} x {pixels} | {counts.nnz} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |"
        )
        order = em.match_components(model.components_, phantom.spectra)
        angles = em.spectral_angle(model.components_[order], phantom.spectra)
        print(f"Angles to the true spectra: {', '.join(f'{a:.1f}' for a in angles)} degrees")
    sizes, seconds = np.log(np.array(points).T)
    print(
        f"Processor time grows as the non-zeros to the power {np.polyfit(sizes, seconds, 1)[0]:.2f}."
    )


if __name__ == "__main__":
    blocks = {"duel": duel, "kinetics": kinetics, "tilts": tilts}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("block", nargs="?", choices=blocks)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, block in blocks.items():
        if arguments.block in (None, name):
            print(f"\n## {name}: {block.__doc__}\n")
            block()
