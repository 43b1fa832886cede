"""How a Dask array is cut into blocks: whole energy axis, each chunk read once, within the memory."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from endmember.factor.session import in_words
from endmember.factor.threads import n_threads

logger = logging.getLogger("endmember")

#: Neighbouring chunks are read together up to this size, in bytes.
SMALL_BLOCK = 2**25
#: A block that must be cut out of larger chunks has this size at most, in bytes.
LARGE_BLOCK = 2**26
#: The share of the memory that blocks may take; the rest is for factors and sums.
SHARE = 0.4
#: Data are written anew in better chunks when a pass would read each chunk more often than this.
AMPLIFICATION = 2
#: What is looked at where a part of the data will do: blocks, and pixels of each along every axis.
SAMPLED_BLOCKS, SAMPLED_WIDTH = 9, 24


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
        for place in self.places:
            yield place, tight(self._numbers[place].ravel())

    def __len__(self) -> int:
        return math.prod(map(len, self.sizes))

    @cached_property
    def _numbers(self) -> np.ndarray:
        return np.arange(self.n).reshape(self.domain)

    @property
    def places(self) -> list[tuple[slice, ...]]:
        """The pixels of every block."""
        from dask.array.core import slices_from_chunks

        return slices_from_chunks(self.sizes)

    def _grouped(self, limit: float) -> list[tuple[int, ...]]:
        """Return the sizes of the blocks along every axis: those of the chunks, small ones together."""
        grouped = list(self.X.chunks[:-1])
        for axis, sizes in reversed(list(enumerate(grouped))):
            largest = math.prod(map(max, grouped))
            together = int(limit // max(2 * largest * self._pixel, 1))
            if together > 1:
                starts = range(0, len(sizes), together)
                grouped[axis] = tuple(sum(sizes[start : start + together]) for start in starts)
                self._copies = 2
        return grouped

    def _cut(self, chunk: int, share: float) -> None:
        """Make blocks that are smaller than the chunks, or refuse."""
        whole = len(self.X.chunks[-1]) == 1
        goal = min(share / 2, LARGE_BLOCK)
        if whole or goal < self._pixel:
            raise ValueError(self._advice(chunk, goal))
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

    def _advice(self, chunk: int, goal: float) -> str:
        fitting = (*self._fitting(goal), int(self.X.shape[-1]))
        largest = tuple(max(sizes) for sizes in self.X.chunks)
        return (
            f"the data are cut into chunks of {largest}, of which one takes {in_words(chunk)} with "
            "its whole energy axis, more than the limit of memory leaves for it; raise memory= or "
            f"save the data in chunks of at most {fitting}"
        )

    def _written_anew(self, chunk: int, goal: float) -> Any:
        """Return the data in chunks with the whole energy axis: a copy on disk, for which each chunk is read once."""
        fitting = (*self._fitting(goal), int(self.X.shape[-1]))
        folder = Path(tempfile.gettempdir())
        free = shutil.disk_usage(folder).free
        if self.X.nbytes > free:
            raise ValueError(
                f"{self._advice(chunk, goal)}; a copy in such chunks takes {in_words(self.X.nbytes)} "
                f"and {folder} has {in_words(free)}"
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
    parts = []
    for number in chosen:
        place = tuple(
            slice(part.start, min(part.stop, part.start + SAMPLED_WIDTH)) for part in alike[number]
        )
        parts.append(np.asarray(blocks.X[place].compute(scheduler="synchronous")))
    return np.concatenate(parts)


def _copied(X: Any, chunks: tuple[int, ...]) -> Any:
    """Return a copy of a Dask array in other chunks, in a temporary file, reading each chunk once."""
    import dask.array as da
    import h5py
    from dask.array.core import slices_from_chunks

    handle, name = tempfile.mkstemp(prefix="endmember-", suffix=".hdf5")
    os.close(handle)
    pieces = (*chunks[:-1], min(max(X.chunks[-1]), chunks[-1]))
    file = h5py.File(name, "w")
    copy = file.create_dataset("data", shape=X.shape, dtype=X.dtype, chunks=pieces)
    weakref.finalize(copy, Path(name).unlink, missing_ok=True)
    for place in slices_from_chunks(X.chunks):
        copy[place] = X[place].compute(scheduler="synchronous")
    return da.from_array(copy, chunks=chunks)


def tight(index: np.ndarray) -> Any:
    """Return increasing numbers as a slice where they are one."""
    if len(index) and index[-1] - index[0] + 1 == len(index):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index
