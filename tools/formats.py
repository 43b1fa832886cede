"""Write the table of all formats of RosettaSciIO in docs/your_file.md: which are read by their ending, which when told.

python tools/formats.py          write it
python tools/formats.py --check  end with 1 where the page says something else
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rsciio import IO_PLUGINS

from endmember.signals.files.plain import PLAIN

PAGE = Path(__file__).parents[1] / "docs" / "your_file.md"
BEGIN, END = "<!-- begin formats -->\n", "<!-- end formats -->"
#: What is read of a format otherwise than by its name or a word, or not at all, and the way on.
OTHERWISE = {
    "Image": "refused: one picture holds no spectrum; stack them, `.tif` or `.npy`, and give `--energy-axis 0`",
    "Impulse": "refused: a log of conditions and no spectra",
    "Protochips": "refused: a log of conditions and no spectra",
    "DENS": "refused: a log of conditions and no spectra",
    "MSA": "single spectra: `--reference`, `em.MLLS`",
    "TIFF": "with `--energy-axis 0` for one image after the other",
    "numpy": "with `--energy-axis N` where the last axis does not hold the energies",
}


def endings_of(plugin: dict) -> list[str]:
    """Return the endings of a format, each once whatever its case."""
    return list(dict.fromkeys(one.lower() for one in plugin["file_extensions"]))


def table() -> str:
    """Return a row for every format: its name, its endings, and how it is read."""
    shared = Counter(one for plugin in IO_PLUGINS for one in endings_of(plugin))
    rows = ["| format | endings | read |", "|---|---|---|"]
    for plugin in sorted(IO_PLUGINS, key=lambda one: one["name"].lower()):
        name, endings = plugin["name"], endings_of(plugin)
        told = f"`--reader file_format={name}`"
        alone = [one for one in endings if shared[one] == 1 or f".{one}" in PLAIN]
        by_name = "by its name" if len(alone) == len(endings) else f"when told, {told}"
        if 0 < len(alone) < len(endings):
            by_name = f"by its name; {', '.join(f'`.{one}`' for one in endings if one not in alone)} when told, {told}"
        said = OTHERWISE.get(name, by_name)
        shown = " ".join(f"`.{one}`" for one in endings[:6]) + (" …" if len(endings) > 6 else "")
        rows.append(f"| {name} | {shown} | {said} |")
    return "\n".join(rows) + "\n"


def page_with(rows: str) -> str:
    """Return the page with these rows in place of its own."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}{rows}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    page = page_with(table())
    if "--check" in sys.argv:
        sys.exit(page != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
