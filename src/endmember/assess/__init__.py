"""After the fit: how many components, how sure, which model."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES_BY_MODULE = {
    "bands": ["Bands", "ambiguity"],
    "number": ["RankReport", "rank"],
    "hints": ["Hint", "element_hints"],
    "detection": ["Detectability", "detectability", "local_rank"],
    "standard_errors": ["Errors", "uncertainty"],
    "weights": ["Path", "path"],
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name where it is defined, on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
