"""What the axes and the record of a signal say; take a part of it, or add up neighbours: every step is recorded."""

import logging
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from endmember import preprocess
from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.factor.data import Axis, given, is_lazy, pattern_of, stays_lazy, text_of, unwrap
from endmember.preprocess.lifting import record
from endmember.signals.files.source import Source
from endmember.signals.result.provenance import fingerprint_of

_log = logging.getLogger("endmember")


def crop_energy(signal: Any, start: float | None = None, stop: float | None = None) -> Any:
    """Return the window ``start`` to ``stop`` of the spectral axis, in its unit.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        With one signal axis; it is not edited.
    start, stop : float, optional
        In the unit of the signal axis (eV for EELS, keV for EDXS), its own ends unless given; the channel at ``stop``
        is left out.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        A view of the same data, with its own axes and metadata.

    Raises
    ------
    ValueError
        The window is reversed, leaves the axis, or holds fewer than two channels.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> axes = [{"name": "x", "size": 3}, {"name": "E", "size": 50, "offset": 400, "units": "eV"}]
    >>> crop_energy(hs.signals.Signal1D(np.zeros((3, 50)), axes=axes), 410, 430).data.shape
    (3, 20)
    """
    inside = channels_within(signal, (start, stop))
    cropped = signal.isig[int(inside.min()) : int(inside.max()) + 1]
    start, stop = (None if end is None else float(end) for end in (start, stop))
    return record(cropped, {"step": "crop", "start": start, "stop": stop})


def channels_within(
    signal: Any, window: tuple[float | None, float | None], name: str = "crop"
) -> np.ndarray:
    """Return the numbers of the channels in a window of the signal axis; refused, by that name, as by `crop_energy`."""
    axis, *others = signal.axes_manager.signal_axes
    refuse_if(
        others,
        Argument(name),
        " takes a window of an energy axis, and these data hold patterns; leave out pixels of the pattern with ",
        Argument("channel_mask"),
    )
    low, high = float(axis.low_value), float(axis.high_value)
    unit = f" {text_of(axis.units)}".rstrip()
    here = f"the {axis.name or 'signal'} axis runs from {low:g} to {high:g}{unit}"
    start, stop = (None if end is None else float(end) for end in window)
    ends = f"{'' if start is None else f'{start:g}'}:{'' if stop is None else f'{stop:g}'}"
    asked = Argument(name, ends, f"window {ends}")
    first, last = low if start is None else start, high if stop is None else stop
    step = (high - low) / max(1, axis.size - 1)
    refuse_if(
        not (low - step / 2 <= first and last <= high + step),
        asked,
        f"{unit} leaves the axis: {here}; choose a window inside it",
    )
    refuse_if(not first < last, asked, f"{unit} is empty or reversed: give start < stop; {here}")
    values = axis.axis
    inside = np.flatnonzero(
        (values >= first - step * 1e-6) & ((values < last - step * 1e-6) | (stop is None))
    )
    refuse_if(inside.size < 2, asked, f"{unit} holds {inside.size} channels, 2 are needed; {here}")
    return inside


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


def leave_out_missing(signal: Any, entries: bool = False, empty: bool = False) -> Any:
    """Return the signal with its NaN and infinite values masked, and on request its empty pixels.

    How many they are is told on the logger ``endmember`` at level INFO. Lazy data are read once for it.

    Parameters
    ----------
    signal : HyperSpy signal
        Not changed.
    entries : bool
        Mask them alone, for models that do without single values, rather than the spectra that hold them. Lazy data
        too large to be kept in memory lose whole spectra even so.
    empty : bool
        Mask pixels that are zero throughout as well: those that a sampled scan has not measured.

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
    if empty:
        wrong = wrong | ((taken == 0) | wrong).all(axis=-1)[..., np.newaxis]
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
    step = {"step": "leave_out_missing", "entries": entries, "empty": empty}
    return _hiding(signal.isig[:], step, hidden)


def _hiding(signal: Any, step: dict[str, Any], hidden: Any) -> Any:
    """Give a signal a masked array that hides these values, broadcast to its own, and a step of its history."""
    import dask.array as da

    data = unwrap(signal)
    arrays = da if is_lazy(data) else np
    data = arrays.ma.masked_where(arrays.broadcast_to(hidden, data.shape), data)
    signal.data = np.moveaxis(data, -1, signal.axes_manager.signal_indices_in_array[0])
    return record(signal, step)


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
        refuse_if(
            not 0 <= first < end <= axis.size,
            f"{name}={first}:{end} must be a part of 0:{axis.size} that is not empty; give (first, end)",
        )
        cut.append(slice(first, end))
        step[name] = None if asked is None else [first, end]
    return record(signal.inav[tuple(cut)], step)


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
        refuse_if(
            not 1 <= number <= size,
            f"{what}={number} cannot become one; give a whole number from 1 to {size}",
        )
    binned = signal.rebin(scale=[pixels] * manager.navigation_dimension + [channels])
    return record(binned, {"step": "rebin", "pixels": pixels, "channels": channels})


def source_of(signal: Any) -> dict[str, Any] | None:
    """Return what is kept of where a signal was loaded from; None for one of no file."""
    source = Source.of(signal)
    return None if source is None else source.record()


def describe_data(signal: Any) -> dict[str, Any]:
    """Return what is kept of the data themselves: where from, how large, which fingerprint."""
    axis = Axis.of(signal)
    return {
        "title": signal.metadata.get_item("General.title", default="") or "",
        "source": source_of(signal),
        "hash": fingerprint_of(signal),
        "shape": [
            *map(int, unwrap(signal).shape[:-1]),
            *(pattern_of(signal) or unwrap(signal).shape[-1:]),
        ],
        "dtype": str(signal.data.dtype),
        "energy": {
            "name": axis.name, "units": axis.units or "",
            "first": float(axis.energy[0]), "last": float(axis.energy[-1]),
        },
    }  # fmt: skip


def energy_of(spectra: Any) -> dict[str, Any]:
    """Return the energy of every channel of a signal with the name and unit of its axis."""
    axis = Axis.of(spectra)
    return {
        "energy": axis.energy, "energy_label": axis.name or "Channel", "energy_units": axis.units,
    }  # fmt: skip


def pixels_of(maps: Any) -> dict[str, Any]:
    """Return the step and unit of every axis of the domain, in data order."""
    axes = [*reversed(maps.axes_manager.signal_axes)]
    if not any(text_of(axis.units) for axis in axes):
        return {"pixel_size": None, "pixel_units": None}
    return {
        "pixel_size": [float(abs(axis.scale)) if axis.is_uniform else None for axis in axes],
        "pixel_units": [text_of(axis.units) or None for axis in axes],
    }


def mode_labels(maps: Any, shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Return what the axes of every mode of a series but the last are called."""
    axes = enumerate(Axis.in_data_order(maps.axes_manager.signal_axes))
    names = iter([axis.name or f"axis {number}" for number, axis in axes])
    return [" × ".join(islice(names, len(shape))) for shape in shapes]


def do_again(signal: Any, step: dict[str, Any]) -> Any:
    """Apply a recorded processing step."""
    parameters = {name: value for name, value in step.items() if name != "step"}
    ours: dict[str, Any] = {"crop": crop_energy, "crop_pixels": crop_pixels, "crop_windows": crop_windows,
            "leave_out_missing": leave_out_missing, "rebin": rebin}  # fmt: skip
    apply = ours.get(step["step"]) or getattr(preprocess, step["step"], None)
    if apply is not None and not any(isinstance(value, dict) for value in parameters.values()):
        return apply(signal, **parameters)
    raise EndmemberError(
        f"the step {step['step']!r} cannot be done again from its record; give the data: "
        "result.reproduce(data)"
    )
