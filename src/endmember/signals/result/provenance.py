"""What is kept with every answer so that it can be run again: versions, data, processing steps."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from endmember import __version__
from endmember.factor.data.fingerprint import data_hash
from endmember.preprocess.lifting import record, steps

__all__ = ["data_hash", "record", "set_source", "source", "steps", "versions"]

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "hyperspy", "exspy", "rosettasciio")
_SOURCE = "Endmember.source"


def versions() -> dict[str, str]:
    """Return the version of everything that has a say in an answer.

    Returns
    -------
    dict of str to str
        For endmember, python and the packages underneath; those not installed are left out.

    Examples
    --------
    >>> import numpy
    >>> versions()["numpy"] == numpy.__version__
    True
    """
    found = {"endmember": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def source(signal: Any) -> dict[str, Any] | None:
    """Return where a signal was loaded from, as `set_source` noted it.

    Returns
    -------
    dict or None
        ``path``, ``signal`` (the number in the file) and ``lazy``; None for a signal of no file.
    """
    text = signal.metadata.get_item(_SOURCE, default="")
    return json.loads(text) if text else None


def set_source(signal: Any, path: str | Path, number: int, lazy: bool) -> None:
    """Note in the metadata of a signal, in place, where it was loaded from."""
    place = {"path": str(Path(path).absolute()), "signal": number, "lazy": lazy}
    signal.metadata.set_item(_SOURCE, json.dumps(place))
