"""Lists of single events, such as X-rays one by one: counts that are sparse from their file on.

A signal holds an array, so that a list of events comes as a Dask array whose blocks are made dense as they are read.
Fits take the list itself, which is as large as its counts, whatever the pixels and channels.
"""

import math
from functools import reduce
from operator import add
from typing import Any

from scipy import sparse

from endmember.factor.data.lazy import Blocks, in_memory
from endmember.factor.data.resources import current

#: Dense blocks of a list have about this size, in bytes.
BLOCK_BYTES = 2**25
#: Bytes that a count takes while a fit holds it: its value and place, twice for a moment.
COUNT_BYTES = 32


def as_events(X: Any) -> tuple[Any, int]:
    """Return a Dask array as a reader makes it of lists of events, in blocks with all channels, and how many lists.

    Parameters
    ----------
    X : Dask array, (*domain, channels)
        The sum of the lists in its graph; all else is returned as it is.
    """
    found = _lists_in(X)
    if not found or any(one.shape != X.shape for one in found):
        return X, 0
    import dask.array as da

    total = reduce(add, found).astype(X.dtype)
    events = type(found[0])(total.coords, total.data, shape=X.shape, sorted=True)
    rows = max(1, BLOCK_BYTES // max(math.prod(X.shape[1:]) * X.dtype.itemsize, 1))
    return da.from_array(events, chunks=(rows, *[-1] * (X.ndim - 1)), asarray=False), len(found)


def is_list(X: Any) -> bool:
    """Tell whether whole numbers come from lists of events, or parts of them, whose counts fit the memory."""
    return (
        hasattr(X, "dask")
        and X.dtype.kind in "iub"
        and 0 < COUNT_BYTES * sum(one.nnz for one in _lists_in(X)) <= (current().memory or math.inf)
    )


def counts_of(X: Any) -> sparse.csr_array:
    """Return the counts (n, m) of what :func:`is_list`; taken once a session."""
    notes, key = current().notes, ("counts", X.name)
    if key not in notes:
        (events, *others), untouched = _lists_in(X), len(X.dask.layers) == 2
        notes[key] = (
            sparse.csr_array(events.reshape((-1, X.shape[-1])).tocsr())
            if untouched and not others
            else in_memory(X, Blocks(X), sparse_from=-1.0)
        )
    return notes[key]


def _lists_in(X: Any) -> list[Any]:
    """Return the lists of events that a Dask array is made from."""
    layers = getattr(X.dask, "layers", {}).values()
    made = [layer for layer in layers if getattr(layer, "is_materialized", bool)()]
    return [one for layer in made for one in layer.values() if hasattr(one, "coords")]
