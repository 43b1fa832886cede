"""How many threads the linear algebra and the compiled loops take.

The environment variable ``ENDMEMBER_THREADS`` says how many threads a fit may use; unless it is set, all cores that the
process may run on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from itertools import chain, islice
from typing import Any

#: The environment variable that limits the threads of a fit.
SWITCH = "ENDMEMBER_THREADS"
#: Parts computed ahead of the one that is taken, besides one for every thread.
AHEAD = 1


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Hold the BLAS to one thread in a ``with`` block.

    Products of a tall and a tiny matrix gain nothing from threads and lose much to their meetings, the more so on a
    busy machine; and the bits of an answer no longer depend on how many threads there are.
    """
    return _controller().limit(limits=1, user_api="blas")


def n_threads() -> int:
    """Return how many threads a fit may use: what ``ENDMEMBER_THREADS`` says, or all cores of the process.

    Raises
    ------
    ValueError
        If the variable holds no whole number of at least 1.
    """
    said = os.environ.get(SWITCH, "")
    if not said:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(
            f"{SWITCH}={said!r} is no number of threads; give a whole number of at least 1, or unset it"
        )
    return int(said)


def in_threads(function: Callable[[Any], Any], parts: Iterable[Any]) -> None:
    """Call ``function`` with every part, in as many threads as a fit may use; it should free the interpreter's lock."""
    for _ in ordered(function, parts):
        pass


def ordered(
    function: Callable[[Any], Any], parts: Iterable[Any], threads: int | None = None
) -> Iterator[Any]:
    """Yield what ``function`` makes of every part, in their order, a few parts ahead in threads.

    Parameters
    ----------
    function : callable
        Should free the interpreter's lock.
    parts : iterable
    threads : int, optional
        As many as a fit may use unless given.
    """
    threads, parts = threads or n_threads(), iter(parts)
    first = list(islice(parts, 2))
    if threads < 2 or len(first) < 2:
        yield from map(function, chain(first, parts))
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            parts = chain(first, parts)
            yield from in_turn(lambda part: pool.submit(function, part), parts, threads + AHEAD)
        finally:
            pool.shutdown(cancel_futures=True)


def in_turn(submit: Callable[[Any], Any], parts: Iterable[Any], ahead: int) -> Iterator[Any]:
    """Yield the results of the futures that ``submit`` makes of every part, in their order, up to ``ahead`` waiting."""
    waiting: deque[Any] = deque()
    for part in parts:
        waiting.append(submit(part))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
