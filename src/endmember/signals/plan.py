"""What a fit to lazy data will take, said before it starts: passes, memory, time."""

import time
from typing import Any

from endmember.factor.data import blocks_of, cluster, current, in_words, read, stays_lazy, unwrap
from endmember.factor.sketch.passes import working_memory

#: Passes over the data of a fit with starts: two for the sketch, two that finish and certify.
PASSES = 4
#: Components that a plan reckons with while their number is not known.
MOST_COMPONENTS = 10


def plan_in_words(signal: Any, n_components: int | None = None) -> str | None:
    """Say what a least-squares fit to a lazy signal takes; None where the data are in memory or small.

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
    seconds = (time.perf_counter() - start) * X.size / max(read(blocks.X[place]).size, 1)
    client = cluster()
    threads = blocks.threads if client is None else sum(client.nthreads().values())
    where = "thread" if client is None else "worker thread"
    return (
        f"Plan: {in_words(X.nbytes)} on disk, read {PASSES} times in {len(blocks)} blocks of "
        f"up to {in_words(blocks.bytes_of_block)} by {threads} {where}{'s' * (threads > 1)}, "
        f"in about {in_words(needed)} of memory. Reading alone takes about "
        f"{max(1, round(PASSES * seconds / threads))} s."
    )


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
