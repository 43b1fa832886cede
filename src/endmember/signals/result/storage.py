"""How models are written down.

A model becomes JSON (its class, its parameters and what it has learned, nested ones too) and named arrays. Only
classes that the package itself offers, that are given or that exist already are made again on reading; nothing
is imported, nothing is executed, nothing is pickled.
"""

import hashlib
import json
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from sklearn.base import BaseEstimator

import endmember
from endmember.assess.comparison import Comparison, side_by_side
from endmember.errors import EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.data import Axis, is_signal, unwrap
from endmember.factor.loop import StartReport
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty
from endmember.factor.solvers import Solver
from endmember.methods.estimator import Learning, SpectralEstimator
from endmember.signals.files.reading import free_memory
from endmember.signals.result.folders import CRATE, DATA, FILES, RECORD, replacing
from endmember.signals.result.misfits import MISFIT_TITLES, save_together
from endmember.signals.result.provenance import crate
from endmember.signals.result.reporting import phrase

#: Files that are never read back, and too large to be looked at for nothing.
LARGE = {"residual.hspy", DATA}
#: What models learn that files of their own hold.
_BESIDE = {"maps_", "components_", "spectra_"}
#: What is kept of a comparison besides its models; the rest follows from these.
_COMPARED = ("names", "misfit", "seconds", "excess")


def _written(model: Any, options: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what ``unmixing.json`` says of a fitted model and the options of its fit; arrays go to ``arrays``.

    ``beside`` names what the model has learned that files of their own hold.
    """
    learned = model.learned()
    rest = {name: value for name, value in learned.items() if name not in _BESIDE}
    return {
        "model": _encode_model(model, arrays, "model"),
        "options": encode(options, arrays, "options"),
        "learned": encode(rest, arrays, "learned"),
        "objective": np.asarray(learned.get("objective_", [])).tolist(),
    }


def read_model(
    record: dict[str, Any], arrays: dict[str, np.ndarray], classes: Collection[type]
) -> tuple[Any, dict[str, Any]]:
    """Take what :func:`_written` returned out of a record, and return the model and the options of its fit."""
    model = decode(record.pop("model"), arrays, classes)
    learned = decode(record.pop("learned"), arrays, classes)
    objective = record.pop("objective")
    if "starts" in record:  # as version 0.1 wrote it
        starts = [StartReport(**start) for start in decode(record.pop("starts"), arrays)]
        learned |= {"objective_": np.array(objective), "starts_": starts}
    return model.restored(learned), decode(record.pop("options"), arrays, classes)


def encode(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """Return ``value`` as JSON can hold it; arrays go to ``arrays`` and leave their name.

    Raises
    ------
    TypeError
        If a value is neither a number, a text, an array, a signal of spectra, a collection of such
        nor a model, loss, penalty or solver.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if is_signal(value):
        return {"signal": _encode_signal(value, arrays, name)}
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, name)
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        return {
            "dict": [
                [encode(key, arrays, name), encode(item, arrays, f"{name}.{key}")]
                for key, item in value.items()
            ]
        }
    if isinstance(value, StartReport):
        return {"start": encode(vars(value), arrays, name)}
    if isinstance(value, BaseEstimator):
        learned = value.learned() if isinstance(value, Learning) else {}
        return {
            **_encode_model(value, arrays, name),
            "learned": encode(learned, arrays, f"{name}.learned"),
        }
    raise EndmemberTypeError(
        f"{name} = {value!r} cannot be written down; use numbers, texts, arrays, models, losses, penalties "
        "and solvers"
    )


def _encode_array(value: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """Return the name of an array; one that stands twice is kept once, texts are no numbers and stay here."""
    if value.dtype.kind in "OUS":
        return {"texts": value.tolist()}
    place = next((known for known, array in arrays.items() if array is value), name)
    arrays[place] = value
    return {"array": place}


def _encode_model(value: Any, arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """Return the class of a model or a part of one, its parameters, and what it says of itself."""
    return {
        "class": name_of(value),
        "parameters": {
            key: encode(item, arrays, f"{name}.{key}")
            for key, item in value.get_params(deep=False).items()
        },
        "in_words": phrase(value),
        "references": list(getattr(type(value), "references", ())),
    }


def decode(value: Any, arrays: dict[str, np.ndarray], classes: Collection[type] = ()) -> Any:
    """Return what :func:`encode` wrote; ``classes`` may be met besides the package's own and those there are."""
    if not isinstance(value, dict):
        return value

    def inner(item: Any) -> Any:
        return decode(item, arrays, classes)

    readers: dict[str, Callable[[Any], Any]] = {
        "array": arrays.__getitem__,
        "texts": lambda texts: np.array(texts, dtype=object),
        "float": float,
        "signal": lambda kept: _decode_signal(kept, arrays),
        "tuple": lambda items: tuple(map(inner, items)),
        "list": lambda items: list(map(inner, items)),
        "dict": lambda pairs: {inner(key): inner(item) for key, item in pairs},
        "start": lambda kept: StartReport(**inner(kept)),
    }
    kind = next(iter(value), "")
    if kind in readers:
        return readers[kind](value[kind])
    model = made(
        value["class"], class_called(value["class"], classes),
        {key: inner(item) for key, item in value["parameters"].items()},
        value.get("in_words", ""), value.get("references", ()),
    )  # fmt: skip
    learned = inner(value.get("learned", {"dict": []}))
    return model.restored(learned) if learned else model


def _encode_signal(signal: Any, arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """Return spectra that are a parameter: their values, their energy axis and their title."""
    axis = Axis.of(signal)
    arrays[f"{name}.values"], arrays[f"{name}.energy"] = np.asarray(unwrap(signal)), axis.energy
    known = {"name": axis.name or None, "units": axis.units}
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


def read_comparison(
    record: dict[str, Any], arrays: dict[str, np.ndarray], classes: Collection[type], result: Any
) -> Comparison | None:
    """Take the comparison of an answer with others out of a record, None where there is none."""
    kept = decode(record.pop("comparison", None), arrays, classes)
    if kept is None:
        return None
    models = [result.model, *kept.pop("models")]
    excess, axis = kept.pop("excess"), Axis.of(result.spectra)
    found = side_by_side(
        models=models, n_pixels=1, energy=axis.energy, energy_label=axis.label, **kept
    )
    return replace(found, excess=excess)


def write_record(folder: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays of a result and, last of all, its JSON record with a sum of every file."""
    with (folder / "arrays.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    sums = {file.name: _sum(file) for file in sorted(folder.iterdir())}
    sums[RECORD] = _sum_of_record(record)
    text = json.dumps({**record, "files": sums}, indent=1, allow_nan=False)
    part = folder / f"{RECORD}.part"
    part.write_text(text + "\n", encoding="utf-8")
    part.rename(folder / RECORD)  # a record that is there is whole


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write_record` wrote.

    Raises
    ------
    ValueError
        If the record is damaged, or a file is missing or not the one that was written with it.
    """
    try:
        record = dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
        known = dict(record.pop("files", {}))
        refuse_if(
            _sum_of_record(record) != known.pop(RECORD, _sum_of_record(record)),
            f"{RECORD} is not the file that was saved",
        )
        for name in FILES & {*known, *(place.name for place in folder.iterdir())}:
            _check_file(folder / name, known.get(name))
        stored = folder / "arrays.npz"
        arrays = _read_arrays(stored) if stored.exists() else {}
    except Exception as problem:  # of zip, zlib and HDF5, which have classes of their own
        raise damaged(folder, problem) from problem
    return record, arrays


def _check_file(file: Path, known: str | None) -> None:
    """Refuse a file that leads elsewhere, or is not the one that was saved where its sum is known."""
    refuse_if(
        file.is_symlink() or (file.exists() and not file.is_file()),
        f"{file.name} leads to a place outside of the folder",
    )
    refuse_if(
        known is not None and file.name not in LARGE and _sum(file) != known,
        f"{file.name} is not the file that was saved",
    )


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a result, which declare neither more than is stored nor more than there is memory for."""
    with zipfile.ZipFile(file) as stored:
        members = stored.infolist()
        refuse_if(
            sum(member.file_size for member in members) > (free_memory() or np.inf),
            f"{file.name} declares more than there is memory for",
        )
        for member in members:
            with stored.open(member) as content:
                major, _ = np.lib.format.read_magic(content)
                shape, _, dtype = getattr(np.lib.format, f"read_array_header_{major}_0")(content)
                refuse_if(
                    content.tell() + math.prod(shape) * dtype.itemsize != member.file_size,
                    f"{file.name} declares other sizes than it holds",
                )
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def damaged(folder: Path, problem: Exception) -> EndmemberError:
    """Return the sentence about a result that cannot be read back."""
    what = (
        f"{Path(problem.filename).name} is missing"
        if isinstance(problem, FileNotFoundError)
        else problem
    )
    return EndmemberError(f"{folder} is a damaged result ({what})", way_out="unmix the data again")


def save_answer(
    result: Any,
    misfits: Any,
    folder: str | Path,
    overwrite: bool,
    more: Callable[[Path], dict[str, Any]] = lambda new: {},
) -> Path:
    """Keep an answer, written beside and renamed: a crash leaves the old one.

    Parameters
    ----------
    result : Unmixing, JointUnmixing or CoupledUnmixing
        Its maps and spectra are a signal each, or a list of which each goes into a numbered file.
    misfits : dict, or list of dict or None
        As :func:`misfits.misfit_of` returns them, None for images.
    folder : str or Path
    overwrite : bool
        Replace an earlier answer of that name.
    more : callable, optional
        Writes what else there is into the new folder and returns what the record says of it.
    """
    folder = Path(folder)
    with replacing(folder, overwrite) as new:
        signals: dict[str, Any] = {
            "maps": _numbered(result.maps),
            "spectra": _numbered(result.spectra),
        }
        for name, parts in signals.items():
            for ending, one in parts.items():
                one.save(new / f"{name}{ending}.hspy")
        for ending, misfit in _numbered(misfits).items():
            if misfit is not None:
                like = (parts.get(ending, parts.get("")).inav[0] for parts in signals.values())
                save_together(new / f"misfit{ending}.hspy", MISFIT_TITLES, misfit, *like)
        arrays: dict[str, np.ndarray] = {}
        said = {**result.record, **more(new), **_written(result.model, result.options, arrays)}
        comparison = getattr(result, "comparison", None)
        if comparison is not None:
            said["comparison"] = encode(
                {name: getattr(comparison, name) for name in _COMPARED}
                | {"models": list(comparison.models[1:])},
                arrays,
                "comparison",
            )
        if source := result.record.get("data", {}).get("source"):
            said["beside"] = os.path.relpath(source["path"], folder.resolve())
        write_record(new, said, arrays)
        add_report(result, new / "report.html")
        (new / CRATE).write_text(json.dumps(crate(new, said), indent=1), encoding="utf-8")
    return folder


def find_data(record: dict[str, Any], folder: Path) -> None:
    """Let a record say where its data are now: a copy in its folder, or as far from it as they were."""
    beside, data = record.pop("beside", None), record.get("data", {})
    if (folder / DATA).exists():
        data["source"] = {"path": str(folder / DATA)}
    elif beside and not Path(data["source"]["path"]).exists() and (folder / beside).exists():
        data["source"] |= {"path": str((folder / beside).resolve())}


def _numbered(found: Any) -> dict[str, Any]:
    """Return what there is by how the names of its files end: numbers where it is a list."""
    several = isinstance(found, list)
    return {f"_{number}": one for number, one in enumerate(found, 1)} if several else {"": found}


def add_report(result: Any, file: Path) -> None:
    """Write the report of a result that is saved already: its failure is said and loses nothing."""
    try:
        result.report(file)
    except Exception as problem:
        warnings.warn(
            f"the result is saved without its report, which could not be written ({problem}); try "
            "result.report(file) again",
            UserWarning,
            stacklevel=4,
        )


def _sum_of_record(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class Described(SpectralEstimator):
    """A model, or a part of one, of which there is all that its file says but not the class.

    Maps, spectra and all else that it has learned are there; what needs the class says which one to give.
    """

    _name: str
    _parameters: dict[str, Any]
    #: The names of the classes that are not at hand.
    _missing: list[str]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters that the file says."""
        return self._parameters

    def parts(self) -> list[tuple[str, Any]]:
        return [
            (role, part)
            for role, part in self._parameters.items()
            if isinstance(part, BaseEstimator)
        ]

    def __repr__(self, *args: Any) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self._parameters.items())
        return f"{type(self).__name__}({told})"

    def __sklearn_clone__(self) -> Self:
        return self

    def own_loss(self) -> Loss:
        if isinstance(self._parameters.get("loss"), Described):
            self._refuse()
        return super().own_loss()

    def _refuse(self, *args: Any, **options: Any) -> NoReturn:
        short = ", ".join(name.rpartition(".")[2] for name in self._missing)
        raise EndmemberTypeError(
            f"{type(self).__name__} was made with {' and '.join(self._missing)}, which is not at hand as it was then: "
            f"import it first, or give it, em.open(folder, classes=[{short}])"
        )

    fit = inverse_transform = explained = _refuse
    _explained_anew = _fit = _maps_of = _refuse


def name_of(part: Any) -> str:
    """Return the name by which a file calls the class of a model or a part of one: short if the package offers it."""
    if isinstance(part, Described):
        return part._name
    kind = type(part)
    return kind.__name__ if getattr(endmember, kind.__name__, None) is kind else _full_name(kind)


def class_called(name: str, classes: Collection[type]) -> type | None:
    """Return the class of that name: one that the package offers, one of ``classes``, or one that exists already.

    Raises
    ------
    ValueError
        If it would be a class of the package, which has none of that name.
    """
    if "." not in name:
        kind = getattr(endmember, name, None)
        refuse_if(
            not (isinstance(kind, type) and issubclass(kind, BaseEstimator)),
            f"{name!r} is no model of this version of endmember",
        )
        return kind
    known = {_full_name(kind): kind for base in _BASES for kind in _below(base)}
    given = {kind.__name__: kind for kind in classes}
    exactly = {_full_name(kind): kind for kind in classes}
    return exactly.get(name) or given.get(name.rpartition(".")[2]) or known.get(name)


_BASES = (Loss, Penalty, Solver, SpectralEstimator)


def _below(base: type) -> list[type]:
    """Return all classes that exist below one; of those of one name, defined again, the last is the latest."""
    children: list[type] = base.__subclasses__()
    return [kind for child in children for kind in (child, *_below(child))]


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def made(name: str, kind: type | None, parameters: dict[str, Any], words: str, works: Any) -> Any:
    """Return an instance of a class, described where the class or that of a parameter is not at hand.

    Parameters
    ----------
    name : str
        By which the file calls the class.
    kind : type or None
        The class, where it is at hand.
    parameters : dict
    words, works : str, sequence of str
        What it says of itself in a report, and where it comes from.
    """
    missing = [one for value in parameters.values() for one in _missing(value)]
    if kind is not None and not missing:
        try:
            return kind(**parameters)
        except TypeError:  # a class of that name that takes other parameters
            kind = None
    said = {"in_words": words.replace("{", "{{").replace("}", "}}"), "references": tuple(works)}
    bases = (Described,) if kind is None else (Described, kind)
    model: Described = object.__new__(type(name.rpartition(".")[2], bases, said))
    model.__dict__.update(
        parameters, _name=name, _parameters=parameters, _missing=missing or [name]
    )
    return model


def _missing(value: Any) -> list[str]:
    """Return the names of the classes that a parameter lacks."""
    if isinstance(value, Described):
        return value._missing
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [one for item in value for one in _missing(item)] if isinstance(value, list | tuple) else []
    )
