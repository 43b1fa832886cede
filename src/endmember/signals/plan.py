"""What a fit to lazy data will take, said before it starts: passes, memory, time."""

import json
import time
from dataclasses import dataclass
from typing import Any

from endmember.factor.data.inspection import unwrap
from endmember.factor.data.lazy import cluster, read, sample
from endmember.factor.data.observed import blocks_of, stays_lazy
from endmember.factor.data.resources import current, in_words
from endmember.factor.data.watched import watched
from endmember.factor.sketch.passes import working_memory
from endmember.signals.result import provenance

#: Passes over the data of a fit with starts: two for the sketch, two that finish and certify.
PASSES = 4
#: Components that a plan reckons with while their number is not known.
MOST_COMPONENTS = 10


@dataclass(frozen=True)
class Plan:
    """What reading the data block by block comes to.

    Attributes
    ----------
    size : int
        Bytes of the data.
    passes : int
        Over all of the data.
    blocks : int
    block_bytes : int
        Of one block in memory.
    threads : int
        Blocks in memory at a time.
    memory : float
        Bytes of blocks, factors and sums, besides what the process holds already.
    seconds : float
        Expected, from the time that one block takes to read.
    """

    size: int
    passes: int
    blocks: int
    block_bytes: int
    threads: int
    memory: float
    seconds: float

    def __str__(self) -> str:
        """Say it in two sentences."""
        where = "thread" if cluster() is None else "worker thread"
        return (
            f"Plan: {in_words(self.size)} on disk, read {self.passes} times in {self.blocks} blocks of "
            f"up to {in_words(self.block_bytes)} by {self.threads} {where}{'s' * (self.threads > 1)}, "
            f"in about {in_words(self.memory)} of memory. Reading alone takes about "
            f"{max(1, round(self.seconds))} s."
        )


def plan(signal: Any, n_components: int | None = None) -> Plan | None:
    """Return what a least-squares fit to a lazy signal takes; None where the data are in memory or small.

    One block is read to learn how long that takes.

    Parameters
    ----------
    signal : HyperSpy signal
    n_components : int, optional

    Raises
    ------
    ValueError
        If it does not fit the limit of memory of the open session.
    """
    X = unwrap(signal)
    if not stays_lazy(X):
        return None
    blocks, needed = blocks_of(X), check_memory(signal, n_components)
    start = time.perf_counter()
    place, _ = next(iter(blocks))
    part = read(blocks.X[place])
    seconds = (time.perf_counter() - start) * X.size / max(part.size, 1)
    client = cluster()
    threads = blocks.threads if client is None else sum(client.nthreads().values())
    return Plan(
        X.nbytes, PASSES, len(blocks), blocks.bytes_of_block, threads, needed,
        PASSES * seconds / threads,
    )  # fmt: skip


def check_memory(signal: Any, n_components: int | None = None) -> float:
    """Return the bytes that a least-squares fit takes besides what the process holds; 0 for data in memory.

    Raises
    ------
    ValueError
        If it does not fit the limit of memory of the open session.
    """
    X = unwrap(signal)
    if not stays_lazy(X):
        return 0.0
    k = MOST_COMPONENTS if n_components is None else n_components
    needed = working_memory(blocks_of(X), k)
    current().check(needed, f"a fit of {k} components keeps blocks, maps and a sketch")
    return needed


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
        "versions": provenance.versions(),
        "name": None if files else getattr(signal.data, "name", None),
        "files": files,
        "shape": [int(size) for size in unwrap(signal).shape],
        "dtype": str(signal.data.dtype),
        "steps": provenance.steps(signal),
        "sample": fingerprint_of(signal),
    }
    return json.dumps(known, sort_keys=True)


def fingerprint_of(signal: Any) -> str:
    """Return the fingerprint that is kept with an answer; that of a sample where lazy data are large.

    Reading everything once more would cost as much as a pass of the fit.
    """
    X = unwrap(signal)
    if not stays_lazy(X):
        return provenance.data_hash(signal)
    part = provenance.data_hash(sample(blocks_of(X)))
    return f"sample of {tuple(int(size) for size in X.shape)} {part}"
