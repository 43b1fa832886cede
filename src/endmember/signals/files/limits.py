"""Bound the time and memory that reading a file may take."""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from endmember.errors import EndmemberError

_GRACE = 5.0  # seconds between asking a reading to stop and ending the process


class OutOfTime(BaseException):
    """The time given to `guard` is over.

    Not an `Exception`, so that a reader's own ``except Exception`` does not swallow it.
    """


@contextlib.contextmanager
def guard(seconds: float | None = None, memory: float | None = None) -> Iterator[None]:
    """Limit the wall time and the memory of what runs inside, as the command line does on loading.

    When the time is over, the code inside is interrupted; where it cannot be (a loop inside
    compiled code), the process is ended with one sentence and exit code 2. Where the memory is
    used up, allocations inside fail. All limits are restored on leaving. On systems without these
    means, and outside the main thread, the limit in question is not applied.

    Parameters
    ----------
    seconds : float, optional
        Longest wall time in seconds; none by default.
    memory : float, optional
        Most memory in bytes that may be allocated on top of what the process holds on entering;
        none by default. Files mapped into memory do not count.

    Raises
    ------
    ValueError
        A limit that is not positive.
    TimeoutError
        The time was over. (`endmember.load` turns it into an `UnreadableFileError`.)

    Examples
    --------
    >>> with guard(seconds=30, memory=2**30):
    ...     sum(range(10))
    45
    """
    for name, limit in (("seconds", seconds), ("memory", memory)):
        if limit is not None and not limit > 0:
            raise EndmemberError(f"{name} = {limit} must be positive; leave it out for no limit")
    try:
        with _memory_limit(memory), _time_limit(seconds):
            yield
    except OutOfTime as over:
        raise TimeoutError(f"{over}; allow more time or work on a smaller file") from over


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    possible = hasattr(signal, "setitimer")
    possible = possible and threading.current_thread() is threading.main_thread()
    if seconds is None or not possible:
        yield
        return
    said = f"not done after {seconds:g} seconds"

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(said)

    before = signal.signal(signal.SIGALRM, interrupt)
    watchdog = threading.Timer(seconds + _GRACE, _end_process, args=(said,))
    watchdog.daemon = True
    try:
        watchdog.start()
        _last_resort(seconds + 2 * _GRACE)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        watchdog.cancel()
        faulthandler.cancel_dump_traceback_later()


def _end_process(said: str) -> None:
    """End the process although some compiled code never gives control back."""
    sentence = f"endmember: {said} and cannot be interrupted; the file is probably damaged.\n"
    os.write(2, sentence.encode())
    os._exit(2)


def _last_resort(seconds: float) -> None:
    """End the process from outside the interpreter, should compiled code hold its lock as well."""
    if sys.__stderr__ is not None:
        with contextlib.suppress(ValueError, OSError, RuntimeError):
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)


@contextlib.contextmanager
def _memory_limit(memory: float | None) -> Iterator[None]:
    # The data segment, not the address space: a lazily mapped file may be larger than the memory.
    held = _told("/proc/self/status", "VmData:")
    if memory is None or memory == float("inf") or held is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = held + int(memory)
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def free_memory() -> float | None:
    """Bytes that programs may still take, where the system tells."""
    return _told("/proc/meminfo", "MemAvailable:")


def _told(file: str, label: str) -> int | None:
    """Bytes that the system tells under a label, where it does."""
    with contextlib.suppress(OSError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(label):
                return 1024 * int(line.split()[1])
    return None
