"""What starting costs: importing the package, making a model, asking the command for help.

Every row is the median over fresh interpreters, measured in turn inside one run, so that the ratios
hold on any machine although the seconds do not.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 7
BARE = "a bare interpreter"
BASE = "import sklearn.base"
CASES = {
    BARE: ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    BASE: ["-c", "import sklearn.base"],
    "import endmember": ["-c", "import endmember"],
    "em.NMF(3)": ["-c", "import endmember as em; em.NMF(3)"],
    "endmember --help": [
        "-c",
        "import sys; from endmember.cli import main; sys.exit(main(['--help']))",
    ],
    "endmember --version": [
        "-c",
        "import sys; from endmember.cli import main; sys.exit(main(['--version']))",
    ],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one fresh interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure() -> dict[str, float]:
    """Median of every case, the cases taken in turn; the first round warms the disk."""
    rounds = [{name: seconds(case) for name, case in CASES.items()} for _ in range(ROUNDS + 1)]
    return {name: statistics.median(times[name] for times in rounds[1:]) for name in CASES}


def main() -> None:
    """Print the table."""
    median = measure()
    print(f"{'case':<22}{'median':>9}{'above bare':>12}{'of sklearn.base':>17}")
    for name, value in median.items():
        above = value - median[BARE]
        print(f"{name:<22}{value:>7.3f} s{above:>10.3f} s{value / median[BASE]:>17.2f}")
    more = median["em.NMF(3)"] - median[BASE]
    print(f"\nem.NMF(3) takes {more:+.3f} s over import sklearn.base (allowed: 0.3 s)")
    package = median["import endmember"] - median[BARE]
    print(f"import endmember takes {package:+.3f} s over a bare interpreter (allowed: 0.1 s)")
    print(f"endmember --help takes {median['endmember --help']:.3f} s (allowed: 1 s)")


if __name__ == "__main__":
    main()
