"""Lazy data: a Dask array read once a pass, block by block, in threads or on a cluster.

A *pass* reads every block once. What is computed of a block is returned, never written in place: a
block may be computed twice, where a worker dies, and changes nothing. What blocks return is taken in
their order, so that sums have the same bits whatever thread or worker was first.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from endmember.factor.blocks import Block, BlockData, Rows, Selection, answer_dtype, row_blocks
from endmember.factor.entries import Entries
from endmember.factor.layout import Blocks, tight
from endmember.factor.session import current
from endmember.factor.threads import in_turn, one_blas_thread, ordered

logger = logging.getLogger("endmember")


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
        if self.selection.rows is None:
            return None
        number = np.full(self.layout.n, -1)
        number[self.selection.rows] = np.arange(len(self.selection.rows))
        return number

    def a_pass(
        self, name: str, kernel: Callable[..., Any], arguments: Callable[[Rows], tuple[Any, ...]]
    ) -> Iterator[tuple[Rows, Any]]:
        current().count(name)
        tasks = self._tasks(kernel, arguments)
        client = cluster()
        with one_blas_thread():
            yield from (
                _on_cluster(client, tasks)
                if client
                else ordered(_read_and_work, tasks, self.layout.threads)
            )

    def _tasks(
        self, kernel: Callable[..., Any], arguments: Callable[[Rows], tuple[Any, ...]]
    ) -> Iterator[tuple[Rows, Any, tuple[Any, ...]]]:
        """Yield ``(rows, part of the Dask array, what to do with it)``, without touching the data."""
        for place, rows in self.layout:
            chosen = None
            if self._number is not None:
                numbers = self._number[rows]
                chosen = np.flatnonzero(numbers >= 0)
                rows = tight(numbers[chosen])
                if len(chosen) == 0:
                    continue
            work = (kernel, chosen, self.selection.columns, arguments(rows))
            yield rows, self.X[place], work

    def blocks(self) -> Iterator[tuple[Rows, np.ndarray]]:
        for rows, block in self.a_pass("rows", _whole, lambda rows: ()):
            index = np.arange(self.shape[0])[rows]
            for piece in row_blocks(*block.shape):
                yield index[piece], block[piece].astype(np.float64, copy=False)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Return some rows, reading only the blocks that hold them."""
        wanted = np.asarray(index)
        if self.selection.rows is not None:
            wanted = self.selection.rows[wanted]
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
    rows, first = next(parts)
    share = 1 - np.count_nonzero(first) / max(first.size, 1)
    why = "the data must be in memory for a loss or for weights of single entries"
    if sparse_from is None or share <= sparse_from or X.dtype.kind not in "iub":
        session.check(X.nbytes if sparse_from is None else 24 * X.size, why)
        whole = np.empty(data.shape, X.dtype)
        whole[rows] = first
        for rows, part in parts:
            whole[rows] = part
        return whole.reshape(X.shape)
    session.check(28 * (1 - share) * X.size, why)
    numbers, blocks = [np.arange(data.shape[0])[rows]], [sparse.csr_array(first)]
    for rows, part in parts:
        numbers.append(np.arange(data.shape[0])[rows])
        blocks.append(sparse.csr_array(part))
    return sparse.vstack(blocks, format="csr")[np.argsort(np.concatenate(numbers))]


def read(part: Any) -> np.ndarray:
    """Return a part of a Dask array, read in this thread."""
    return np.asarray(part.compute(scheduler="synchronous"))


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
    from dask import delayed

    on_worker = delayed(_work_with_one_thread, pure=False)
    ahead = max(2, 2 * sum(client.nthreads().values()))
    return in_turn(lambda task: client.compute(on_worker(*task)), tasks, ahead)


def _read_and_work(task: tuple[Rows, Any, tuple[Any, ...]]) -> tuple[Rows, Any]:
    rows, part, work = task
    return _work(rows, read(part), *work)


def _work_with_one_thread(rows: Rows, raw: np.ndarray, work: Any) -> tuple[Rows, Any]:
    with one_blas_thread():
        return _work(rows, np.asarray(raw), *work)


def _work(
    rows: Rows,
    raw: np.ndarray,
    kernel: Callable[..., Any],
    chosen: np.ndarray | None,
    columns: np.ndarray | None,
    arguments: tuple[Any, ...],
) -> tuple[Rows, Any]:
    """Apply a kernel to the chosen rows and columns of one block."""
    flat = raw.reshape(-1, raw.shape[-1])
    return rows, kernel(Block(flat, Selection(chosen, columns)), *arguments)


def _whole(block: Block) -> np.ndarray:
    return block.selection.take(block.raw, slice(None))
