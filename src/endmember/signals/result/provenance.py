"""What is kept with every answer so that it can be run again: versions, and what tells its data from others."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from endmember import __version__
from endmember.factor.data import (
    blocks_of,
    counts_of,
    data_hash,
    is_list,
    sample,
    stays_lazy,
    steps,
    unwrap,
    watched,
)

#: What kind of file ends in what, for archives.
_MEDIA = {
    ".hspy": "application/x-hdf5",
    ".npz": "application/zip",
    ".json": "application/json",
    ".html": "text/html",
    ".csv": "text/csv",
}
#: What a file of a result holds, by how its name begins.
_HOLDS = {
    "maps": "the map of every component",
    "spectra": "the spectrum of every component",
    "misfit": "residual of every pixel, mean spectra of data, model and residual",
    "residual": "residual of every value",
    "errors": "standard errors of maps and spectra",
    "bands": "between which maps and spectra the data cannot tell",
    "anomalies": "pixels that no mixture explains",
    "composition": "atomic and weight per cent of every component",
    "arrays": "arrays among parameters and what was learned",
    "unmixing": "model, parameters, steps, versions and sums of all files",
    "report": "the report",
    "data": "a copy of what was unmixed",
}
_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "hyperspy", "exspy", "rosettasciio")


def versions() -> dict[str, str]:
    """Return the version of everything that has a say in an answer.

    Returns
    -------
    dict of str to str
        For endmember, python and the packages underneath; those not installed are left out.

    Examples
    --------
    >>> import numpy
    >>> versions()["numpy"] == numpy.__version__
    True
    """
    found = {"endmember": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def about(signal: Any) -> str:
    """Return what tells a signal from others: its files, their sizes and times, shape, steps, and a sample.

    The sample tells apart what was computed of one file in different ways. Lazy data of no file are told
    apart by the name that Dask gives their content.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> one, other = (hs.signals.Signal1D([[1.0, x]]).as_lazy() for x in (2.0, 3.0))
    >>> about(one) == about(other)
    False
    """
    files = [(str(file), state) for file, _, state in watched(signal.data)]
    known = {
        "versions": versions(),
        "name": None if files else getattr(signal.data, "name", None),
        "files": files,
        "shape": [int(size) for size in unwrap(signal).shape],
        "dtype": str(signal.data.dtype),
        "steps": steps(signal),
        "sample": fingerprint_of(signal),
    }
    return json.dumps(known, sort_keys=True)


def fingerprint_of(signal: Any) -> str:
    """Return the fingerprint that is kept with an answer; that of a sample where lazy data are large.

    Reading everything once more would cost as much as a pass of the fit.
    """
    X = unwrap(signal)
    return (
        data_hash(counts_of(X) if is_list(X) else X)
        if not stays_lazy(X)
        else f"sample of {tuple(int(size) for size in X.shape)} {data_hash(sample(blocks_of(X)))}"
    )


def crate(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return what a folder holds, what it was made of and by what, as archives read it.

    Parameters
    ----------
    folder : Path
        With all its files.
    record : dict
        What ``unmixing.json`` says.

    References
    ----------
    S. Soiland-Reyes et al., *Data Science* **5** (2022) 97 (RO-Crate); the specification, version 1.1.
    """
    files = [
        {
            "@id": file.name, "@type": "File", "name": file.name,
            "description": next((_HOLDS[name] for name in _HOLDS if file.stem.startswith(name)), ""),
            "encodingFormat": _MEDIA[file.suffix], "contentSize": str(file.stat().st_size),
        }
        for file in sorted(folder.iterdir())
        if file.suffix in _MEDIA
    ]  # fmt: skip
    data = record.get("data", {})
    source = Path((data.get("source") or {}).get("path", "a spectrum image in memory")).name
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            },
            {
                "@id": "./", "@type": "Dataset", "name": f"Unmixing of {data.get('title') or source}",
                "description": "Pure spectra and their maps, and how they were found.",
                "datePublished": record["written"], "hasPart": [{"@id": file["@id"]} for file in files],
                "mentions": {"@id": "#unmixing"},
            },
            *files,
            {
                "@id": "#unmixing", "@type": "CreateAction", "name": record["model"]["in_words"],
                "endTime": record["written"], "instrument": {"@id": "#endmember"},
                "object": {"@id": "#data"}, "result": {"@id": "./"},
            },
            {
                "@id": "#data", "@type": "CreativeWork", "name": source,
                "identifier": data.get("hash", ""),
            },
            {
                "@id": "#endmember", "@type": "SoftwareApplication", "name": "Endmember",
                "softwareVersion": record["versions"]["endmember"],
                "softwareRequirements": [" ".join(one) for one in record["versions"].items()],
            },
        ],
    }  # fmt: skip
