"""What ``endmember info`` says of a file: its signals, and the command that unmixes them."""

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import refuse_if
from endmember.factor.data import (
    SPARSE_FROM,
    Axis,
    blocks_in_order,
    blocks_of,
    counts_of,
    in_words,
    is_list,
    of_zero_peak,
    sample,
    stays_lazy,
    text_of,
    unwrap,
)
from endmember.factor.noise.model import estimate_noise
from endmember.signals.files.source import describe_signal, images_among

from .console import counted

#: Components that the memory is reckoned for and the next command asks for.
_EXAMPLE = 3
#: More empty pixels than this share are spoken of: a sampled scan has as many.
MOST = 0.5
#: Pixels of which that many components can be told at all.
_FEWEST = 2 * _EXAMPLE


@dataclass(frozen=True)
class Summary:
    """What a signal's values are like.

    ``counts`` is true when every value is a non-negative integer, whatever the data type; ``zeros``
    and ``negatives`` are fractions of all values; ``minimum``, ``maximum`` and ``mean`` leave
    non-finite values out, and are NaN when nothing else is there.
    """

    counts: bool
    zeros: float
    negatives: float
    non_finite: int
    minimum: float
    maximum: float
    mean: float


def describe_file(
    file: Path, signals: list[Any], free: float | None, told: dict[str, Any]
) -> Iterator[str]:
    """Say line by line what a file holds.

    Parameters
    ----------
    file : Path
    signals : list of hyperspy.api.signals.BaseSignal
        All signals of the file, lazy or not.
    free : float, optional
        Bytes of memory that are free, where that is known.
    told : dict
        What the reader was told.

    Yields
    ------
    str
        A line.
    """
    found = [describe_signal(one, number) for number, one in enumerate(signals)]
    images = images_among(found)
    kind = "pattern scan" if images and images[0].holds_patterns else "spectrum image"
    yield f"{file.name}: {counted(len(found), 'signal')}, {counted(len(images), kind)}"
    said = "".join(f" --reader {shlex.quote(f'{name}={value}')}" for name, value in told.items())
    commands = []
    for one, signal in zip(found, signals, strict=True):
        yield f"signal {one}"
        if one not in images:
            if signal.data.ndim == 3 and not (told or images):
                commands.append(
                    f"  endmember unmix {shlex.quote(str(file))} -k {_EXAMPLE} --energy-axis 0  # each at its energy"
                )
            continue
        axes = signal.axes_manager
        for axis in (*reversed(axes.navigation_axes), *reversed(axes.signal_axes)):
            yield _line(text_of(axis.name) or _units_of(axis), _extent(axis))
        summary, data = describe(signal), unwrap(signal)
        needed = memory_for_fit(data, summary)
        yield from _values(data, summary, needed)
        if not (Axis.of(signal).calibrated or one.holds_patterns):
            longer = max(data.shape[:-1]) > 2 * data.shape[-1]
            yield _line(
                "attention",
                "the energies are not known; say them: --reader start=450 --reader step=0.5 --reader units=eV"
                + "; another axis is longer, if that holds them: --energy-axis 0" * longer,
            )
        if summary.zeros == 1 or data[..., 0].size < _FEWEST:
            continue
        share, sampled = _unmeasured(data, summary), ""
        if share > MOST:
            sampled = " --missing empty --smooth 0.01"
            yield _line(
                "attention",
                f"{_share(share)} of the pixels are empty; where they were not measured, as in a sampled scan,"
                f"{sampled} unmixes the others and fills the maps in",
            )
        peak = of_zero_peak(signal)
        yield from (_line("attention", sentence) for sentence in peak)
        choice = (
            said
            + " --crop 0.1:" * len(peak)
            + (f" --signal {one.number}" if len(images) > 1 else "")
        )
        lazy = " --lazy" if free is not None and needed > free else ""
        left_out = (sampled or " --missing leave-out") if summary.non_finite else ""
        commands.append(
            f"  endmember unmix {shlex.quote(str(file))} -k {_EXAMPLE}{choice}{lazy}{left_out}"
        )
    if commands:
        yield f"Next, with {_EXAMPLE} for the number of components that you expect:"
        yield from commands
    else:
        yield (
            "Nothing here can be unmixed: that takes a spectrum at each of several pixels, "
            f"{_FEWEST} or more, and not zeros alone."
        )


def describe(signal: Any) -> Summary:
    """Summarise the values of a spectrum image, block by block.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        With one signal axis; eager or lazy. One block of it is in memory at a time.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        The signal has not exactly one signal axis, or holds complex numbers or records.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> summary = describe(hs.signals.Signal1D([[0.0, 2.0], [0.0, 0.0], [0.0, 4.0]]))
    >>> summary.counts, summary.zeros, summary.mean
    (True, 0.6666666666666666, 1.0)
    """
    data = unwrap(signal)
    refuse_if(
        data.dtype.kind not in "biuf",
        f"the signal holds values of type {data.dtype}, where real numbers are needed; "
        "take the real part or the modulus first",
    )
    counts = counts_of(data) if is_list(data) else None
    # Where a list of events has no event it is zero.
    blocks = blocks_in_order(data) if counts is None else [counts.data, np.zeros(1)]
    zeros, negatives, finite, fractional, minima, maxima, sums = zip(
        *map(_tally, blocks), strict=True
    )
    if counts is not None:
        zeros, finite = (data.size - counts.nnz,), (data.size,)
    n_finite = sum(finite)
    return Summary(
        counts=not (any(fractional) or any(negatives) or data.size > n_finite),
        zeros=sum(zeros) / data.size,
        negatives=sum(negatives) / data.size,
        non_finite=data.size - n_finite,
        minimum=min(minima) if n_finite else math.nan,
        maximum=max(maxima) if n_finite else math.nan,
        mean=math.fsum(sums) / n_finite if n_finite else math.nan,
    )


def _unmeasured(data: Any, summary: Summary) -> float:
    """Return the share of the pixels that are zero or NaN throughout; 0 where so few counts leave as many empty."""
    filled = (
        counts_of(data).sum(axis=-1)
        if is_list(data)
        else ((data != 0) & (data == data)).any(axis=-1)
    )
    share = float(np.mean(np.asarray(filled) == 0))
    return 0.0 if summary.counts and math.exp(-summary.mean * data.shape[-1]) > share / 2 else share


def _tally(block: np.ndarray) -> tuple[Any, ...]:
    """Count and add up one block; see the names in `describe`."""
    finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block
    ends = (finite.min(), finite.max()) if finite.size else (math.inf, -math.inf)
    return (
        int((block == 0).sum()), int((block < 0).sum()), finite.size, bool((finite % 1).any()),
        *map(float, ends), float(finite.sum(dtype=np.float64)),
    )  # fmt: skip


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
    return (
        step
        if axis.navigate
        else f"{step}, from {axis.offset + 0.0:.6g} to {axis.offset + (axis.size - 1) * axis.scale:.6g}{unit}"
    )


def _values(data: Any, summary: Summary, needed: float) -> Iterator[str]:
    """Say what the values of a spectrum image are like, what keeps a fit from starting, and what that will need."""
    kind = "counts" if summary.counts else "not counts"
    spread = f"{summary.minimum:.4g} to {summary.maximum:.4g}, mean {summary.mean:.4g}"
    yield _line("data", f"{data.dtype}, {kind}; {spread}")
    yield _line("zeros", f"{_share(summary.zeros)}; negative {_share(summary.negatives)}")
    if summary.non_finite:
        yield _line(
            "attention",
            f"{summary.non_finite} values are NaN or infinite: leave them out or repair them",
        )
    elif summary.zeros == 1:
        yield _line("attention", "all values are zero: there is nothing to unmix")
    else:
        yield from _noise(data)
    yield _line("memory", f"a fit of {_EXAMPLE} components needs about {in_words(needed)}")


def _noise(data: Any) -> Iterator[str]:
    """Estimate the noise, from some blocks of large lazy data, and say what it is like."""
    try:
        noise = estimate_noise(sample(blocks_of(data)) if stays_lazy(data) else data)
    except ValueError as error:
        yield _line("noise", f"not estimated: {error}")
        return
    yield _line("noise", noise.sentence())
    for sentence in noise.warnings():
        yield _line("", sentence)


def memory_for_fit(data: Any, summary: Summary) -> float:
    """Bytes that a fit takes: the data, their sparse copy if they get one, factors and sketch."""
    pixels, channels = math.prod(data.shape[:-1]), data.shape[-1]
    factors = 8 * (pixels + channels) * (10 * _EXAMPLE + 3 * max(2 * _EXAMPLE, _EXAMPLE + 10))
    sparsely = data.dtype.kind != "f" and summary.zeros > SPARSE_FROM
    dense = 0 if is_list(data) else data.nbytes
    return dense + (28 * (1 - summary.zeros) * data.size if sparsely else 0) + factors


def _share(fraction: float) -> str:
    """Return a fraction as a percentage that is zero only where it is.

    Examples
    --------
    >>> _share(0.0), _share(0.00001), _share(0.094), _share(0.9999), _share(1.0)
    ('0 %', '< 0.1 %', '9.4 %', '> 99.9 %', '100 %')
    """
    return (
        "< 0.1 %"
        if 0 < fraction < 0.001
        else "> 99.9 %"
        if 0.999 < fraction < 1
        else f"{100 * fraction:.3g} %"
    )
