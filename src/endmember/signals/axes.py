"""What the axes and the record of a signal say: names, units, steps, where the data came from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember import preprocess
from endmember.errors import EndmemberError
from endmember.factor.data.axis import Axis, text_of
from endmember.factor.data.inspection import unwrap
from endmember.signals import cropping
from endmember.signals.bridge import region
from endmember.signals.files.source import Source
from endmember.signals.plan import fingerprint_of


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
        "shape": [int(size) for size in unwrap(signal).shape],
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
    axes = sorted(maps.axes_manager.signal_axes, key=lambda axis: axis.index_in_array)
    if not any(text_of(axis.units) for axis in axes):
        return {"pixel_size": None, "pixel_units": None}
    return {
        "pixel_size": [float(abs(axis.scale)) if axis.is_uniform else None for axis in axes],
        "pixel_units": [text_of(axis.units) or None for axis in axes],
    }


def mode_labels(maps: Any, shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Return what the axes of every mode of a series but the last are called."""
    axes = Axis.in_data_order(maps.axes_manager.signal_axes)
    names = [axis.name or f"axis {number}" for number, axis in enumerate(axes)]
    labels = []
    for shape in shapes:
        own, names = names[: len(shape)], names[len(shape) :]
        labels.append(" × ".join(own))
    return labels


def do_again(signal: Any, step: dict[str, Any]) -> Any:
    """Apply a recorded processing step."""
    if step["step"] == "crop":
        return region(signal, (step["start"], step["stop"]))
    parameters = {name: value for name, value in step.items() if name != "step"}
    if step["step"] in ("crop_pixels", "crop_windows", "leave_out_missing", "rebin"):
        return getattr(cropping, step["step"])(signal, **parameters)
    known = step["step"] in preprocess.__all__
    if known and not any(isinstance(value, dict) for value in parameters.values()):
        return getattr(preprocess, step["step"])(signal, **parameters)
    raise EndmemberError(
        f"the step {step['step']!r} cannot be done again from its record; give the data: "
        "result.reproduce(data)"
    )


def are_signals(signal: Any) -> bool:
    """Tell whether several signals or cubes were given, and not one array as nested lists."""
    return isinstance(signal, list | tuple) and any(
        hasattr(one, "axes_manager") or np.ndim(one) > 2 for one in signal
    )
