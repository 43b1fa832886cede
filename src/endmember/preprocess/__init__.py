"""Before the factorisation: functions on arrays and signals alike."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES_BY_MODULE: dict[str, list[str]] = {
    "alignment": ["align", "find_shifts"],
    "background": ["fit_background", "subtract_background"],
    "continuum": ["ShapeBackground", "bremsstrahlung_shapes"],
    "denoising": ["Separated", "denoise", "separate_outliers"],
    "detector": [
        "bad_channels",
        "correct_detector",
        "fixed_pattern",
        "remove_afterglow",
        "remove_fixed_pattern",
    ],
    "power_laws": ["PowerLawBackground"],
    "spikes": ["find_spikes", "remove_spikes"],
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
