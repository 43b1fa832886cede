"""What work may take: memory, threads, and what its passes over lazy data keep on disk.

The environment variable ``ENDMEMBER_THREADS`` says how many threads a fit may use; unless it is set, all cores that the
process may run on.
"""

import hashlib
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import Argument, EndmemberError, refuse_if

logger = logging.getLogger("endmember")

#: The prefixes of units, each 1000 (or 1024) times the one before.
_PREFIXES = ("", "k", "m", "g", "t")


@dataclass
class Session:
    """One piece of work on lazy data.

    Attributes
    ----------
    memory : int or None
        Bytes that the work may take besides what the process holds already; None for no limit.
    checkpoint : Checkpoint or None
        Where the result of every pass is kept.
    passes : list of str
        The passes over the data so far.
    notes : dict
        What one step leaves for a later one, so that it need not read again.
    """

    memory: int | None = None
    checkpoint: "Checkpoint | None" = None
    passes: list[str] = field(default_factory=list)
    notes: dict[Any, Any] = field(default_factory=dict)

    def count(self, name: str) -> None:
        """Take note of a pass that begins."""
        self.passes.append(name)
        logger.debug("pass %d over the data: %s", len(self.passes), name)

    def check(self, needed: float, why: str) -> None:
        """Refuse work that takes more than the limit.

        Raises
        ------
        ValueError
            If ``needed`` bytes do not fit.
        """
        if self.memory is not None and needed > self.memory:
            raise EndmemberError(
                Argument("memory", in_words(self.memory)),
                f" is too little: {why}, which takes {in_words(needed)}; "
                "raise the limit, bin or crop the data, or ask for less",
            )


@dataclass
class Checkpoint:
    """A folder that holds the result of every pass under a hash of all that it follows from.

    Attributes
    ----------
    folder : Path
    about : str
        What tells the data from others: the file, its size and time, the shape.
    resume : bool
        Whether results found there are used.
    """

    folder: Path
    about: str = ""
    resume: bool = False

    def kept(
        self, name: str, inputs: list[Any], compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Return the arrays that ``compute`` gives; read them where they were computed before."""
        file = self.folder / f"{name}-{fingerprint([self.about, name, *inputs])}.npz"
        if self.resume and file.exists():
            logger.info("the pass %r is taken from %s", name, self.folder)
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        result = compute()
        self.folder.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        with new.open("wb") as stream:
            np.savez(stream, **result)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
        return result

    def clear(self) -> None:
        """Remove what is kept."""
        if self.folder.is_dir():
            for file in [*self.folder.glob("*.npz"), *self.folder.glob("*.new")]:
                file.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()


_SESSION: ContextVar[Session | None] = ContextVar("endmember_session", default=None)


def current() -> Session:
    """Return the session that is open, or a new one without limits."""
    return _SESSION.get() or Session()


@contextmanager
def session(memory: Any = None, checkpoint: Checkpoint | None = None) -> Iterator[Session]:
    """Open a session for what runs inside; within another one that one goes on.

    Parameters
    ----------
    memory : int or str, optional
        As in :func:`parse_memory`.
    checkpoint : Checkpoint, optional
    """
    inner = current()
    if memory is not None or checkpoint is not None:
        limit = inner.memory if memory is None else parse_memory(memory)
        inner = replace(inner, memory=limit, checkpoint=checkpoint or inner.checkpoint)
    token = _SESSION.set(inner)
    try:
        yield inner
    finally:
        _SESSION.reset(token)


def parse_memory(memory: Any) -> int:
    """Return an amount of memory in bytes: ``"1GB"``, ``"500 MB"`` or a number of bytes.

    Raises
    ------
    ValueError
        If it is no positive amount.

    Examples
    --------
    >>> parse_memory("1GB"), parse_memory("2.5 MiB"), parse_memory(4096)
    (1000000000, 2621440, 4096)
    """
    amount = r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kmgt]?)(i?)b?\s*"
    found = re.fullmatch(amount, str(memory), re.IGNORECASE)
    if found is None or not float(found[1]) > 0:
        raise EndmemberError(
            Argument.of("memory", memory),
            ' is no amount of memory; give one such as "1GB"',
        )
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _PREFIXES.index(found[2].lower()))


def in_words(size: float) -> str:
    """Return a number of bytes in the unit that suits it.

    Examples
    --------
    >>> in_words(2_500_000)
    '2.5 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def fingerprint(parts: list[Any]) -> str:
    """Return a hash of texts, numbers and arrays, equal for equal ones."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


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
    refuse_if(
        not said.isdecimal() or int(said) < 1,
        f"{SWITCH}={said!r} is no number of threads; give a whole number of at least 1, or unset it",
    )
    return int(said)


def in_threads(function: Callable[[Any], Any], parts: Iterable[Any]) -> None:
    """Call ``function`` with every part, in as many threads as a fit may use; it should free the interpreter's lock."""
    deque(ordered(function, parts), maxlen=0)


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
    submit, parts = _pool(threads, os.getpid()).submit, chain(first, parts)
    yield from in_turn(lambda part: submit(function, part).result, parts, threads + AHEAD)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process, which wait for the next pass; a process that was forked gets its own."""
    return ThreadPoolExecutor(threads, "endmember")


def in_turn(submit: Callable[[Any], Any], parts: Iterable[Any], ahead: int) -> Iterator[Any]:
    """Yield what the calls return that ``submit`` makes of every part, in their order, up to ``ahead`` waiting."""
    waiting: deque[Any] = deque()
    for part in parts:
        waiting.append(submit(part))
        if len(waiting) >= ahead:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()
