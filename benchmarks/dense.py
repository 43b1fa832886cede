"""Least squares in memory beside other programs: same array, same run, same cost reached.

Every program runs in a fresh interpreter that loads the same array from disk; its time is that of the fit alone, its
memory the growth of the peak beyond the array. A program that follows its cost per sweep stops when it has reached
ours; one that does not runs as long as is usual. pyMCR runs on fewer pixels and channels, as said in the
table. The last column is the largest angle between a spectrum found and the true one: a lower cost is no better answer.
Ratios hold within one run; seconds do not carry over to other machines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COMPONENTS = 4
#: A peer has reached our cost when it is this close, and gives up after so many sweeps.
CLOSE, SWEEPS = 1e-4, 2000
OURS, FINE = "endmember NMF, 10 starts", "endmember NMF, 10 starts, tol=1e-8"


def cost(X: np.ndarray, C: np.ndarray, S: np.ndarray) -> float:
    """Half the squared residual in float64, block by block."""
    blocks = range(0, len(X), 1024)
    return 0.5 * sum(
        float(np.sum((X[i : i + 1024].astype(np.float64) - C[i : i + 1024] @ S) ** 2))
        for i in blocks
    )


def endmember(
    X: np.ndarray, goal: float, k: int = COMPONENTS, tol: float = 1e-6
) -> tuple[np.ndarray, np.ndarray]:
    import endmember as em

    nmf = em.NMF(k, tol=tol, random_state=0).fit(X)
    return nmf.maps_, nmf.components_


def fine(X: np.ndarray, goal: float, k: int = COMPONENTS) -> tuple[np.ndarray, np.ndarray]:
    return endmember(X, goal, k, 1e-8)


def scikit_learn(X: np.ndarray, goal: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.decomposition import NMF

    nmf = NMF(COMPONENTS, init="nndsvda", max_iter=200, tol=0, random_state=0)
    return nmf.fit_transform(X), nmf.components_


def hyperspy(X: np.ndarray, goal: float) -> tuple[np.ndarray, np.ndarray]:
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(X)
    signal.decomposition(algorithm="NMF", output_dimension=COMPONENTS, print_info=False)
    loadings = signal.get_decomposition_loadings().data.reshape(COMPONENTS, -1).T
    return loadings, signal.get_decomposition_factors().data


def start(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the start that scikit-learn's NMF takes, for programs that have none of their own."""
    from sklearn.decomposition._nmf import _initialize_nmf

    return _initialize_nmf(X, COMPONENTS, init="nndsvda", random_state=0)


def pymcr(X: np.ndarray, goal: float) -> tuple[np.ndarray, np.ndarray]:
    from pymcr.mcr import McrAR

    mcr = McrAR(
        max_iter=SWEEPS, c_regr="NNLS", st_regr="NNLS", tol_increase=None,
        tol_n_increase=None, tol_err_change=None, tol_n_above_min=None,
    )  # fmt: skip
    reached = 2 * goal * (1 + CLOSE) / X.size  # pyMCR's error is the mean squared residual
    _, S = start(X)
    while True:
        mcr.max_iter = 5
        mcr.fit(X, ST=S)
        S = mcr.ST_opt_
        mcr.n_sweeps = getattr(mcr, "n_sweeps", 0) + 5
        if mcr.err[-1] <= reached or mcr.n_sweeps >= SWEEPS:
            return mcr.C_opt_, S


def tensorly(X: np.ndarray, goal: float) -> tuple[np.ndarray, np.ndarray]:
    from tensorly.cp_tensor import CPTensor
    from tensorly.decomposition import non_negative_parafac_hals

    C, S = start(X)
    for done in range(0, SWEEPS, 10):
        begun = CPTensor((np.ones(COMPONENTS, X.dtype), [C, S.T]))
        (_, (C, factor)) = non_negative_parafac_hals(
            X, COMPONENTS, n_iter_max=10, init=begun, tol=0
        )
        S = factor.T
        if cost(X, C, S) <= goal * (1 + CLOSE) or done + 10 >= SWEEPS:
            break
    return C, S


PROGRAMS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    OURS: endmember,
    FINE: fine,
    "scikit-learn NMF, 200 sweeps": scikit_learn,
    "HyperSpy decomposition, NMF": hyperspy,
    "pyMCR, NNLS": pymcr,
    "TensorLy, CP by HALS": tensorly,
}


def write_cube(
    path: Path, size: int, channels: int, dose: float, k: int = COMPONENTS
) -> np.ndarray:
    """Write a phantom as float32, and its true spectra beside it; return it, (size * size, channels)."""
    import endmember as em

    phantom = em.synthetic.mixed_phases(
        shape=(size, size), channels=channels, k=k, dose=dose, seed=0
    )
    X = np.asarray(phantom.data, dtype=np.float32).reshape(-1, channels)
    np.save(path, X)
    np.save(truth_of(path), phantom.spectra)
    return X


def truth_of(path: Path) -> Path:
    return path.with_name(f"truth-{path.name}")


def worst_angle(S: np.ndarray, path: Path) -> float:
    import endmember as em

    true = np.load(truth_of(path))
    return float(np.max(em.spectral_angle(S[em.match_components(S, true)], true)))


def peak() -> float:
    """Return the most memory that this process ever held, in bytes, without what its parent did (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024.0 * int(line.split()[1])
    return float("nan")


def measure(program: str, path: Path, goal: float, k: int) -> dict[str, float]:
    """Run one program here and say what it took."""
    X = np.load(path)
    function = PROGRAMS[program]
    ours = function in (endmember, fine)
    if ours:  # imports are not part of the fit
        endmember(X[:512, :128] + np.float32(1e-3), 0.0, 2)
    else:
        import sklearn.decomposition  # noqa: F401
    before = peak()
    begun = time.perf_counter()
    C, S = function(X, goal, k) if ours else function(X, goal)
    seconds = time.perf_counter() - begun
    grown = peak() - before
    return {
        "seconds": seconds, "memory": grown / X.nbytes,
        "cost": cost(X, C, S), "angle": worst_angle(S, path),
    }  # fmt: skip


def in_fresh_interpreter(
    program: str, path: Path, goal: float = 0.0, k: int = COMPONENTS
) -> dict[str, float]:
    """Measure one program in an interpreter of its own."""
    arguments = ["--one", program, str(path), repr(goal), str(k)]
    found = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])


def product_seconds(X: np.ndarray) -> float:
    """Best time of one product ``X @ (channels x 14)`` with all threads of the BLAS."""
    Z = np.random.default_rng(0).random((X.shape[1], 14)).astype(X.dtype)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        X @ Z
        times.append(time.perf_counter() - begun)
    return min(times)


def compare(size: int, channels: int, dose: float, programs: list[str], folder: Path) -> None:
    """Print the rows of one array."""
    path = folder / "cube.npy"
    product = product_seconds(write_cube(path, size, channels, dose))
    ours = in_fresh_interpreter(OURS, path)
    what = f"{size}×{size}×{channels}, dose {dose:g}"
    in_products = f"{ours['seconds'] / product:.1f} products"
    print(row(what, OURS, ours, in_products, 0.0))
    for program in [FINE, *programs]:
        theirs = in_fresh_interpreter(program, path, ours["cost"])
        ratio = f"{theirs['seconds'] / ours['seconds']:.1f} ×"
        print(row(what, program, theirs, ratio, theirs["cost"] / ours["cost"] - 1), flush=True)


def row(what: str, program: str, found: dict[str, float], ratio: str, above: float) -> str:
    return (
        f"| {what} | {program} | {found['seconds']:.2f} s | {ratio} | {found['memory']:.2f} "
        f"| {above:+.1e} | {found['angle']:.1f}° |"
    )


def growth(folder: Path, sizes: dict[str, list[tuple[int, int, int]]]) -> None:
    """Print how the time grows with pixels, channels and components: fitted exponents."""
    print("\n| time grows with | sizes | seconds | exponent |\n|---|---|---|---|")
    for axis, (name, cases) in enumerate(sizes.items()):
        seconds, varied = [], []
        for size, channels, k in cases:
            write_cube(folder / "cube.npy", size, channels, 300.0, k)
            seconds.append(in_fresh_interpreter(OURS, folder / "cube.npy", k=k)["seconds"])
            varied.append((size * size, channels, k)[axis])
        exponent = np.polyfit(np.log(varied), np.log(seconds), 1)[0]
        times = ", ".join(f"{value:.2f}" for value in seconds)
        print(f"| {name} | {', '.join(map(str, varied))} | {times} | {exponent:.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small arrays")
    parser.add_argument("--one", nargs=4, metavar="WORD", help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.one:
        program, path, goal, k = options.one
        print(json.dumps(measure(program, Path(path), float(goal), int(k))))
        return
    size, channels, smaller = 256, 2048, [(128, 1024), (64, 512)]
    if options.quick:
        size, channels, smaller = 64, 512, [(32, 256)]
    print("## Least squares in memory\n")
    print(
        "| float32 cube | program | time | of ours | memory / X | cost above ours | worst angle |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    _, _, learn, hyper, mcr, tensor = PROGRAMS
    half, k = size // 2, COMPONENTS
    sizes = {
        "pixels": [(half // 2, channels, k), (half, channels, k), (size, channels, k)],
        "channels": [(half, channels // n, k) for n in (4, 2, 1)],
        "components": [(half, channels, k) for k in (2, 4, 8)],
    }
    with tempfile.TemporaryDirectory() as folder:
        for dose in (300.0, 30.0):
            compare(size, channels, dose, [learn, hyper, tensor], Path(folder))
        if not options.quick:
            compare(1000, 40, 300.0, [learn], Path(folder))
        for pixels, energies in smaller:  # pyMCR takes a minute on the larger
            compare(pixels, energies, 300.0, [learn, hyper, mcr, tensor], Path(folder))
        growth(Path(folder), sizes)


if __name__ == "__main__":
    main()
