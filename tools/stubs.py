"""Write the stubs ``__init__.pyi``, by which editors and type checkers see names that are imported when first used.

python tools/stubs.py          write them
python tools/stubs.py --check  end with 1 where one that is there is not what would be written
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGES = ("endmember", "endmember.assess", "endmember.preprocess", "endmember.signals")


def stub_of(package: ModuleType) -> str:
    """Return the text of a stub: an import for every public name, from where it is defined."""
    lines = ['"""Public names, written by tools/stubs.py."""', ""]
    for name in package.__all__:
        thing = getattr(package, name)
        if isinstance(thing, ModuleType):
            lines.append(f"from {package.__name__} import {name} as {name}")
        elif name == "__version__":
            lines.append("__version__: str")
        else:
            lines.append(f"from {thing.__module__} import {thing.__name__} as {name}")
    exported = [f'    "{name}",' for name in package.__all__]
    return "\n".join([*lines, "__all__ = [", *exported, "]", ""])


def main(check: bool) -> int:
    """Write or check every stub; return how many differ."""
    differing = 0
    for package in map(import_module, PACKAGES):
        path, text = Path(str(package.__file__)).with_suffix(".pyi"), stub_of(package)
        if check:
            differing += not path.exists() or path.read_text() != text
        else:
            path.write_text(text)
    return differing


if __name__ == "__main__":
    sys.exit(bool(main("--check" in sys.argv)))
