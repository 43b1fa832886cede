"""Time what people wait for, with this source and with that of an earlier commit, in turns in one run.

python benchmarks/compare.py                the newest tag or, without one, the first commit, beside what is here
python benchmarks/compare.py abc1234        another commit
python benchmarks/compare.py --keep         write the seconds to benchmarks/results/, to be compared later
python benchmarks/compare.py kept.json      ratios to what a file holds, both divided by a product timed in the same run
python benchmarks/compare.py --only rank "NMF, small"   some of them

Both sources run on the same data in interpreters of their own, first one and then the other, several rounds; the
table gives the ratio of the fastest rounds. A ratio above one is slower than before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def tasks() -> dict[str, Callable[[], object]]:
    """Return what is timed, by name; everything is made beforehand."""
    import numpy as np

    import endmember as em

    small = em.synthetic.mixed_phases((32, 32), channels=256, dose=300).signal.data.astype("f4")
    large = em.synthetic.mixed_phases((96, 96), channels=512, dose=300).signal.data.astype("f4")
    counts = em.synthetic.edxs_phases((32, 32)).signal.data
    series = em.synthetic.diode((24, 24)).signal.data
    series = np.stack([series * scale for scale in (1.0, 0.8, 0.5)])
    fitted = em.NMF(3, random_state=0).fit(small)
    references = fitted.components_
    Z = np.ones((large.shape[-1], 14), "f4")
    C, S, T = em.Factor(3), em.Factor(3), em.Factor(3)
    terms = [em.Term(small, C, S), em.Term(small[..., ::2].copy(), C, T)]
    return {
        "product": lambda: [large.reshape(-1, large.shape[-1]) @ Z for _ in range(20)],
        "NMF, small": lambda: em.NMF(4, random_state=0).fit(small),
        "NMF, larger": lambda: em.NMF(4, random_state=0).fit(large),
        "NMF, HALS and soft orthogonal": lambda: em.NMF(
            4, maps=em.SoftOrthogonal(0.01), random_state=0, max_iter=200
        ).fit(small),
        "NMF, Poisson": lambda: em.NMF(
            3, loss=em.Poisson(), n_starts=3, random_state=0, max_iter=100
        ).fit(counts),
        "NMF, smooth maps": lambda: em.NMF(
            3, maps=em.Smooth(0.1), n_starts=2, random_state=0, max_iter=100
        ).fit(small),
        "CP": lambda: em.CP(2, n_starts=2, random_state=0, max_iter=100).fit(series),
        "Fusion": lambda: em.Fusion(terms, max_iter=50, random_state=0).fit(),
        "MLLS": lambda: em.MLLS(references).fit(large[..., : references.shape[1]]),
        "rank": lambda: em.assess.rank(small),
        "errors": lambda: em.assess.uncertainty(fitted, small),
        "spikes": lambda: em.preprocess.remove_spikes(small),
        "VCA": lambda: em.VCA(4, random_state=0).fit(large),
    }


def timed(only: list[str]) -> dict[str, float]:
    """Return the seconds of every task, or of those asked for, after one call that is not counted."""
    import warnings

    warnings.simplefilter("ignore")
    seconds = {}
    for name, task in tasks().items():
        if only and name not in ["product", *only]:
            continue
        task()
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            task()
            best = min(best, time.perf_counter() - began)
        seconds[name] = best
    return seconds


def run(source: Path, only: list[str]) -> dict[str, float]:
    """Return what a fresh interpreter measures with a source."""
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    command = [sys.executable, str(HERE / "compare.py"), "--print", "--only", *only]
    return json.loads(subprocess.check_output(command, env=environment, text=True))


def fastest(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the least of every figure."""
    return {name: min(one[name] for one in rounds) for name in rounds[0]}


def show(before: dict[str, float], after: dict[str, float]) -> None:
    """Print the table of ratios and their median."""
    shared = [name for name in after if name in before and name != "product"]
    ratios = [after[name] / before[name] for name in shared]
    print("| | before, s | after, s | ratio |\n|---|---|---|---|")
    for name, ratio in zip(shared, ratios, strict=True):
        print(f"| {name} | {before[name]:.3f} | {after[name]:.3f} | {ratio:.2f} |")
    print(f"\nMedian of the ratios: {statistics.median(ratios):.3f}")


def against_commit(commit: str, rounds: int, only: list[str]) -> dict[str, float]:
    """Compare with a commit, in turns; return the seconds of what is here."""
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        git = ["git", "-C", str(ROOT)]
        subprocess.run(
            [*git, "worktree", "add", "-q", "--detach", str(earlier), commit], check=True
        )
        try:
            pairs = [(run(earlier, only), run(ROOT, only)) for _ in range(rounds)]
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(earlier)], check=True)
    before, after = (fastest(list(side)) for side in zip(*pairs, strict=True))
    show(before, after)
    return after


def against_file(path: Path, rounds: int, only: list[str]) -> dict[str, float]:
    """Compare with kept seconds, on the scale of the product timed beside them."""
    kept = json.loads(path.read_text())
    after = fastest([run(ROOT, only) for _ in range(rounds)])
    scale = after["product"] / kept["product"]
    show({name: seconds * scale for name, seconds in kept.items()}, after)
    return after


def first_release() -> str:
    """Return the newest tag, or the first commit."""
    git = ["git", "-C", str(ROOT)]
    tags = subprocess.run(
        [*git, "describe", "--tags", "--abbrev=0"], capture_output=True, text=True
    )
    first = [*git, "rev-list", "--max-parents=0", "HEAD"]
    return tags.stdout.strip() or subprocess.check_output(first, text=True).split()[0]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("against", nargs="?", help="a commit, or a file of kept seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="of the table")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--print", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.print:
        print(json.dumps(timed(asked.only)))
        return
    against = asked.against or first_release()
    if Path(against).suffix == ".json":
        after = against_file(Path(against), asked.rounds, asked.only)
    else:
        after = against_commit(against, asked.rounds, asked.only)
    if asked.keep:
        commit = subprocess.check_output(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], text=True
        ).strip()
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"{commit}.json").write_text(json.dumps(after, indent=1) + "\n")


if __name__ == "__main__":
    main()
