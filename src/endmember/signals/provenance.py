"""What is kept with every answer so that it can be run again: versions, data, processing steps."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from endmember import __version__
from endmember.signals.summary import spectra_last

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "hyperspy", "exspy", "rosettasciio")
_BLOCK = 2**25  # bytes hashed in one go
_STEPS = "Endmember.steps"
_SOURCE = "Endmember.source"


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


def data_hash(data: Any) -> str:
    """Return a fingerprint of data: the same data always give the same, others another.

    BLAKE2b, 16 bytes, of the shape, the data type and the values in C order, little-endian.
    It does not depend on how the data are kept: an eager and a lazy array, any chunking, any
    memory order, and a signal and its ``(*domain, channels)`` array agree. Sparse data are hashed
    as a CSR matrix with sorted indices, no duplicates and no stored zeros, and differ from the
    same data kept dense.

    Parameters
    ----------
    data : ndarray, dask.array.Array, sparse matrix or hyperspy.api.signals.BaseSignal
        Looked at block by block.

    Returns
    -------
    str
        ``"blake2b:"`` and 32 hexadecimal digits.

    Raises
    ------
    ValueError
        The values are Python objects, which have no bytes of their own.

    Examples
    --------
    >>> data_hash(np.arange(6).reshape(2, 3)) == data_hash(np.arange(6).reshape(3, 2))
    False
    """
    if hasattr(data, "axes_manager"):
        data = spectra_last(data)
    digest = hashlib.blake2b(digest_size=16)
    if scipy.sparse.issparse(data):
        _hash_csr(digest, data)
    else:
        _hash_array(digest, data if hasattr(data, "dtype") else np.asarray(data))
    return f"blake2b:{digest.hexdigest()}"


def steps(signal: Any) -> list[dict[str, Any]]:
    """Return the processing steps that a signal went through, oldest first.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        Steps are kept in its metadata as JSON text, which every file format of HyperSpy keeps.

    Returns
    -------
    list of dict
        As given to `record`; a copy.
    """
    text = signal.metadata.get_item(_STEPS, default="[]")
    return json.loads(text)


def record(signal: Any, step: dict[str, Any], inplace: bool = False) -> Any:
    """Append a processing step to a signal's history.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        With at least one signal axis.
    step : dict
        What was done, as JSON can hold it: names, numbers, texts, lists; NumPy numbers and small
        arrays are turned into such.
    inplace : bool
        Edit the given signal's metadata rather than those of a new one.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        The signal with the longer history: the given one, or a new one that shares its data.

    Raises
    ------
    ValueError
        The step holds something that JSON cannot.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> spectrum = hs.signals.Signal1D([1.0, 2.0])
    >>> steps(record(spectrum, {"step": "remove_spikes", "threshold": 5})), steps(spectrum)
    ([{'step': 'remove_spikes', 'threshold': 5}], [])
    """
    try:
        text = json.dumps([*steps(signal), step], default=_plain, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise ValueError(
            f"a processing step must hold names, finite numbers, texts and lists only: {problem}"
        ) from problem
    recorded = signal if inplace else signal.isig[:]
    recorded.metadata.set_item(_STEPS, text)
    return recorded


def source(signal: Any) -> dict[str, Any] | None:
    """Return where a signal was loaded from, as `set_source` noted it.

    Returns
    -------
    dict or None
        ``path``, ``signal`` (the number in the file) and ``lazy``; None for a signal of no file.
    """
    text = signal.metadata.get_item(_SOURCE, default="")
    return json.loads(text) if text else None


def set_source(signal: Any, path: str | Path, number: int, lazy: bool) -> None:
    """Note in the metadata of a signal, in place, where it was loaded from."""
    place = {"path": str(Path(path).absolute()), "signal": number, "lazy": lazy}
    signal.metadata.set_item(_SOURCE, json.dumps(place))


def _plain(value: Any) -> Any:
    """Turn NumPy numbers and arrays into numbers and lists."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _hash_csr(digest: Any, data: Any) -> None:
    csr = scipy.sparse.csr_array(data, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    digest.update(b"csr")
    digest.update(repr(tuple(map(int, csr.shape))).encode())
    for part in (csr.indptr.astype(np.int64), csr.indices.astype(np.int64), csr.data):
        _hash_array(digest, part)


def _hash_array(digest: Any, data: Any) -> None:
    dtype = data.dtype.newbyteorder("<")
    if dtype.hasobject:
        raise ValueError(f"data of type {data.dtype} have no fingerprint; make them numbers first")
    digest.update(f"{tuple(map(int, data.shape))} {dtype.str}".encode())
    for block in _row_blocks(data):
        digest.update(np.ascontiguousarray(block, dtype=dtype))


def _row_blocks(data: Any) -> Iterator[np.ndarray]:
    """Go through an array along its first axis, a lazy one chunk row by chunk row."""
    if data.ndim == 0:
        yield np.asarray(data)
        return
    if isinstance(data, np.ndarray):
        height = max(1, _BLOCK // max(1, data[:1].nbytes))
        heights = [height] * -(-data.shape[0] // height)
    else:
        heights = list(data.chunks[0])
    start = 0
    for height in heights:
        yield np.asarray(data[start : start + height])
        start += height
