"""What ``endmember info`` says of a file: its signals, and the command that unmixes them."""

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from endmember.factor.data.axis import text_of
from endmember.factor.data.inspection import unwrap
from endmember.factor.data.observed import SPARSE_FROM
from endmember.factor.data.resources import in_words
from endmember.factor.noise.model import estimate_noise
from endmember.signals.files.summary import Summary, describe, describe_signal

from .console import counted

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
    found = [describe_signal(one, number) for number, one in enumerate(signals)]
    images = [one for one in found if one.is_spectrum_image]
    yield f"{file.name}: {counted(len(found), 'signal')}, {counted(len(images), 'spectrum image')}"
    commands = []
    for one, signal in zip(found, signals, strict=True):
        yield f"signal {one}"
        if not one.is_spectrum_image:
            continue
        axes = signal.axes_manager
        for axis in (*reversed(axes.navigation_axes), *reversed(axes.signal_axes)):
            yield _line(text_of(axis.name) or _units_of(axis), _extent(axis))
        summary, data = describe(signal), unwrap(signal)
        needed = memory_for_fit(data, summary)
        yield from _values(data, summary, needed)
        choice = f" --signal {one.number}" if len(images) > 1 else ""
        lazy = " --lazy" if free is not None and needed > free else ""
        left_out = " --missing leave-out" if summary.non_finite else ""
        commands.append(
            f"  endmember unmix {shlex.quote(str(file))} -k {_EXAMPLE}{choice}{lazy}{left_out}"
        )
    if commands:
        yield f"Next, with {_EXAMPLE} for the number of components that you expect:"
        yield from commands
    else:
        yield "Nothing here can be unmixed: that takes a spectrum at each of several pixels."


def _line(name: str, words: str) -> str:
    return f"  {name:<12} {words}"


def _units_of(axis: Any) -> str:
    return "pixels" if axis.navigate else "channels"


def _extent(axis: Any) -> str:
    """Say how far an axis reaches, in its unit."""
    size = f"{axis.size} {_units_of(axis)}"
    if not axis.is_uniform:
        return f"{size}, not evenly spaced"
    unit = f" {text_of(axis.units)}".rstrip()
    step = f"{size} of {abs(axis.scale):.4g}{unit or ' (not calibrated)'}"
    if axis.navigate:
        return step
    last = axis.offset + (axis.size - 1) * axis.scale
    return f"{step}, from {axis.offset + 0.0:.6g} to {last:.6g}{unit}"


def _values(data: Any, summary: Summary, needed: float) -> Iterator[str]:
    """Say what the values of a spectrum image are like, what keeps a fit from starting, and what that will need."""
    kind = "counts" if summary.counts else "not counts"
    spread = f"{summary.minimum:.4g} to {summary.maximum:.4g}, mean {summary.mean:.4g}"
    yield _line("data", f"{data.dtype}, {kind}; {spread}")
    yield _line("zeros", f"{_share(summary.zeros)}; negative {_share(summary.negatives)}")
    if summary.non_finite:
        flaw = f"{summary.non_finite} values are NaN or infinite: leave them out or repair them"
        yield _line("attention", flaw)
    elif summary.zeros == 1:
        yield _line("attention", "all values are zero: there is nothing to unmix")
    else:
        yield from _noise(data)
    yield _line("memory", f"a fit of {_EXAMPLE} components needs about {in_words(needed)}")


def _noise(data: Any) -> Iterator[str]:
    """Estimate the noise, from some pixels of large lazy data, and say what it is like."""
    if not isinstance(data, np.ndarray):
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


def memory_for_fit(data: Any, summary: Summary) -> float:
    """Bytes that a fit takes: the data, their sparse copy if they get one, factors and sketch."""
    pixels, channels = math.prod(data.shape[:-1]), data.shape[-1]
    rank = max(2 * _EXAMPLE, _EXAMPLE + 10)
    factors = 8 * (pixels + channels) * (10 * _EXAMPLE + 3 * rank)
    sparsely = data.dtype.kind != "f" and summary.zeros > SPARSE_FROM
    sparse = 28 * (1 - summary.zeros) * data.size if sparsely else 0
    return data.nbytes + sparse + factors


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
