"""What ``endmember info`` says of a file: its signals, and the command that unmixes them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endmember.signals.files.summary import Axis, Description, Summary

#: Components that the memory is reckoned for and the next command asks for.
_EXAMPLE = 3
#: Lazy data larger than this are sampled to judge their noise, in bytes.
_WHOLE_UP_TO = 2**28
_SAMPLED_PIXELS = 4000


def describe_file(file: Path, signals: list[Any], free: float | None) -> Iterator[str]:
    """Say line by line what a file holds.

    Parameters
    ----------
    file : Path
    signals : list of hyperspy.api.signals.BaseSignal
        All signals of the file, lazy or not.
    free : float, optional
        Bytes of memory that are free, where that is known.

    Yields
    ------
    str
        A line.
    """
    from endmember.signals.files.summary import describe_signal

    found = [describe_signal(one, number) for number, one in enumerate(signals)]
    images = [one for one in found if one.is_spectrum_image]
    yield f"{file.name}: {_number(len(found), 'signal')}, {_number(len(images), 'spectrum image')}"
    needed, missing = {}, {}
    for one, signal in zip(found, signals, strict=True):
        yield f"signal {one}"
        if one.is_spectrum_image:
            yield from _describe_axes(one)
            needed[one.number], missing[one.number], lines = _describe_values(signal)
            yield from lines
    if not images:
        yield "Nothing here can be unmixed: that takes a spectrum at each of several pixels."
        return
    yield f"Next, with {_EXAMPLE} for the number of components that you expect:"
    for one in images:
        choice = f" --signal {one.number}" if len(images) > 1 else ""
        lazy = " --lazy" if free is not None and needed[one.number] > free else ""
        left_out = " --missing leave-out" if missing[one.number] else ""
        yield f"  endmember unmix {shlex.quote(str(file))} -k {_EXAMPLE}{choice}{lazy}{left_out}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _describe_axes(one: Description) -> Iterator[str]:
    for axis in one.axes:
        yield _line(axis.name or ("pixels" if axis.navigation else "channels"), _extent(axis))


def _line(name: str, words: str) -> str:
    return f"  {name:<12} {words}"


def _extent(axis: Axis) -> str:
    """Say how far an axis reaches, in its unit."""
    what = "pixels" if axis.navigation else "channels"
    if axis.scale is None or axis.offset is None:
        return f"{axis.size} {what}, not evenly spaced"
    unit = f" {axis.units}" if axis.units else ""
    step = f"{axis.size} {what} of {abs(axis.scale):.4g}{unit}"
    if not axis.units:
        step += " (not calibrated)"
    if axis.navigation:
        return step
    last = axis.offset + (axis.size - 1) * axis.scale
    return f"{step}, from {axis.offset + 0.0:.6g} to {last:.6g}{unit}"


def _describe_values(signal: Any) -> tuple[float, int, list[str]]:
    """Return the bytes that a fit needs, how many values are not finite, and lines about the values."""
    from endmember.factor.data.resources import in_words
    from endmember.signals.files.summary import describe

    summary = describe(signal)
    kind = "counts" if summary.counts else "not counts"
    spread = f"{summary.minimum:.4g} to {summary.maximum:.4g}, mean {summary.mean:.4g}"
    needed = memory_for_fit(summary)
    lines = [
        _line("data", f"{summary.dtype}, {kind}; {spread}"),
        _line("zeros", f"{_share(summary.zeros)}; negative {_share(summary.negatives)}"),
        *_flaws(summary),
        *_noise(signal, summary),
        _line("memory", f"a fit of {_EXAMPLE} components needs about {in_words(needed)}"),
    ]
    return needed, summary.non_finite, lines


def _flaws(summary: Summary) -> Iterator[str]:
    """Say what keeps a fit from starting."""
    if summary.non_finite:
        yield _line(
            "attention",
            f"{summary.non_finite} values are NaN or infinite: leave them out or repair them",
        )
    if summary.zeros == 1:
        yield _line("attention", "all values are zero: there is nothing to unmix")


def _noise(signal: Any, summary: Summary) -> Iterator[str]:
    """Estimate the noise and say what it is like."""
    from endmember.factor.data.inspection import unwrap
    from endmember.factor.noise.model import estimate_noise

    if summary.zeros == 1 or summary.non_finite:
        return
    data = unwrap(signal)
    sampled = not _is_array(data)
    if sampled:
        rows = data.reshape(-1, data.shape[-1])
        step = 1 if data.nbytes <= _WHOLE_UP_TO else math.ceil(rows.shape[0] / _SAMPLED_PIXELS)
        data = rows[::step].compute().reshape(data.shape if step == 1 else (-1, data.shape[-1]))
    try:
        noise = estimate_noise(data)
    except ValueError as error:
        yield _line("noise", f"not estimated: {error}")
        return
    yield _line("noise", noise.sentence())
    for sentence in noise.warnings():
        yield _line("", sentence)


def _is_array(data: Any) -> bool:
    import numpy as np

    return isinstance(data, np.ndarray)


def memory_for_fit(summary: Summary) -> float:
    """Bytes that a fit takes: the data, their sparse copy if they get one, factors and sketch."""
    from endmember.factor.data.observed import SPARSE_FROM

    channels = summary.shape[-1]
    pixels = math.prod(summary.shape[:-1])
    rank = max(2 * _EXAMPLE, _EXAMPLE + 10)
    factors = 8 * (pixels + channels) * (10 * _EXAMPLE + 3 * rank)
    filled = (1 - summary.zeros) * pixels * channels
    whole = not summary.dtype.startswith("float")
    sparse = 28 * filled if whole and summary.zeros > SPARSE_FROM else 0
    return summary.memory + sparse + factors


def _share(fraction: float) -> str:
    """Return a fraction as a percentage that is zero only where it is.

    Examples
    --------
    >>> _share(0.0), _share(0.00001), _share(0.094), _share(0.9999), _share(1.0)
    ('0 %', '< 0.1 %', '9.4 %', '> 99.9 %', '100 %')
    """
    if 0 < fraction < 0.001:
        return "< 0.1 %"
    if 0.999 < fraction < 1:
        return "> 99.9 %"
    return f"{100 * fraction:.3g} %"
