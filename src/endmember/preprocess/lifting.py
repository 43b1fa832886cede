"""Lift a function on ``(*domain, channels)`` arrays to Dask arrays and HyperSpy signals.

A step is written once, for an array. `lifted` makes it take signals too and keep its promises:
the same kind of thing comes back, lazy stays lazy, nothing given is edited, float32 stays float32,
and a signal remembers what was done. `map_pixels` and `map_whole` carry the work itself to Dask.
"""

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from endmember.errors import refuse_if
from endmember.factor.data import (
    STEPS,
    Axis,
    Given,
    data_hash,
    given,
    is_lazy,
    is_signal,
    row_blocks,
    steps,
    unwrap,
    whole,
)

_SLAB = 2**22  # entries worked on at a time
_SMALL = 32  # arrays up to this size are kept in the history entry by entry


@dataclasses.dataclass(frozen=True)
class Cropped:
    """What a lifted function returns in place of an array when it gives fewer channels back.

    Attributes
    ----------
    data : ndarray or dask.array.Array, shape (*domain, fewer channels)
        The result.
    start : int
        The channel of the input that is the first of the result.
    """

    data: Any
    start: int


def lifted(
    function: Callable[..., Any] | None = None,
    *,
    counts: bool = False,
    records: bool = True,
    missing: bool = False,
    name: str | None = None,
) -> Callable[..., Any]:
    """Make a function of an array take and return HyperSpy signals and Dask arrays as well.

    The first argument becomes an array ``(*domain, channels)``: a read-only NumPy array, or a Dask
    array for lazy input. What comes back in that shape is wrapped as the input was, each part of
    a tuple for itself; results of other shapes are passed on as they are. A function that has
    a parameter ``energy`` gets the values of a signal's axis, in the axis' own unit.

    Parameters
    ----------
    function : callable
        ``function(X, ...)``.
    counts : bool
        Hand integers over as they are. By default they become float64; float32 stays float32.
    records : bool
        Append name and parameters to the history of the signal that comes back.
    missing : bool
        Whether the function takes NaN for missing values; a masked array then comes in so, and goes out masked.
    name : str, optional
        What the history calls the step; the function's own name unless given.

    Returns
    -------
    callable
        Of the same signature.

    Raises
    ------
    ValueError, TypeError
        When called: what the models refuse, but for a single spectrum; ``energy`` given
        together with a signal, or not one value for each channel.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> @lifted
    ... def halve(X, times=1):
    ...     return X / 2**times
    >>> halve([4, 2], times=2), halve(hs.signals.Signal1D([[4, 2]]))
    (array([1. , 0.5]), <Signal1D, title: , dimensions: (1|2)>)
    """
    if function is None:
        return functools.partial(lifted, counts=counts, records=records, missing=missing, name=name)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        first, X = next(iter(bound.arguments.items()))
        taken = given(X, least=1)
        array = _entered(taken, counts, missing)
        others = {key: value for key, value in bound.arguments.items() if key != first}
        if "energy" in others:
            others["energy"] = bound.arguments["energy"] = _energy(X, taken.axis, others["energy"])
        bound.arguments[first] = array
        result = function(*bound.args, **bound.kwargs)
        parameters = {
            key: value for key, value in others.items() if key != "energy" and value is not None
        }
        parameters |= parameters.pop("options", {})
        step = {"step": name or function.__name__, **parameters} if records else None
        return _each(result, lambda part: _give_back(part, X, taken, array, step))

    return call


def as_array(X: Any, counts: bool = False, missing: bool = False) -> Any:
    """Return data of any kind as a read-only ndarray or as a Dask array, ``(*domain, channels)``.

    Parameters
    ----------
    X : array_like, dask.array.Array or hyperspy.api.signals.BaseSignal
        Not copied unless integers have to become float64.
    counts : bool
        Leave integers as they are.
    missing : bool
        Take NaN, and what a masked array hides, for missing values.

    Raises
    ------
    TypeError, ValueError
        As the models do, but for a single spectrum, which is taken.

    Examples
    --------
    >>> as_array([[1, 2]]).dtype, as_array([[1, 2]], counts=True).dtype.kind
    (dtype('float64'), 'i')
    """
    return _entered(given(X, least=1), counts, missing)


def _entered(taken: Given, counts: bool, missing: bool) -> Any:
    """Return the array of what was given, with NaN where it is missing."""
    refuse_if(
        taken.pattern,
        "a pattern at every pixel is no spectrum, and this step works along an energy axis; do without it",
    )
    array = taken.array.toarray() if sparse.issparse(taken.array) else taken.array
    if array.dtype != np.float32 and not (counts and array.dtype.kind in "iu"):
        array = array.astype(np.float64, copy=False)
    if taken.hidden is not None:
        array = array if array.dtype.kind == "f" else array.astype(np.float64)
        array = np.where(taken.hidden, array.dtype.type(np.nan), array)
    array = whole(array, missing)
    if not is_lazy(array):
        array = array.view()
        array.flags.writeable = False
    return array


def map_pixels(
    function: Callable[..., Any], X: Any, *others: Any, dtype: Any = None, margin: int = 0
) -> Any:
    """Apply a function to an array slab by slab, or to a Dask array block by block, later.

    Parameters
    ----------
    function : callable
        Takes an ndarray ``(*domain, channels)`` and returns one of the same shape. A block holds
        all channels of its pixels and has as many axes as ``X``.
    X : ndarray or dask.array.Array
        The data.
    *others : ndarray or dask.array.Array
        More arrays of the same shape, handed to the function block by block as well.
    dtype : dtype, optional
        Of the result; that of ``X`` by default.
    margin : int
        How many pixels away, along every axis of the domain, a result depends on. Blocks are lent
        that many of their neighbours' pixels, so that lazy and eager agree.

    Examples
    --------
    >>> map_pixels(np.sqrt, np.array([[4.0, 9.0]]))
    array([[2., 3.]])
    """
    dtype = X.dtype if dtype is None else np.dtype(dtype)
    if not is_lazy(X):
        return _slab_by_slab(function, (X, *others), dtype, margin)
    import dask.array as da

    X = X.rechunk({X.ndim - 1: -1})
    blocks = [X, *(da.asarray(other).rechunk(X.chunks) for other in others)]
    kept = {"dtype": dtype, "meta": np.empty((0,) * X.ndim, dtype=dtype)}
    if margin == 0:
        return da.map_blocks(function, *blocks, **kept)
    depth = dict.fromkeys(range(X.ndim - 1), margin)
    return da.map_overlap(function, *blocks, depth=depth, boundary="none", **kept)


def _slab_by_slab(
    function: Callable[..., Any], arrays: tuple[Any, ...], dtype: Any, margin: int
) -> np.ndarray:
    """Apply a function to slabs of the first axis of a few million entries each."""
    X = arrays[0]
    if X.ndim < 2:
        return np.asarray(function(*arrays)).astype(dtype, copy=False)
    found = np.empty(X.shape, dtype=dtype)
    for rows in row_blocks(len(X), X[0].size, _SLAB):
        first = max(rows.start - margin, 0)
        slab = function(*(np.asarray(array)[first : rows.stop + margin] for array in arrays))
        found[rows] = slab[rows.start - first : rows.stop - first]
    return found


def map_whole(function: Callable[..., Any], X: Any, results: int) -> tuple[Any, ...]:
    """Apply a function that needs all pixels at once; on a Dask array later, in one go.

    Parameters
    ----------
    function : callable
        Takes an ndarray and returns a tuple of arrays of the same shape and dtype.
    X : ndarray or dask.array.Array
        The data. All of them are in memory while a lazy result is computed.
    results : int
        How many.
    """
    if not is_lazy(X):
        return function(X)
    import dask.array as da
    from dask.delayed import delayed

    parts = delayed(function, nout=results)(X)
    return tuple(da.from_delayed(part, X.shape, X.dtype).rechunk(X.chunks) for part in parts)


def _energy(X: Any, axis: Axis, energy: Any) -> np.ndarray | None:
    """Return the energies of a signal's axis, or those given with an array, or None."""
    if is_signal(X):
        refuse_if(energy is not None, "a signal has its own energy axis; leave energy= out")
        return axis.energy
    if energy is None:
        return None
    energy = np.asarray(energy, dtype=float)
    refuse_if(
        energy.shape != axis.energy.shape,
        f"energy has the shape {energy.shape} and the data have {len(axis.energy)} channels; "
        "give one energy for each channel",
    )
    return energy


def _each(result: Any, wrap: Callable[[Any], Any]) -> Any:
    """Wrap a result, or every part of a tuple or named tuple."""
    if not isinstance(result, tuple):
        return wrap(result)
    parts = [wrap(part) for part in result]
    return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)


def _give_back(result: Any, X: Any, taken: Given, array: Any, step: dict[str, Any] | None) -> Any:
    """Return a result as the kind of thing that ``X`` is, in its precision."""
    cropped = result if isinstance(result, Cropped) else Cropped(result, 0)
    data = cropped.data
    expected = array.shape[:-1] if cropped is result else array.shape
    if getattr(data, "shape", ())[: len(expected)] != expected:
        return result
    if data.dtype.kind == "f" and array.dtype.kind == "f":
        data = data.astype(array.dtype, copy=False)
    if taken.hidden is not None:
        data = _masked(data, taken)
    if not is_signal(X):
        return sparse.csr_array(data) if sparse.issparse(taken.array) else data
    wrapped = X.isig[cropped.start : cropped.start + data.shape[-1]]
    (spectral,) = X.axes_manager.signal_indices_in_array
    wrapped.data = np.moveaxis(data, -1, spectral)
    return wrapped if step is None else record(wrapped, step)


def _masked(data: Any, taken: Given) -> Any:
    """Return a result as the masked array that its data were, counts as counts."""
    hidden: Any = np.isnan(data) if data.dtype.kind == "f" else taken.hidden
    if taken.array.dtype.kind in "iu" and data.dtype.kind == "f":
        kept = np.where(hidden, data.dtype.type(0), data)
        data = (
            kept.astype(taken.array.dtype) if not is_lazy(data) and (kept % 1 == 0).all() else data
        )
    if not is_lazy(data):
        return np.ma.array(data, mask=hidden)
    import dask.array as da

    return da.ma.masked_array(data, hidden)


def _written(value: Any) -> Any:
    """Return a parameter as JSON can hold it; large arrays as shape and fingerprint."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if is_signal(value) or is_lazy(value) or isinstance(value, np.ndarray):
        array = unwrap(value) if is_signal(value) else value
        return (
            _written(array.tolist())
            if isinstance(array, np.ndarray) and array.size <= _SMALL
            else {"shape": [int(size) for size in array.shape], "hash": data_hash(array)}
        )
    return (
        {"class": type(value).__name__, **_written(dataclasses.asdict(value))}
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else repr(value)
    )


def record(signal: Any, step: dict[str, Any]) -> Any:
    """Append a processing step to the history in a signal's own metadata.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        With at least one signal axis.
    step : dict
        What was done; large arrays are kept as shape and fingerprint.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        The given one.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> spectrum = hs.signals.Signal1D([1.0, 2.0])
    >>> steps(record(spectrum, {"step": "remove_spikes", "threshold": 5}))
    [{'step': 'remove_spikes', 'threshold': 5}]
    """
    signal.metadata.set_item(STEPS, json.dumps([*steps(signal), _written(step)]))
    return signal
