"""Loops that numba compiles when they are first used."""

import logging
import time
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

logger = logging.getLogger("endmember")

#: Sums may be taken in another order and products fused, so that loops use wide registers.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract"},
}


def compiled(
    scope: Mapping[str, Any], functions: Mapping[Callable[..., Any], Any]
) -> dict[str, Any]:
    """Return compiled functions by name, kept on disk where a folder can be written.

    Parameters
    ----------
    scope : dict
        The names that they use: those of their module.
    functions : dict of callable to numba signature or None
        The functions, each behind those that it calls; with None one is compiled anew for the types of every call.
    """
    import numba

    began, scope = time.monotonic(), dict(scope)
    for function, types in functions.items():
        copy = FunctionType(function.__code__, scope, function.__name__)
        try:
            scope[function.__name__] = numba.njit(types, cache=True, **OPTIONS)(copy)
        except RuntimeError:  # nowhere to keep it
            scope[function.__name__] = numba.njit(types, **OPTIONS)(copy)
    if any(scope[function.__name__].stats.cache_misses for function in functions):
        logger.info(
            "loops were compiled in %.1f s, once for this installation", time.monotonic() - began
        )
    return scope
