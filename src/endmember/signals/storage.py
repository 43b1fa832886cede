"""How models are written down, and how a folder is replaced without ever being half there.

A model becomes JSON (its public class and its parameters, nested ones too) and named arrays. Only
classes that the package itself offers are made again on reading; nothing is executed, nothing is
pickled.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

import endmember
from endmember.factor.inputs import is_signal, unwrap
from endmember.signals.bridge import with_values

RECORD = "unmixing.json"
#: What a model has learned besides maps and spectra, kept with an answer.
LEARNED = (
    "n_iter_", "converged_", "optimality_", "n_features_in_", "n_components_", "relevance_", "names_",
    "maps_error_", "chi2_", "shifts_", "stretches_", "smooth_", "correlation_", "condition_", "pixels_", "unique_",
    "own_", "acceptance_", "factors_", "mode_shapes_", "core_", "congruence_", "core_consistency_",
)  # fmt: skip
#: Everything that a saved result may hold.
FILES = {
    RECORD, "arrays.npz", "maps.hspy", "spectra.hspy", "misfit.hspy", "residual.hspy",
    "errors.hspy", "bands.hspy", "report.html", "components.png",
    *(f"{part}_{detector}.hspy" for part in ("spectra", "misfit") for detector in range(1, 10)),
}  # fmt: skip


def encode(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """Return ``value`` as JSON can hold it; arrays go to ``arrays`` and leave their name.

    Raises
    ------
    TypeError
        If a value is neither a number, a text, an array, a signal of spectra, a collection of such
        nor a public class of the package.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if is_signal(value):
        return {"signal": _encode_signal(value, arrays, name)}
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        pairs = [(key, encode(item, arrays, f"{name}.{key}")) for key, item in value.items()]
        return {"dict": [[encode(key, arrays, name), item] for key, item in pairs]}
    if isinstance(value, BaseEstimator) and getattr(endmember, type(value).__name__, None) is type(
        value
    ):
        parameters = value.get_params(deep=False)
        return {
            "class": type(value).__name__,
            "parameters": {
                key: encode(item, arrays, f"{name}.{key}") for key, item in parameters.items()
            },
        }
    raise TypeError(
        f"{name} = {value!r} cannot be written down; use numbers, texts, arrays or the package's "
        "own classes"
    )


def decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return what :func:`encode` wrote."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "signal" in value:
        return _decode_signal(value["signal"], arrays)
    if "tuple" in value:
        return tuple(decode(item, arrays) for item in value["tuple"])
    if "list" in value:
        return [decode(item, arrays) for item in value["list"]]
    if "dict" in value:
        return {decode(key, arrays): decode(item, arrays) for key, item in value["dict"]}
    kind = getattr(endmember, value["class"], None)
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
        raise ValueError(f"{value['class']!r} is no model of this version of endmember")
    return kind(**{key: decode(item, arrays) for key, item in value["parameters"].items()})


def _encode_signal(signal: Any, arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """Return spectra that are a parameter: their values, their energy axis and their title."""
    (axis,) = signal.axes_manager.signal_axes
    arrays[f"{name}.values"], arrays[f"{name}.energy"] = np.asarray(unwrap(signal)), axis.axis
    known = {"name": axis.name, "units": axis.units}
    return {
        "values": f"{name}.values",
        "energy": f"{name}.energy",
        "axis": {key: value for key, value in known.items() if isinstance(value, str)},
        "title": str(signal.metadata.get_item("General.title", default="") or ""),
    }


def _decode_signal(kept: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    import hyperspy.api as hs

    values, energy = arrays[kept["values"]], arrays[kept["energy"]]
    axes: list[dict[str, Any]] = [{"size": size, "navigate": True} for size in values.shape[:-1]]
    axes.append({"axis": energy, "navigate": False, **kept["axis"]})
    return hs.signals.BaseSignal(values, axes=axes, metadata={"General": {"title": kept["title"]}})


def write_record(folder: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write the JSON record and the arrays of a result."""
    with (folder / "arrays.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    text = json.dumps(record, indent=1, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write_record` wrote.

    Raises
    ------
    ValueError
        If the record is damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        arrays = {}
        if (folder / "arrays.npz").exists():
            with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as problem:
        raise ValueError(
            f"{folder} is a damaged result ({problem}); unmix the data again"
        ) from problem
    return record, arrays


def save_errors(folder: Path, maps: Any, model: Any) -> None:
    """Write the standard errors of the maps, where the model has them."""
    if hasattr(model, "maps_error_"):
        with_values(maps, model.maps_error_, "standard errors").save(folder / "errors.hspy")


def existing(folder: Path) -> Path:
    """Return where the result called ``folder`` is: there, or under ``.old`` if the machine died while replacing it.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    for place in (folder, _beside(folder, ".old")):
        if (place / RECORD).is_file():
            return place
    what = "no result in it" if folder.exists() else "no such folder"
    raise FileNotFoundError(
        f"{folder} cannot be opened: {what}; give the folder that Unmixing.save or 'endmember "
        "unmix' wrote"
    )


@contextmanager
def replacing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Give a new folder to write in, which takes the place of ``folder`` only when all is written.

    ``name.new`` is written, ``name`` becomes ``name.old``, ``name.new`` becomes ``name``, and
    ``name.old`` is dropped: at every moment one complete result exists.

    Raises
    ------
    FileExistsError
        If there is something that must not be replaced.
    """
    new, old = _beside(folder, ".new"), _beside(folder, ".old")
    if folder.exists() and not overwrite:
        raise FileExistsError(
            f"{folder} exists already; choose another name, or replace it with overwrite=True"
        )
    for place in (folder, new, old):
        _refuse_strange(place)
    if old.exists() and not folder.exists():
        old.rename(folder)
    _drop(new)
    _drop(old)
    new.mkdir(parents=True)
    try:
        yield new
    except BaseException:
        _drop(new)
        raise
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    _drop(old)


def _beside(folder: Path, ending: str) -> Path:
    folder = folder.absolute()
    return folder.with_name(folder.name + ending)


def _refuse_strange(folder: Path) -> None:
    """Never delete what the package did not write."""
    if not folder.exists():
        return
    strange = not folder.is_dir() or {entry.name for entry in folder.iterdir()} - FILES
    if strange:
        raise FileExistsError(
            f"{folder} holds something else than a result and is not replaced; choose another name"
        )


def _drop(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
