"""Take a part of a spectrum image, or add up neighbours; every step enters the signal's history."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.errors import EndmemberError
from endmember.factor.data.inspection import given, is_lazy, unwrap
from endmember.factor.data.observed import stays_lazy
from endmember.preprocess.lifting import record
from endmember.signals.bridge import channels_within, region

_log = logging.getLogger("endmember")


def crop_energy(signal: Any, start: float | None = None, stop: float | None = None) -> Any:
    """Return the window ``start`` to ``stop`` of the spectral axis, in its unit.

    Parameters
    ----------
    signal : HyperSpy signal
        Not changed.
    start, stop : float, optional
        The axis' own ends unless given; the channel at ``stop`` is left out.

    Raises
    ------
    ValueError
        If the window is reversed, leaves the axis, or holds fewer than two channels.
    """
    return region(signal, (start, stop))


def crop_windows(signal: Any, windows: Sequence[Sequence[float | None]]) -> Any:
    """Return the spectral axis from the first window to the last, with the channels between windows masked.

    Parameters
    ----------
    signal : HyperSpy signal
        Not changed.
    windows : sequence of (start, stop)
        Each as in :func:`crop_energy`, in any order.

    Raises
    ------
    ValueError
        As :func:`crop_energy` does.
    """
    kept = np.concatenate([channels_within(signal, (start, stop)) for start, stop in windows])
    cropped = signal.isig[int(kept.min()) : int(kept.max()) + 1]
    between = np.isin(np.arange(kept.min(), kept.max() + 1), kept, invert=True)
    return _hiding(cropped, {"step": "crop_windows", "windows": [*map(list, windows)]}, between)


def leave_out_missing(signal: Any, entries: bool = False) -> Any:
    """Return the signal with its NaN and infinite values masked.

    How many they are is told on the logger ``endmember`` at level INFO. Lazy data are read once for it.

    Parameters
    ----------
    signal : HyperSpy signal
        Not changed.
    entries : bool
        Mask them alone, for models that do without single values, rather than the spectra that hold them. Lazy data
        too large to be kept in memory lose whole spectra even so.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> cube = hs.signals.Signal1D(np.ones((4, 5, 60)))
    >>> cube.data[:, :, 7] = cube.data[1, 2, 30] = np.nan
    >>> int(leave_out_missing(cube).data.mask.sum())  # a channel of all 20 spectra, the others of one spectrum
    79
    >>> int(leave_out_missing(cube, entries=True).data.mask.sum())
    21
    """
    taken = given(signal).array
    entries = entries and not stays_lazy(taken)
    wrong = ~np.isfinite(taken)
    channels = np.asarray(wrong.reshape(-1, wrong.shape[-1]).all(axis=0))
    wrong = wrong & ~channels
    whole, touched = (np.asarray(fold(axis=-1)) for fold in ((wrong | channels).all, wrong.any))
    spectra = whole & touched if entries else touched
    single = int(wrong[~spectra].sum()) if entries else 0
    in_part = int((touched & ~whole).sum())  # spectra left out that lack some values alone
    _log.info(
        "Left out, because values are missing: %d of %d spectra%s, %d of %d channels%s.",
        spectra.sum(), spectra.size,
        "" if entries or not in_part else f" ({in_part} of them whole, for single values)",
        channels.sum(), channels.size, f", {single} single value{'s' * (single > 1)}" if single else "",
    )  # fmt: skip
    hidden = wrong | channels if entries else touched[..., None] | channels
    return _hiding(signal.isig[:], {"step": "leave_out_missing", "entries": entries}, hidden)


def _hiding(signal: Any, step: dict[str, Any], hidden: Any) -> Any:
    """Give a signal a masked array that hides these values, broadcast to its own, and a step of its history."""
    import dask.array as da

    data = unwrap(signal)
    arrays = da if is_lazy(data) else np
    data = arrays.ma.masked_where(arrays.broadcast_to(hidden, data.shape), data)
    signal.data = np.moveaxis(data, -1, signal.axes_manager.signal_indices_in_array[0])
    return record(signal, step, inplace=True)


def crop_pixels(signal: Any, rows: Any = None, columns: Any = None) -> Any:
    """Return some of the rows and columns of an image.

    Parameters
    ----------
    signal : HyperSpy signal
        With one or two navigation axes; not changed. Of a line scan the columns count.
    rows, columns : (first, end), optional
        Pixels counted from 0; ``end`` is left out.

    Raises
    ------
    ValueError
        If a range is empty or leaves the image.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> cube = hs.signals.Signal1D(np.zeros((4, 5, 60)))
    >>> crop_pixels(cube, rows=(1, 3), columns=(0, 4)).data.shape
    (2, 4, 60)
    """
    axes = signal.axes_manager.navigation_axes  # x first, as HyperSpy orders them
    step: dict[str, Any] = {"step": "crop_pixels", "rows": None, "columns": None}
    cut = []
    for name, asked, axis in zip(("columns", "rows"), (columns, rows), axes, strict=False):
        first, end = (0, axis.size) if asked is None else (int(one) for one in asked)
        if not 0 <= first < end <= axis.size:
            raise EndmemberError(
                f"{name}={first}:{end} must be a part of 0:{axis.size} that is not empty; give (first, end)"
            )
        cut.append(slice(first, end))
        step[name] = None if asked is None else [first, end]
    return record(signal.inav[tuple(cut)], step, inplace=True)


def rebin(signal: Any, pixels: int = 1, channels: int = 1) -> Any:
    """Add up squares of neighbouring pixels and neighbouring channels; remainders at the edges are dropped.

    Parameters
    ----------
    signal : HyperSpy signal
        Not changed. Sums keep counts what they are: counts.
    pixels, channels : int
        How many become one, along every navigation axis and along the spectral axis.

    Raises
    ------
    ValueError
        If a number is below 1 or larger than its axis.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> float(rebin(hs.signals.Signal1D(np.ones((4, 5, 60))), pixels=2, channels=3).data[0, 0, 0])
    12.0
    """
    manager = signal.axes_manager
    for what, number, size in (
        ("pixels", pixels, min(axis.size for axis in manager.navigation_axes)),
        ("channels", channels, manager.signal_axes[0].size),
    ):
        if not 1 <= number <= size:
            raise EndmemberError(
                f"{what}={number} cannot become one; give a whole number from 1 to {size}"
            )
    scale = [pixels] * manager.navigation_dimension + [channels]
    binned = signal.rebin(scale=scale)
    return record(binned, {"step": "rebin", "pixels": pixels, "channels": channels}, inplace=True)
