"""Say what a file holds and what a signal is like, without loading or copying it whole."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import EndmemberError
from endmember.factor.data.axis import text_of
from endmember.signals.files.reading import read_cheaply

_BLOCK = 2**25  # bytes of data looked at in one go


@dataclass(frozen=True)
class Axis:
    """One axis of a signal.

    ``scale`` and ``offset`` are in ``units``, and ``None`` where the axis is not uniform.
    """

    name: str
    size: int
    scale: float | None
    offset: float | None
    units: str
    navigation: bool


@dataclass(frozen=True)
class Description:
    """One signal of a file, as far as it is known without reading its data.

    ``number`` counts from 0 within the file and is what `load` takes as ``signal``; ``shape`` is
    that of the domain followed by the signal's own, ``(*domain, channels)`` for a spectrum image;
    ``axes`` are in the same order; ``detector`` is ``None`` where the file does not name it.
    """

    number: int
    title: str
    kind: str
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    dtype: str
    detector: str | None
    is_spectrum_image: bool

    def __str__(self) -> str:
        domain = [axis.size for axis in self.axes if axis.navigation]
        own = [axis.size for axis in self.axes if not axis.navigation]
        parts = [self.title or "untitled", self.kind]
        unit = "channels" if len(own) == 1 else "pixels"
        size = " x ".join(map(str, own)) + f" {unit}"
        parts.append((f"{' x '.join(map(str, domain))} pixels of " if domain else "") + size)
        parts.append(self.dtype)
        if self.detector:
            parts.append(f"detector {self.detector}")
        return f"{self.number}: {', '.join(parts)}"


@dataclass(frozen=True)
class Summary:
    """What a signal's values are like.

    ``counts`` is true when every value is a non-negative integer, whatever the data type; ``zeros``
    and ``negatives`` are fractions of all values; ``minimum``, ``maximum``, ``mean`` and ``total``
    leave non-finite values out (and are NaN, total 0, when nothing else is there); ``memory`` is
    in bytes, of the data once loaded; ``empty_pixels`` and ``empty_channels`` count those that hold
    zeros only.
    """

    shape: tuple[int, ...]
    dtype: str
    counts: bool
    zeros: float
    negatives: float
    non_finite: int
    minimum: float
    maximum: float
    mean: float
    total: float
    memory: int
    empty_pixels: int
    empty_channels: int


def signals_in(path: str | Path) -> list[Description]:
    """Describe every signal of a file.

    Parameters
    ----------
    path : str or Path
        A file that HyperSpy reads. Its data stay on disk where the format allows that.

    Returns
    -------
    list of Description
        In the file's own order.

    Raises
    ------
    FileNotFoundError, UnreadableFileError
        As `read`.

    Examples
    --------
    >>> for description in signals_in("two_phase_50x50.bcf"):  # doctest: +SKIP
    ...     print(description)
    0: Ch 1, Signal2D, 50 x 50 pixels, uint16
    1: Ch 1, Signal2D, 825 x 1100 pixels, uint16
    2: EDX, EDSSEMSpectrum, 50 x 50 pixels of 2048 channels, uint8, detector XFlash 5010
    """
    return [describe_signal(signal, number) for number, signal in enumerate(read_cheaply(path))]


def describe_signal(signal: Any, number: int = 0) -> Description:
    """Describe one signal by its axes and metadata, without reading its data.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        Of any kind.
    number : int
        Its place in its file, counted from 0.

    Returns
    -------
    Description

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> print(describe_signal(hs.signals.Signal1D(np.zeros((4, 5, 60)))))
    0: untitled, Signal1D, 4 x 5 pixels of 60 channels, float64
    """
    axes = tuple(
        _axis(axis, navigation=navigation)
        for navigation, group in (
            (True, signal.axes_manager.navigation_axes),
            (False, signal.axes_manager.signal_axes),
        )
        for axis in sorted(group, key=lambda axis: axis.index_in_array)
    )
    return Description(
        number=number,
        title=str(signal.metadata.get_item("General.title", default="")),
        kind=type(signal).__name__.removeprefix("Lazy"),
        shape=tuple(axis.size for axis in axes),
        axes=axes,
        dtype=str(signal.data.dtype),
        detector=_detector(signal),
        is_spectrum_image=is_spectrum_image(signal),
    )


def is_spectrum_image(signal: Any) -> bool:
    """Tell whether a signal is a real-valued spectrum at every one of its pixels.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> data = np.zeros((4, 5, 60))
    >>> is_spectrum_image(hs.signals.Signal1D(data)), is_spectrum_image(hs.signals.Signal2D(data))
    (True, False)
    """
    manager = signal.axes_manager
    one_spectrum_a_pixel = manager.navigation_dimension >= 1 and manager.signal_dimension == 1
    return one_spectrum_a_pixel and signal.data.dtype.kind in "biuf"


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
    >>> summary.counts, summary.total, summary.empty_pixels, summary.empty_channels
    (True, 6.0, 1, 1)
    """
    from endmember.factor.data.inspection import unwrap

    data = unwrap(signal)
    if data.dtype.kind not in "biuf":
        raise EndmemberError(
            f"the signal holds values of type {data.dtype}, where real numbers are needed; "
            "take the real part or the modulus first"
        )
    filled_pixels = np.zeros(data.shape[:-1], dtype=bool)
    filled_channels = np.zeros(data.shape[-1], dtype=bool)
    tallies = []
    for where, block in _blocks(data):
        nonzero = block != 0
        filled_pixels[where[:-1]] |= nonzero.any(axis=-1)
        filled_channels[where[-1]] |= nonzero.any(axis=tuple(range(block.ndim - 1)))
        tallies.append(_tally(block, nonzero))
    zeros, negatives, finite, fractional, minima, maxima, sums = zip(*tallies, strict=True)
    n_finite, total = sum(finite), math.fsum(sums)
    non_finite = data.size - n_finite
    return Summary(
        shape=tuple(data.shape),
        dtype=str(data.dtype),
        counts=not (any(fractional) or any(negatives) or non_finite),
        zeros=sum(zeros) / data.size,
        negatives=sum(negatives) / data.size,
        non_finite=non_finite,
        minimum=min(minima) if n_finite else math.nan,
        maximum=max(maxima) if n_finite else math.nan,
        mean=total / n_finite if n_finite else math.nan,
        total=total,
        memory=int(data.nbytes),
        empty_pixels=int((~filled_pixels).sum()),
        empty_channels=int((~filled_channels).sum()),
    )


def _tally(block: np.ndarray, nonzero: np.ndarray) -> tuple[Any, ...]:
    """Count the zeros, negatives and finite values of a block; find its extremes and its sum."""
    zeros, negatives = block.size - int(nonzero.sum()), int((block < 0).sum())
    if block.dtype.kind in "biu":
        fractional, values = False, block
    else:
        finite = np.isfinite(block)
        values = block if finite.all() else block[finite]
        fractional = bool((values != np.floor(values)).any())
    if values.size == 0:
        return zeros, negatives, 0, fractional, math.inf, -math.inf, 0.0
    low, high = float(values.min()), float(values.max())
    total = float(values.sum(dtype=np.float64))
    return zeros, negatives, values.size, fractional, low, high, total


def _blocks(data: Any) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Go through an array in blocks, with the place of each: Dask chunks, or rows of an ndarray."""
    if isinstance(data, np.ndarray):
        rows = max(1, int(_BLOCK // max(1, data[:1].nbytes)))
        for start in range(0, data.shape[0], rows):
            where = (slice(start, start + rows), *[slice(None)] * (data.ndim - 1))
            yield where, data[where]
        return
    from dask.array.core import slices_from_chunks

    for where in slices_from_chunks(data.chunks):
        yield where, np.asarray(data[where].compute())


def _axis(axis: Any, navigation: bool) -> Axis:
    uniform = axis.is_uniform
    return Axis(
        name=text_of(axis.name),
        size=int(axis.size),
        scale=float(axis.scale) if uniform else None,
        offset=float(axis.offset) if uniform else None,
        units=text_of(axis.units),
        navigation=navigation,
    )


def _detector(signal: Any) -> str | None:
    """Find the detector's name where the readers of Velox, Bruker and Gatan files put it.

    A Velox spectrum image may be the sum over several detectors but bears the name of one of them.
    """
    name = None
    if signal.axes_manager.navigation_dimension == 0:
        name = signal.original_metadata.get_item("BinaryResult.Detector")
    for instrument in ("TEM", "SEM"):
        if name:
            break
        for entry in ("EDS.detector_type", "EELS.spectrometer"):
            path = f"Acquisition_instrument.{instrument}.Detector.{entry}"
            name = name or signal.metadata.get_item(path)
    return str(name) if name else None
