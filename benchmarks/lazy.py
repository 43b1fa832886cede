"""A spectrum image beyond the memory: passes, peak memory and time beside reading it once.

python benchmarks/lazy.py                       a quarter of a gigabyte
python benchmarks/lazy.py --gigabytes 8 --memory 1GB --folder /scratch
python benchmarks/lazy.py --type uint16         counts as a detector writes them

The cube is ``mixed_phases`` at dose 300, written block by block and removed at the end. Every row is
measured in a process of its own. "reading" is the time that Dask needs to read and sum the cube once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHANNELS, SIDE = 2048, 64
COMPONENTS = 4


def write(file, gigabytes, dtype, compressed):
    """Write the phantom as a zspy file in chunks of 64 x 64 pixels, a strip at a time."""
    import dask.array as da
    import hyperspy.api as hs
    import numcodecs

    from endmember import synthetic

    pixels = gigabytes * 1e9 / (CHANNELS * np.dtype(dtype).itemsize)
    side = max(2, round(np.sqrt(pixels) / SIDE)) * SIDE
    tile = synthetic.mixed_phases(
        shape=(256, 256), channels=CHANNELS, k=COMPONENTS, dose=300, seed=0
    )
    clean_maps, spectra = tile.maps, tile.spectra

    def strip(block_info=None):
        (y0, y1), (x0, x1), _ = block_info[None]["array-location"]
        maps = clean_maps[np.ix_(np.arange(y0, y1) % 256, np.arange(x0, x1) % 256)]
        rng = np.random.Generator(np.random.Philox([y0, x0]))
        return rng.poisson(maps @ spectra).astype(dtype)

    chunks = ((SIDE,) * (side // SIDE), (SIDE,) * (side // SIDE), (CHANNELS,))
    lazy = da.map_blocks(strip, chunks=chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype))
    signal = hs.signals.Signal1D(lazy).as_lazy()
    options = {} if compressed else {"compressor": numcodecs.Blosc(clevel=0)}
    signal.save(file, chunks=(SIDE, SIDE, CHANNELS), show_progressbar=False, **options)
    return (side, side, CHANNELS)


def peak():
    """Return the most memory that this process ever held, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return float("nan")


def reading(file, memory):
    """Read and sum once."""
    import hyperspy.api as hs

    data = hs.load(file, lazy=True).data
    start = time.perf_counter()
    data.sum(dtype=np.float64).compute(scheduler="threads")
    return {"seconds": time.perf_counter() - start, "passes": 1, "peak": peak()}


def unmixing(file, memory):
    """Unmix with ten starts within the memory."""
    import endmember as em

    signal = em.load(file, lazy=True)
    before = peak()
    start = time.perf_counter()
    result = em.unmix(signal, em.NMF(COMPONENTS, random_state=0), memory=memory)
    return {
        "seconds": time.perf_counter() - start,
        "passes": result.record["passes"],
        "peak": peak(),
        "before": before,
        "optimality": result.model.optimality_,
        "converged": result.model.converged_,
        "sweeps": result.model.n_iter_,
    }


def apart(what, file, memory):
    """Run one measurement in a process of its own."""
    words = [sys.executable, __file__, "--only", what, "--file", str(file), "--memory", memory]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def table(file, shape, memory):
    once = [apart("reading", file, memory) for _ in range(2)][-1]
    fit = apart("unmixing", file, memory)
    size = sum(part.stat().st_size for part in file.rglob("*") if part.is_file())
    ratio = fit["seconds"] / once["seconds"]
    print(f"cube {' x '.join(map(str, shape))}, {size / 1e9:.2f} GB on disk, limit {memory}")
    print("                   seconds  passes  peak memory")
    print(f"reading and sum    {once['seconds']:7.2f}       1  {once['peak'] / 1e9:7.2f} GB")
    print(
        f"unmixing, 10 starts{fit['seconds']:7.2f}  {fit['passes']:6d}  {fit['peak'] / 1e9:7.2f} GB"
    )
    print(f"  of which held before the fit           {fit['before'] / 1e9:7.2f} GB")
    print(f"time / (passes x reading)  {ratio / fit['passes']:.2f}")
    print(
        f"optimality {fit['optimality']:.1e}, {fit['sweeps']} sweeps, converged {fit['converged']}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=0.25, help="size as an array")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--type", default="float32", choices=("float32", "uint16"))
    parser.add_argument("--compressed", action="store_true", help="as HyperSpy writes by default")
    parser.add_argument("--folder", help="where the cube is written for the time being")
    parser.add_argument("--only", choices=("reading", "unmixing"), help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(
            json.dumps(
                {"reading": reading, "unmixing": unmixing}[given.only](given.file, given.memory)
            )
        )
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        file = Path(folder) / "cube.zspy"
        shape = write(file, given.gigabytes, given.type, given.compressed)
        table(file, shape, given.memory)


if __name__ == "__main__":
    main()
