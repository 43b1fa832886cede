"""What is kept with every answer so that it can be run again: versions, and what tells its data from others."""

import importlib.metadata
import json
import platform
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
