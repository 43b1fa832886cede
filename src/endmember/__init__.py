"""Unmix spectrum images into pure spectra and their maps.

Public names are imported on first use, so that ``import endmember`` costs nothing:
neither scikit-learn nor numba, dask, HyperSpy, matplotlib or panel is imported before it is needed.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_NAMES_BY_MODULE = {
    "assess.comparison": ["Comparison"],
    "errors": ["EndmemberError"],
    "factor.losses": ["BetaDivergence", "Poisson", "PoissonScaled", "SquaredError"],
    "factor.penalties": [
        "Absent",
        "Basis",
        "CoreLossEdges",
        "Free",
        "Known",
        "MinimumVolume",
        "Monotone",
        "NonNegative",
        "Norm",
        "PowerLaws",
        "Relevance",
        "Ridge",
        "Smooth",
        "Sparse",
        "SoftOrthogonal",
        "SumToOne",
        "TotalVariation",
        "Unimodal",
        "XRayLines",
        "ZeroOutside",
    ],
    "factor.solvers": ["ADMM", "ALS", "ANLS", "HALS", "MALS", "MultiplicativeUpdate", "Newton"],
    "factor.matching": ["match_components", "spectral_angle"],
    "factor.sketch.low_rank": ["LowRank", "compress"],
    "methods.coupled": ["Coupled"],
    "methods.drift": ["Drifting"],
    "methods.fusion": ["Factor", "Fusion", "Term"],
    "methods.geometry": ["NFINDR", "SPA", "VCA"],
    "methods.nmf": ["NMF"],
    "methods.pairs": ["CCA", "PLS"],
    "methods.projections": ["ICA", "PCA"],
    "methods.references": ["MLLS"],
    "methods.sampling": ["SubspaceSampling"],
    "methods.tensors": ["CP"],
    "methods.tucker": ["Tucker"],
    "signals.files.reading": ["UnreadableFileError"],
    "signals.files.source": ["load"],
    "signals.result.differences": ["compare"],
    "signals.result.unmix_and_open": ["unmix"],
    "signals.result.unmix_and_open:open_folder": ["open"],
    "signals.result.unmixing": ["Unmixing"],
    "app.notebook": ["workbench"],
}
_MODULES = ["assess", "preprocess", "show", "synthetic"]
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted([*_MODULE_OF, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name where it is defined, once."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_alike(name)}")
    module, _, attribute = _MODULE_OF[name].partition(":")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute or name)
    globals()[name] = value
    return value


def _alike(name: str) -> str:
    """Return a question about the public names that a misspelt one may stand for."""
    import difflib

    spelt = {public.lower(): public for public in __all__}
    close = difflib.get_close_matches(name.lower(), spelt, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(spelt[one] for one in close)}?" if close else ""


def __dir__() -> list[str]:
    return __all__
