"""Public names of a package, imported where they are defined when they are first used."""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazily(
    package: str, names_by_module: dict[str, list[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package, from which of its modules has which names."""
    module_of = {name: module for module, names in names_by_module.items() for name in names}

    def attribute(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return attribute, lambda: sorted(module_of), sorted(module_of)
