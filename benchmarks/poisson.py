"""Poisson on sparse counts: against scikit-learn to the same likelihood, where time goes, how it grows.

Everything runs on `edxs/mineral_71GPa.hspy` in the folder named by ENDMEMBER_DATA, or on a phantom of that kind where
there is none. Both programs get the same CSR matrix in one run; ours counts ten starts. Ratios hold on any machine
although the seconds do not.

    python benchmarks/poisson.py [--sweeps 400] [--parts growth duel fits files]
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from endmember.factor.data import kernels
from endmember.factor.data.in_memory import Sparse
from endmember.factor.losses import Poisson
from endmember.factor.solvers import Newton

K = 4
TARGET = 20
OTHERS = ("FePt_bare_core.hspy", "dust_particle_tilt0.bcf", "SiO2_on_carbon.hspy")


def data_of(name: str) -> tuple[np.ndarray, str] | None:
    """Return the counts of a file, (ny, nx, channels), and where they come from; None where there is no such file."""
    path = Path(os.environ.get("ENDMEMBER_DATA", "")) / "edxs" / name
    return (np.asarray(em.load(path).data), name) if path.is_file() else None


def divergence(X: sparse.csr_array, C: np.ndarray, S: np.ndarray) -> float:
    """Kullback-Leibler divergence of ``C S`` from the counts."""
    return Poisson().misfit(Sparse(X), [np.float64(C), np.float64(S.T)])


def theirs(X: sparse.csr_array, sweeps: int) -> tuple[float, float]:
    """Seconds and divergence of scikit-learn's multiplicative updates."""
    model = NMF(
        K, solver="mu", beta_loss="kullback-leibler", init="nndsvda", max_iter=sweeps, tol=0,
        random_state=0,
    )  # fmt: skip
    start = time.perf_counter()
    C = model.fit_transform(X)
    seconds = time.perf_counter() - start
    return seconds, divergence(X, C, model.components_)


class Watch:
    """A callback that keeps when every stage began and ended, and stops at a goal."""

    def __init__(self, goal: float = 0.0) -> None:
        self.goal, self.start = goal, time.perf_counter()
        self.stages: dict[str, list[float]] = {}

    def __call__(self, progress: em.NMF) -> bool:
        now = time.perf_counter() - self.start
        stage = "ten starts" if progress.stage.startswith("start") else progress.stage
        self.stages.setdefault(stage, [now, now])[1] = now
        return progress.stage == "fit" and progress.objective <= self.goal


def ours(X: sparse.csr_array | np.ndarray, goal: float = 0.0, **penalties: object) -> tuple:
    """Seconds, model and stages of a fit with ten starts, until the goal or the default tolerance."""
    watch = Watch(goal)
    model = em.NMF(K, loss=em.Poisson(), random_state=0, **penalties).fit(X, callback=watch)
    return time.perf_counter() - watch.start, model, watch.stages


def growth(X: sparse.csr_array) -> None:
    """Print the time of one sweep for parts of the pixels, and the exponent fitted to it."""
    print(f"\n{'pixels':>8}{'non-zeros':>12}{'one sweep':>12}")
    rows = np.random.default_rng(0).permutation(X.shape[0])
    points = []
    for share in (1 / 8, 1 / 4, 1 / 2, 1):
        part = Sparse(sparse.csr_array(X[np.sort(rows[: int(share * len(rows))])]))
        points.append((part.X.nnz, min(one_sweep(part) for _ in range(5))))
        print(f"{part.shape[0]:>8}{points[-1][0]:>12}{points[-1][1]:>10.3f} s")
    exponent = np.polyfit(*np.log(np.array(points)).T, 1)[0]
    print(f"time grows as non-zeros to the power {exponent:.2f} (allowed: 1.1)")


def one_sweep(data: Sparse) -> float:
    """Seconds of both factors improved once and the divergence taken."""
    rng, loss = np.random.default_rng(1), Poisson()
    factors = [rng.random((size, K)) + 0.1 for size in data.shape]
    _ = data.entries().transposed
    start = time.perf_counter()
    for mode in (1, 0):
        subproblem = loss.subproblem(data, factors, mode)
        factors[mode] = Newton().improve(subproblem, factors[mode], data.shape[1 - mode])
    loss.misfit(data, factors)
    return time.perf_counter() - start


def row(name: str, seconds: float, model: em.NMF) -> None:
    """Print one line about a fit."""
    print(
        f"{name:<34}{seconds:>8.2f} s{model.objective_[-1]:>15.1f}{model.n_iter_:>8}"
        f"{model.optimality_:>12.1e}",
        flush=True,
    )


def duel(X: sparse.csr_array, sweeps: int) -> None:
    """Print the comparison with scikit-learn, and where our time goes."""
    their_seconds, goal = theirs(X, sweeps)
    seconds, model, stages = ours(X, goal)
    print(f"\nscikit-learn, {sweeps} sweeps of MU: {their_seconds:.1f} s, divergence {goal:.1f}")
    print(f"here, ten starts, to that divergence: {seconds:.2f} s, {model.objective_[-1]:.1f}")
    print(f"ratio {their_seconds / seconds:.1f} (wanted: {TARGET})")
    end = 0.0
    for stage, (_, last) in stages.items():
        print(
            f"  {stage:<18}{last - end:>7.2f} s" + ("  (reading and sketch included)" * (end == 0))
        )
        end = last
    print(f"  {'the rest':<18}{seconds - end:>7.2f} s")


def fits(X: sparse.csr_array, cube: np.ndarray) -> None:
    """Print what fits to the default tolerance take and reach."""
    print(
        f"\n{'to the default tolerance':<34}{'time':>10}{'objective':>15}{'sweeps':>8}{'KKT':>12}"
    )
    row("CSR", *ours(X)[:2])
    row(f"dense {cube.dtype}", *ours(cube)[:2])
    row("plain Newton steps", *ours(X, solver=em.Newton(relaxation=1.0))[:2])
    row(
        "maps=Sparse(), spectra=Ridge()", *ours(X, maps=em.Sparse(0.01), spectra=em.Ridge(0.01))[:2]
    )
    row("maps=Smooth(0.1)", *ours(cube, maps=em.Smooth(0.1))[:2])


def files() -> None:
    """Print the same for other sparse files."""
    for name in OTHERS:
        found = data_of(name)
        if found is not None:
            row(f"{name}, k = {K}", *ours(found[0])[:2])


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=400, help="of scikit-learn")
    parser.add_argument("--parts", nargs="+", default=["growth", "duel", "fits", "files"])
    asked = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    phantom = em.synthetic.edxs_phases(shape=(128, 128), channels=2048, k=K, dose=5, seed=0)
    cube, name = data_of("mineral_71GPa.hspy") or (np.asarray(phantom.data), "phantom")
    X = sparse.csr_array(cube.reshape(-1, cube.shape[-1]).astype(np.float64))
    print(f"{name}: {X.shape[0]} pixels, {X.shape[1]} channels, {X.nnz} non-zeros, k = {K}")
    start = time.perf_counter()
    kernels.loops()
    one_sweep(Sparse(X[:2000]))
    print(f"first use of the compiled loops: {time.perf_counter() - start:.2f} s")
    if "growth" in asked.parts:
        growth(X)
    if "duel" in asked.parts:
        duel(X, asked.sweeps)
    if "fits" in asked.parts:
        fits(X, cube)
    if "files" in asked.parts:
        files()


if __name__ == "__main__":
    main()
