"""What an option changes: the numbers that come out and what a picture draws, not what is written about it."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

import endmember as em


class With(NamedTuple):
    """A value beside others, which the baseline has as well."""

    value: Any
    others: dict[str, Any]


class Same(NamedTuple):
    """A value that by design changes nothing but how the answer comes about."""

    value: Any
    others: dict[str, Any] = {}


class Refused(NamedTuple):
    """A value that is refused with the name of the keyword in the sentence."""

    value: Any
    others: dict[str, Any] = {}


def numbers(thing: Any) -> list[Any]:
    """All numbers and texts that a result, a picture or a signal holds, in a fixed order."""
    if thing is None or isinstance(thing, str | Path):
        return [str(thing)]
    if isinstance(thing, bool | int | float | complex | np.generic):
        return [np.asarray(thing)]
    if isinstance(thing, np.ma.MaskedArray):
        return [np.where(np.ma.getmaskarray(thing), np.nan, thing.data)]
    if isinstance(thing, np.ndarray) and thing.dtype != object:
        return [thing]
    if hasattr(thing, "findobj"):
        return drawn(thing)
    if hasattr(thing, "axes_manager"):
        return [*numbers(thing.data), *(axis.axis for axis in thing.axes_manager._axes)]
    if isinstance(thing, em.Unmixing):
        doubts = [
            thing.errors,
            thing.bands,
            thing.recurrence,
            thing.anomalies,
            thing.comparison and thing.comparison.angles,
        ]
        doubts.append(thing.percentages and thing.percentages.rows())
        return numbers([thing.maps, thing.spectra, thing.model, *doubts])
    if hasattr(thing, "learned"):
        return numbers(thing.learned())
    if isinstance(thing, dict):
        return [one for name in thing for one in (str(name), *numbers(thing[name]))]
    if isinstance(thing, list | tuple | np.ndarray):
        return [one for part in thing for one in numbers(part)]
    if hasattr(thing, "compute") or hasattr(thing, "toarray"):
        return [thing.compute() if hasattr(thing, "compute") else thing.toarray()]
    if isinstance(thing, FunctionType) or not hasattr(thing, "__dict__"):
        return []
    return numbers({name: part for name, part in vars(thing).items() if name not in VAGUE})


#: What says how long or with which parameters something was done, and not what came out.
VAGUE = {"seconds", "models", "record", "options"}


def drawn(figure: Any) -> list[Any]:
    """What a picture draws: lines, images, patches, points and texts."""
    found: list[Any] = []
    for artist in figure.findobj():
        for read in ("get_xydata", "get_array", "get_text", "get_offsets", "get_paths"):
            if hasattr(artist, read):
                value = getattr(artist, read)()
                value = [path.vertices for path in value] if read == "get_paths" else value
                found += numbers(value)
    return found


def differ(one: list[Any], other: list[Any]) -> bool:
    """Tell whether two lists of numbers and texts are not the same, beyond rounding."""
    if len(one) != len(other):
        return True
    return any(not _alike(a, b) for a, b in zip(one, other, strict=True))


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OUS" or b.dtype.kind in "OUS":
        return bool(np.all(a == b))
    return bool(
        np.allclose(
            a, b, rtol=1e-9, atol=1e-12 * np.abs(np.nan_to_num(a)).max(initial=0), equal_nan=True
        )
    )
