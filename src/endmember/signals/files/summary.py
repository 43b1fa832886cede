"""Say what a file holds and what a signal is like, without loading or copying it whole."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from endmember.errors import EndmemberError
from endmember.factor.data.fingerprint import blocks_in_order
from endmember.factor.data.inspection import unwrap


@dataclass(frozen=True)
class Description:
    """One signal of a file, as far as it is known without reading its data.

    ``number`` counts from 0 within the file and is what `load` takes as ``signal``; ``words`` say its title, kind,
    shape, type, and the detector where the file names it.
    """

    number: int
    words: str
    is_spectrum_image: bool

    def __str__(self) -> str:
        return f"{self.number}: {self.words}"


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
    manager = signal.axes_manager
    domain, own = (
        " x ".join(str(axis.size) for axis in reversed(axes))
        for axes in (manager.navigation_axes, manager.signal_axes)
    )
    detector = _detector(signal)
    words = [
        str(signal.metadata.get_item("General.title", default="")) or "untitled",
        type(signal).__name__.removeprefix("Lazy"),
        (f"{domain} pixels of " if domain else "")
        + f"{own} {'channels' if manager.signal_dimension == 1 else 'pixels'}",
        str(signal.data.dtype),
        *([f"detector {detector}"] if detector else []),
    ]
    one_spectrum_a_pixel = manager.navigation_dimension >= 1 and manager.signal_dimension == 1
    return Description(
        number, ", ".join(words), one_spectrum_a_pixel and signal.data.dtype.kind in "biuf"
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
    if data.dtype.kind not in "biuf":
        raise EndmemberError(
            f"the signal holds values of type {data.dtype}, where real numbers are needed; "
            "take the real part or the modulus first"
        )
    tallies = map(_tally, blocks_in_order(data))
    zeros, negatives, finite, fractional, minima, maxima, sums = zip(*tallies, strict=True)
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


def _tally(block: np.ndarray) -> tuple[Any, ...]:
    """Count and add up one block; see the names in `describe`."""
    finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block
    ends = (finite.min(), finite.max()) if finite.size else (math.inf, -math.inf)
    return (
        int((block == 0).sum()), int((block < 0).sum()), finite.size, bool((finite % 1).any()),
        *map(float, ends), float(finite.sum(dtype=np.float64)),
    )  # fmt: skip


def _detector(signal: Any) -> str | None:
    """Find the detector's name where the readers of Velox, Bruker and Gatan files put it.

    A Velox spectrum image may be the sum over several detectors but bears the name of one of them.
    """
    metadata = signal.metadata
    names = [
        metadata.get_item(f"Acquisition_instrument.{instrument}.Detector.{entry}")
        for instrument in ("TEM", "SEM")
        for entry in ("EDS.detector_type", "EELS.spectrometer")
    ]
    if signal.axes_manager.navigation_dimension == 0:
        names.insert(0, signal.original_metadata.get_item("BinaryResult.Detector"))
    return next((str(name) for name in names if name), None)
