"""How models are written down.

A model becomes JSON (its public class and its parameters, nested ones too) and named arrays. Only
classes that the package itself offers are made again on reading; nothing is executed, nothing is
pickled.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

import endmember
from endmember.factor.inputs import is_signal, unwrap
from endmember.signals.bridge import with_values
from endmember.signals.folders import FILES, RECORD

#: Files that are never read back, and too large to be looked at for nothing.
LARGE = {"residual.hspy"}
#: What reading a record that somebody has changed may end in.
_DAMAGES = (ValueError, OSError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile)

#: What a model has learned besides maps and spectra, kept with an answer.
LEARNED = (
    "n_iter_", "converged_", "optimality_", "n_features_in_", "n_components_", "relevance_", "names_",
    "maps_error_", "chi2_", "shifts_", "stretches_", "smooth_", "correlation_", "condition_", "pixels_", "unique_",
    "own_", "acceptance_", "factors_", "mode_shapes_", "core_", "congruence_", "core_consistency_",
)  # fmt: skip


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
    """Write the arrays of a result and, last of all, its JSON record with a sum of every file."""
    with (folder / "arrays.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    sums = {file.name: _sum(file) for file in sorted(folder.iterdir())}
    text = json.dumps({**record, "files": sums}, indent=1, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write_record` wrote.

    Raises
    ------
    ValueError
        If the record is damaged, or a file is missing or not the one that was written with it.
    """
    try:
        record = dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
        for name, known in dict(record.pop("files", {})).items():
            if name in FILES and name not in LARGE and _sum(folder / name) != known:
                raise ValueError(f"{name} is not the file that was saved")
        arrays = {}
        if (folder / "arrays.npz").exists():
            with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
    except _DAMAGES as problem:
        raise damaged(folder, problem) from problem
    return record, arrays


def damaged(folder: Path, problem: Exception) -> ValueError:
    """Return the sentence about a result that cannot be read back."""
    what = (
        f"{Path(problem.filename).name} is missing"
        if isinstance(problem, FileNotFoundError)
        else problem
    )
    return ValueError(f"{folder} is a damaged result ({what}); unmix the data again")


def add_report(result: Any, file: Path) -> None:
    """Write the report of a result that is saved already: its failure is said and loses nothing."""
    try:
        result.report(file)
    except Exception as problem:
        warnings.warn(
            f"the result is saved without its report, which could not be written ({problem}); try "
            "result.report(file) again",
            UserWarning,
            stacklevel=3,
        )


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def save_errors(folder: Path, maps: Any, model: Any) -> None:
    """Write the standard errors of the maps, where the model has them."""
    if hasattr(model, "maps_error_"):
        with_values(maps, model.maps_error_, "standard errors").save(folder / "errors.hspy")
