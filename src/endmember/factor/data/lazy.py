"""Lazy data: a Dask array cut into blocks within the memory, and read once a pass, in threads or on a cluster.

Blocks hold the whole energy axis, and each chunk is read once.

A *pass* reads every block once. What is computed of a block is returned, never written in place: a
block may be computed twice, where a worker dies, and changes nothing. What blocks return is taken in
their order, so that sums have the same bits whatever thread or worker was first.

Lists of single events, such as X-rays one by one, are counts that are sparse from their file on. A signal holds an
array, so that a list comes as a Dask array whose blocks are made dense as they are read. Fits take the list itself,
which is as large as its counts, whatever the pixels and channels.
"""

import math
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property, partial, reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from endmember.errors import Argument, EndmemberError, Words
from endmember.factor.columns import placed
from endmember.factor.data.kernels import Entries
from endmember.factor.data.matrix import Block, BlockData, Rows, Selection, answer_dtype, row_blocks
from endmember.factor.data.resources import (
    current,
    in_turn,
    in_words,
    logger,
    n_threads,
    one_blas_thread,
    ordered,
)
from endmember.factor.data.watched import unchanged

#: Neighbouring chunks are read together up to this size, in bytes.
SMALL_BLOCK = 2**25
#: A block that must be cut out of larger chunks has this size at most, in bytes.
LARGE_BLOCK = 2**26
#: The share of the memory that blocks may take; the rest is for factors and sums.
SHARE = 0.4
#: Data are written anew in better chunks when a pass would read each chunk more often than this.
AMPLIFICATION = 2
#: A cluster without workers is waited for so long, in seconds, and looked at so often.
ALONE_SECONDS, LOOK_SECONDS = 30.0, 5.0
#: What is looked at where a part of the data will do: blocks, and pixels of each along every axis.
SAMPLED_BLOCKS, SAMPLED_WIDTH = 9, 24
#: Dense blocks of a list have about this size, in bytes.
BLOCK_BYTES = 2**25
#: Bytes that a count takes while a fit holds it: its value and place, twice for a moment.
COUNT_BYTES = 32


class Blocks:
    """The blocks of a Dask array ``(*domain, m)``; iterating gives ``(place, pixel numbers)``.

    Parameters
    ----------
    X : Dask array, (*domain, m)
    memory : int, optional
        Bytes that all of the work may take.

    Attributes
    ----------
    X : Dask array
        The one given, or its copy in chunks that can be read.
    n : int
        Number of pixels.
    threads : int
        Blocks that are in memory at a time.
    amplification : int
        How often every chunk is read in a pass.

    Raises
    ------
    ValueError
        If not even one block fits; the message says which chunks do.
    """

    def __init__(self, X: Any, memory: int | None = None) -> None:
        self.X, self.domain = X, tuple(int(size) for size in X.shape[:-1])
        self.n = math.prod(self.domain)
        self._pixel = int(X.shape[-1]) * X.dtype.itemsize
        self.amplification = 1
        share = math.inf if memory is None else SHARE * memory
        chunk = math.prod(max(sizes) for sizes in X.chunks[:-1]) * self._pixel
        pieces = len(X.chunks[-1])
        #: Parts are put together in a copy: a block of several chunks takes twice its size.
        self._copies = 1 if pieces == 1 else 2
        if self._copies * chunk > min(share, math.inf if pieces == 1 else 2 * LARGE_BLOCK):
            self._cut(chunk, share)
        #: The sizes of the blocks along every axis of the domain.
        self.sizes = self._grouped(min(share, SMALL_BLOCK))
        self.bytes_of_block = self._copies * math.prod(map(max, self.sizes)) * self._pixel
        fitting = n_threads() if memory is None else int(share // max(self.bytes_of_block, 1))
        self.threads = max(1, min(n_threads(), fitting))

    def __iter__(self) -> Iterator[tuple[tuple[slice, ...], Any]]:
        numbers = np.arange(self.n).reshape(self.domain)
        for place in self.places:
            yield place, tight(numbers[place].ravel())

    def __len__(self) -> int:
        return math.prod(map(len, self.sizes))

    @property
    def places(self) -> list[tuple[slice, ...]]:
        """The pixels of every block."""
        from dask.array.core import slices_from_chunks

        return slices_from_chunks(self.sizes)

    def _grouped(self, limit: float) -> list[tuple[int, ...]]:
        """Return the sizes of the blocks along every axis: those of the chunks, small ones together."""
        grouped = list(self.X.chunks[:-1])
        for axis, sizes in reversed(list(enumerate(grouped))):
            together = int(limit // max(2 * math.prod(map(max, grouped)) * self._pixel, 1))
            if together > 1:
                starts = range(0, len(sizes), together)
                grouped[axis] = tuple(sum(sizes[start : start + together]) for start in starts)
                self._copies = 2
        return grouped

    def _cut(self, chunk: int, share: float) -> None:
        """Make blocks that are smaller than the chunks, or refuse."""
        goal = min(share / 2, LARGE_BLOCK)
        if len(self.X.chunks[-1]) == 1 or goal < self._pixel:
            raise EndmemberError(*self._advice(chunk, goal))
        self.amplification = math.ceil(chunk / goal)
        if self.amplification > AMPLIFICATION:
            self.X = self._written_anew(chunk, goal)
            self.amplification = 1
        else:
            self.X = self.X.rechunk((*self._fitting(goal), self.X.shape[-1]))
            self._copies = 2

    def _fitting(self, goal: float) -> tuple[int, ...]:
        """Return the largest pixel chunks of about ``goal`` bytes, square-like, last axis first."""
        left, shape = max(1, int(goal // self._pixel)), []
        for axis, size in reversed(list(enumerate(self.domain))):
            shape.append(min(size, max(1, math.floor(left ** (1 / (axis + 1))))))
            left = max(1, left // shape[-1])
        return tuple(reversed(shape))

    def _advice(self, chunk: int, goal: float) -> Words:
        fitting = (*self._fitting(goal), int(self.X.shape[-1]))
        largest = tuple(max(sizes) for sizes in self.X.chunks)
        return (
            f"the data are cut into chunks of {largest}, of which one takes {in_words(chunk)} with "
            "its whole energy axis, more than the limit of memory leaves for it; raise ",
            Argument("memory"),
            f" or save the data in chunks of at most {fitting}",
        )

    def _written_anew(self, chunk: int, goal: float) -> Any:
        """Return the data in chunks with the whole energy axis: a copy on disk, for which each chunk is read once."""
        fitting = (*self._fitting(goal), int(self.X.shape[-1]))
        folder = Path(tempfile.gettempdir())
        free = shutil.disk_usage(folder).free
        if self.X.nbytes > free:
            raise EndmemberError(
                *self._advice(chunk, goal),
                f"; a copy in such chunks takes {in_words(self.X.nbytes)} "
                f"and {folder} has {in_words(free)}",
            )
        logger.warning(
            "the chunks split the energy axis, so a pass would read everything %d times: the data "
            "are written anew, once, in chunks of %s (%s in %s); save them so to spare this",
            self.amplification, fitting, in_words(self.X.nbytes), folder,
        )  # fmt: skip
        return _copied(self.X, fitting)


def sample(blocks: Blocks) -> np.ndarray:
    """Return a small spectrum image out of a few blocks, evenly spread: parts of equal shape, one below the other."""
    places = blocks.places
    shapes = [tuple(part.stop - part.start for part in place) for place in places]
    alike = [place for place, shape in zip(places, shapes, strict=True) if shape == shapes[0]]
    chosen = np.unique(np.linspace(0, len(alike) - 1, SAMPLED_BLOCKS).round().astype(int))
    few = (slice(SAMPLED_WIDTH),) * len(shapes[0])
    parts = [read(blocks.X[alike[number]][few]) for number in chosen]
    return (np.ma if isinstance(parts[0], np.ma.MaskedArray) else np).concatenate(parts)


def _copied(X: Any, chunks: tuple[int, ...]) -> Any:
    """Return a copy of a Dask array in other chunks, in a temporary file, reading each chunk once."""
    import dask.array as da
    import h5py
    from dask.array.core import slices_from_chunks

    handle, name = tempfile.mkstemp(prefix="endmember-", suffix=".hdf5")
    os.close(handle)
    pieces = (*chunks[:-1], min(max(X.chunks[-1]), chunks[-1]))
    copy = h5py.File(name, "w").create_dataset("data", shape=X.shape, dtype=X.dtype, chunks=pieces)
    weakref.finalize(copy, Path(name).unlink, missing_ok=True)
    with unchanged(X):
        for place in slices_from_chunks(X.chunks):
            copy[place] = read(X[place])
    return da.from_array(copy, chunks=chunks)


def tight(index: np.ndarray) -> Any:
    """Return increasing numbers as a slice where they are one."""
    gapless = len(index) and index[-1] - index[0] + 1 == len(index)
    return slice(int(index[0]), int(index[-1]) + 1) if gapless else index


class Lazy(BlockData):
    """A Dask array ``(*domain, m)``, seen as its matrix (n, m); every product is one pass.

    Parameters
    ----------
    X : Dask array, (*domain, m)
        Chunks of any shape; each is read once a pass.
    selection : Selection, optional
        Which pixels and channels take part.
    blocks : Blocks, optional
        How ``X`` is read; the layout that suits it unless given.
    """

    def __init__(
        self, X: Any, selection: Selection | None = None, blocks: Blocks | None = None
    ) -> None:
        self.layout = blocks or Blocks(X, current().memory)
        self.X, self.selection = self.layout.X, selection or Selection()
        self.shape = self.selection.shape((self.layout.n, X.shape[-1]))
        self.dtype = answer_dtype(X.dtype)

    @cached_property
    def _number(self) -> np.ndarray | None:
        """The number of every pixel among those that take part, -1 elsewhere; None where all do."""
        rows = self.selection.rows
        return None if rows is None else placed(np.arange(len(rows)), rows, self.layout.n, -1, int)

    def a_pass(
        self, name: str, kernel: Callable[..., Any], arguments: Callable[[Rows], tuple[Any, ...]]
    ) -> Iterator[tuple[Rows, Any]]:
        current().count(name)
        tasks = self._tasks(kernel, arguments)
        client = cluster()
        with unchanged(self.X), one_blas_thread():
            yield from (
                _on_cluster(client, tasks)
                if client
                else ordered(lambda task: _work(*task), tasks, self.layout.threads)
            )

    def _tasks(
        self, kernel: Callable[..., Any], arguments: Callable[[Rows], tuple[Any, ...]]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield ``(rows, part of the Dask array, …)`` as :func:`_work` takes it, without touching the data."""
        for place, rows in self.layout:
            chosen = None
            if self._number is not None:
                numbers = self._number[rows]
                chosen = np.flatnonzero(numbers >= 0)
                rows = tight(numbers[chosen])
                if len(chosen) == 0:
                    continue
            yield rows, self.X[place], kernel, chosen, self.selection.columns, arguments(rows)

    def blocks(self) -> Iterator[tuple[Rows, np.ndarray]]:
        for rows, block in self.a_pass("rows", _whole, lambda rows: ()):
            index = np.arange(self.shape[0])[rows]
            for piece in row_blocks(*block.shape):
                yield index[piece], block[piece].astype(np.float64, copy=False)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Return some rows, reading only the blocks that hold them."""
        chosen = self.selection.rows
        wanted = np.asarray(index) if chosen is None else chosen[index]
        found = np.empty((len(wanted), self.shape[1]))
        for place, rows in self.layout:
            inside = np.arange(self.layout.n)[rows]
            here = np.flatnonzero(np.isin(wanted, inside))
            if len(here):
                block = read(self.X[place])
                block = block.reshape(-1, block.shape[-1])[np.searchsorted(inside, wanted[here])]
                found[here] = Selection(columns=self.selection.columns).take(block, slice(None))
        return found

    def entries(self, dense: bool = False) -> Entries:
        current().check(8 * self.shape[0] * self.shape[1], "this loss looks at single entries")
        return self._all_entries


def in_memory(X: Any, layout: Blocks, sparse_from: float | None = None) -> Any:
    """Return a Dask array ``(*domain, m)`` as an ndarray, or counts as a CSR matrix (n, m).

    Parameters
    ----------
    X : Dask array, (*domain, m)
    layout : Blocks
    sparse_from : float, optional
        Whole numbers with a larger share of zeros than this, in their first block, are kept sparse.

    Raises
    ------
    ValueError
        If they take more than the limit of memory.
    """
    data, session = Lazy(X, blocks=layout), current()
    parts = data.a_pass("into memory", _whole, lambda rows: ())
    first = next(parts)
    parts = chain([first], parts)
    share = 1 - np.count_nonzero(first[1]) / max(first[1].size, 1)
    why = "the data must be in memory for a loss or for weights of single entries"
    if sparse_from is None or share <= sparse_from or X.dtype.kind not in "iub":
        session.check(X.nbytes if sparse_from is None else 24 * X.size, why)
        whole = np.empty(data.shape, X.dtype)
        for rows, part in parts:
            whole[rows] = part
        return whole.reshape(X.shape)
    session.check(28 * (1 - share) * X.size, why)
    everything, n = [(rows, sparse.csr_array(part)) for rows, part in parts], data.shape[0]
    order = np.argsort(np.concatenate([np.arange(n)[rows] for rows, _ in everything]))
    return sparse.vstack([block for _, block in everything], format="csr")[order]


def read(part: Any) -> np.ndarray:
    """Return a part of a Dask array, read in this thread.

    Raises
    ------
    ValueError
        If what reads it fails.
    """
    try:
        return np.asanyarray(part.compute(scheduler="synchronous"))
    except (MemoryError, EndmemberError):
        raise
    except Exception as problem:
        raise unreadable(problem) from problem


def unreadable(problem: Exception) -> EndmemberError:
    """Say that a part of lazy data could not be read, and what to look at."""
    said = " ".join(str(problem).split())[:160]
    return EndmemberError(
        f"a part of the data cannot be read ({type(problem).__name__}: {said})",
        way_out="see whether the file is whole and still in its place",
    )


def cluster() -> Any:
    """Return the ``dask.distributed`` client of this session, or None where there is none."""
    if "distributed" not in sys.modules:
        return None
    import distributed

    try:
        return distributed.default_client()
    except ValueError:
        return None


def _on_cluster(client: Any, tasks: Iterator[Any]) -> Iterator[tuple[Rows, Any]]:
    """Compute blocks on the workers; one that is lost with its worker is computed again elsewhere."""
    from dask.delayed import delayed

    on_worker = delayed(_work, pure=False)
    ahead = max(2, 2 * sum(client.nthreads().values()))
    return in_turn(
        lambda task: partial(_answer, client, client.compute(on_worker(*task))), tasks, ahead
    )


def _answer(client: Any, future: Any) -> Any:
    """Return the result of a task on a cluster, which is waited for as long as there are workers."""
    from distributed import KilledWorker

    alone, patience = 0.0, LOOK_SECONDS
    while True:
        try:
            return future.result(timeout=patience)
        except (MemoryError, EndmemberError):
            raise
        except Exception as problem:
            status = future.status
            if status == "error" and not isinstance(problem, KilledWorker):
                raise unreadable(problem) from problem
            lost = client.status != "running" or status not in ("pending", "finished")
            alone = 0.0 if lost or client.nthreads() else alone + patience
            if lost or alone >= ALONE_SECONDS:
                raise _lost() from problem
            if status == "finished":  # it was on its way here
                patience *= 2


def _lost() -> EndmemberError:
    """Say that the workers of a cluster are gone, and how a later fit goes on from here."""
    again = Argument("resume", True)
    kept = ("give ", Argument("checkpoint", "FOLDER"), ", and later ", again, ", so that ")
    return EndmemberError(
        "the workers of the cluster died or left while they were computing",
        way_out=(
            ("start others, and go on from the last pass with ", again)
            if current().checkpoint
            else ("start others, then begin again; ", *kept, "passes are not lost")
        ),
    )


def _work(
    rows: Rows,
    part: Any,
    kernel: Callable[..., Any],
    chosen: np.ndarray | None,
    columns: np.ndarray | None,
    arguments: tuple[Any, ...],
) -> tuple[Rows, Any]:
    """Apply a kernel to the chosen rows and columns of one block; a worker of a cluster gets it read already."""
    raw = read(part) if hasattr(part, "compute") else np.asarray(part)
    block = Block(raw.reshape(-1, raw.shape[-1]), Selection(chosen, columns))
    with one_blas_thread():
        return rows, kernel(block, *arguments)


def _whole(block: Block) -> np.ndarray:
    return block.selection.take(block.raw, slice(None))


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
