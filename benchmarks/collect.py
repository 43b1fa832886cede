"""Run the comparisons of speed and memory, print their tables and write them to docs/benchmarks.md.

python benchmarks/collect.py             all of them: half an hour on a quiet machine with two cores
python benchmarks/collect.py --quick     small data, to see that everything runs; nothing is written
python benchmarks/collect.py dense lazy  some of them; the page keeps what it says of the others

Each script in this folder also runs alone and says what it measures. How close to the truth the methods come
is measured by `scoreboard.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
COMPARED = ("numpy", "scipy", "scikit-learn", "hyperspy", "pymcr", "tensorly")


@dataclass(frozen=True)
class Part:
    """One section of the page: its title, what it says first, and the command that prints it."""

    title: str
    about: str
    command: tuple[str, ...]
    quick: tuple[str, ...]


PARTS = {
    "dense": Part(
        "Least squares in memory",
        "Four phases that overlap (`em.synthetic.mixed_phases`), as float32. Every program runs in an interpreter of "
        "its own on the same array; times are those of the fit, ours with ten starts and the last sweeps on the full "
        "data. A product is `X @ Z` with 14 columns, all cores. Peers that can be followed stop when they reach our "
        "cost. The last column is what counts: a fit that goes on lowers its cost by following the noise, and its "
        "spectra move away from the truth. The default tolerance stops before that; `tol=1e-8` goes on towards the "
        "minimum.",
        ("dense.py",),
        ("dense.py", "--quick"),
    ),
    "poisson": Part(
        "Counts",
        "Poisson likelihood on a sparse matrix, both programs on the same one; ours counts ten starts.",
        ("poisson.py", "--parts", "growth", "duel"),
        ("poisson.py", "--parts", "growth", "duel", "--sweeps", "20"),
    ),
    "lazy": Part(
        "Beyond the memory",
        "A cube on disk in chunks, beside the time that Dask needs to read and sum it once.",
        ("lazy.py", "--gigabytes", "8"),
        ("lazy.py",),
    ),
    "tensors": Part(
        "Tensors",
        "Canonical polyadic decomposition beside TensorLy's, to the same error.",
        ("tensors.py", "duel"),
        ("tensors.py", "duel"),
    ),
    "references": Part(
        "Maps of known spectra",
        "Non-negative least squares of every pixel, beside a loop over SciPy's.",
        ("references.py", "speed"),
        ("references.py", "speed", "--pixels", "5000"),
    ),
    "startup": Part(
        "Start-up",
        "Imports and the first object, in a fresh interpreter.",
        ("startup.py",),
        ("startup.py",),
    ),
}  # fmt: skip


def printed(command: tuple[str, ...]) -> str:
    """Run a script of this folder, show what it prints as it comes, and return it."""
    script, *options = command
    words = [sys.executable, "-W", "ignore", str(HERE / script), *options]
    lines = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"{script} failed")
    return "".join(lines).strip()


def section(part: Part, text: str) -> str:
    """Return the section of the page: tables in Markdown as they are, anything else as plain text."""
    text = re.sub(r"^## .*\n+", "", text)
    body = text if "|---" in text else f"```text\n{text}\n```"
    command = " ".join(part.command)
    return f"## {part.title}\n\n{part.about}\n\n{body}\n\n`python benchmarks/{command}`\n"


def header() -> str:
    """Return the top of the page: what was measured, with which programs."""
    programs = ", ".join(f"{name} {version(name)}" for name in COMPARED)
    return (
        "# How fast\n\n"
        f"Measured in one run on {os.cpu_count()} cores ({platform.machine()}, Python {platform.python_version()}, "
        f"{programs}). Ratios within a run carry over to other machines, seconds do not. "
        "`make bench` measures all of it again and writes this page; how close to the truth every method comes is on "
        "[a page of its own](scoreboard.md).\n"
    )


def kept(page: str) -> dict[str, str]:
    """Return the sections that a page holds already, by their names here."""
    found = {}
    for name, part in PARTS.items():
        match = re.search(rf"^## {re.escape(part.title)}\n.*?(?=^## |\Z)", page, re.M | re.S)
        if match:
            found[name] = match[0].strip() + "\n"
    return found


def main() -> None:
    """Run what was asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--quick", action="store_true", help="small data; nothing is written")
    asked = parser.parse_args()
    sections = kept(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for name in asked.parts or PARTS:
        part = PARTS[name]
        print(f"\n# {part.title}\n", flush=True)
        sections[name] = section(part, printed(part.quick if asked.quick else part.command))
        if not asked.quick:
            text = "\n".join([header(), *(sections[name] for name in PARTS if name in sections)])
            new = PAGE.with_suffix(".new")
            new.write_text(text, encoding="utf-8")
            new.replace(PAGE)


if __name__ == "__main__":
    main()
