"""Draw the rooms of the source from its imports, and follow one spectrum image from ``em.unmix`` to the solver.

python tools/architecture.py          draw docs/images/architecture.png and print the walk
python tools/architecture.py --walk   print the walk alone
python tools/architecture.py --sizes  print the statements of every folder (docstrings not counted)
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

import endmember

SOURCE = Path(endmember.__file__).parent
PICTURE = SOURCE.parents[1] / "docs" / "images" / "architecture.png"
#: Rooms from below to above: each may import from those before it.
ROOMS = (
    *("data", "subproblems", "sketch", "noise", "losses", "matching", "penalties", "solvers"),
    *("scale", "regression", "loop", "arrangements", "geometry", "drift"),
    *("preprocess", "synthetic", "methods", "show", "assess", "catalogue", "signals", "app", "cli"),
)
#: Those of the mathematics.
IN_FACTOR = 14


def statements(text: str) -> int:
    """Return how many statements a source has; a docstring is none."""
    nodes = list(ast.walk(ast.parse(text)))
    docstrings = sum(
        ast.get_docstring(node, clean=False) is not None
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return sum(isinstance(node, ast.stmt) for node in nodes) - docstrings


def sizes() -> dict[str, int]:
    """Return the statements of every folder of the source, by its path; files at the top under ``.``."""
    found: Counter[str] = Counter()
    for file in sorted(SOURCE.rglob("*.py")):
        found[file.parent.relative_to(SOURCE).as_posix()] += statements(file.read_text())
    return dict(found)


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module: inside the mathematics its second folder, elsewhere its first."""
    return parts[1] if parts[0] == "factor" and len(parts) > 1 else parts[0]


def imports() -> Counter[tuple[str, str]]:
    """Return how many imports lead from one room to another."""
    found: Counter[tuple[str, str]] = Counter()
    for file in SOURCE.rglob("*.py"):
        here = room_of(file.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "endmember"
            ):
                continue
            path = [*str(node.module).split(".")[1:], node.names[0].name]
            found[here, room_of(tuple(path))] += 1
    return found


def draw() -> None:
    """Draw who imports from whom: a row for each room that imports, a column for each that it imports from."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    found = imports()
    table = np.array([[found[row, column] for column in ROOMS] for row in ROOMS])
    np.fill_diagonal(table, 0)
    figure = Figure(figsize=(8.6, 7.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.sqrt(table), cmap="Blues", vmax=7)
    for row, column in zip(*np.nonzero(table), strict=True):
        count = table[row, column]
        axes.text(
            column,
            row,
            count,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if count > 16 else "black",
        )
    for k in range(len(ROOMS)):
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, facecolor="#d8d8d8"))
    axes.add_patch(
        Rectangle((-0.5, -0.5), IN_FACTOR, IN_FACTOR, fill=False, edgecolor="#456", linewidth=1.5)
    )
    axes.set_xticks(range(len(ROOMS)), ROOMS, rotation=60, ha="right")
    axes.set_yticks(range(len(ROOMS)), ROOMS)
    axes.set(
        xlabel="imports from", title="Imports between rooms; the frame is factor/, the mathematics"
    )
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def walk() -> tuple[list[str], int]:
    """Return the files that run before the solver is first called, in order, and how many calls end on the way.

    Conditions that are only looked at, to refuse what breaks them, are none.
    """
    import endmember as em

    signal = em.synthetic.mixed_phases((8, 8), channels=32, dose=300).signal
    em.unmix(signal, em.NMF(3, random_state=0))  # what is imported once is not on the way
    files: list[str] = []
    returns = 0
    arrived = False

    def watch(frame, event, _):
        nonlocal returns, arrived
        path = Path(frame.f_code.co_filename)
        name = frame.f_code.co_name
        asked = path == SOURCE / "errors.py"
        if arrived or asked or SOURCE not in path.parents or name.startswith("<"):
            return
        file = path.relative_to(SOURCE).as_posix()
        if event == "call":
            arrived = file.startswith("factor/solvers/") and name == "improve"
            if file not in files:
                files.append(file)
        elif event == "return":
            returns += 1

    sys.setprofile(watch)
    try:
        em.unmix(signal, em.NMF(3, random_state=0))
    finally:
        sys.setprofile(None)
    return files, returns


def main() -> None:
    """Print or draw what was asked for."""
    if "--sizes" in sys.argv:
        for folder, count in sizes().items():
            print(f"{count:6} {folder}")
        print(f"{sum(sizes().values()):6}")
        return
    if "--walk" not in sys.argv:
        draw()
    files, returns = walk()
    print(*files, sep="\n")
    print(f"{len(files)} files, {returns} returns before the solver is called")


if __name__ == "__main__":
    main()
