"""Time and memory of large files beside what the program itself takes: single X-rays, and a pattern at every pixel.

python benchmarks/files.py            512 x 512 x 4,096 with 308,000 counts, and 64 x 64 patterns of 128 x 128
python benchmarks/files.py --large    and 1,024 x 1,024 x 4,096 with 20 million counts
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_files import jeol_events  # noqa: E402

#: What runs in a process of its own: a small fit first, so that what is loaded and compiled once does not count.
MEASURED = """
import json, resource, sys, time
import numpy as np, hyperspy.api as hs, endmember as em
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = em.load(sys.argv[1])
em.unmix(small, em.NMF(3, random_state=0, n_starts=2))
before, start = peak(), time.perf_counter()
signal = em.load(sys.argv[2], lazy=sys.argv[3] == "lazy")
loaded = time.perf_counter() - start
result = em.unmix(signal, em.NMF(3, random_state=0))
print(json.dumps({"load_s": loaded, "all_s": time.perf_counter() - start, "peak_mb": peak() - before,
    "passes": result.record["passes"], "converged": bool(result.model.converged_), "shape": signal.data.shape}))
"""


class Counts:
    """Counts of three phases in bands, pixel by pixel as they are asked for."""

    def __init__(self, side: int, total: int) -> None:
        self.shape, self._rng = (side, side, 4096), np.random.default_rng(0)
        energy = np.arange(4096)
        lines = [np.exp(-((energy - at) ** 2) / 50) for at in (174, 640, 805)]
        self._phases = np.array([line / line.sum() + 2e-5 for line in lines]) * total / side**2

    def __getitem__(self, place: tuple[int, int]) -> np.ndarray:
        return self._rng.poisson(self._phases[3 * place[0] // self.shape[0]])


def measured(small: Path, file: Path, how: str = "eager") -> str:
    """Return what a process says of a file."""
    call = [sys.executable, "-W", "ignore", "-c", MEASURED, str(small), str(file), how]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.splitlines()[-1]
    said = json.loads(done.stdout.splitlines()[-1])
    return (
        f"{tuple(said['shape'])}, file of {file.stat().st_size / 1e6:.1f} MB: loaded in {said['load_s']:.1f} s, "
        f"unmixed after {said['all_s']:.1f} s, {said['peak_mb']:.0f} MB above the program, {said['passes']} passes"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        small, map_, scan = home / "small.pts", home / "map.pts", home / "scan.hspy"
        small.write_bytes(jeol_events(Counts(16, 20_000)))
        map_.write_bytes(jeol_events(Counts(512, 308_000)))
        print("single X-rays:", measured(small, map_))
        scan_of_patterns(scan)
        print("patterns:     ", measured(small, scan, "lazy"))
        if "--large" in sys.argv:
            map_.write_bytes(jeol_events(Counts(1024, 20_000_000)))
            print("single X-rays:", measured(small, map_))


def scan_of_patterns(file: Path) -> None:
    """Write 64 x 64 patterns of 128 x 128 pixels, counts of three grains."""
    import hyperspy.api as hs

    rng = np.random.default_rng(0)
    y, x = np.indices((128, 128)) - 64
    patterns = [
        np.exp(-((x - r * np.cos(a)) ** 2 + (y - r * np.sin(a)) ** 2) / 20) + 0.01
        for r, a in ((30, 0.2), (40, 1.4), (25, 2.5))
    ]
    maps = rng.dirichlet([0.3] * 3, (64, 64))
    data = rng.poisson(np.tensordot(20 * maps, np.array(patterns), 1)).astype(np.uint16)
    hs.signals.Signal2D(data).save(file)


if __name__ == "__main__":
    main()
