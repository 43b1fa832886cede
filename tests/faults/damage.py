"""Files damaged in every way that disks and cables do, each loaded in a process of its own."""

import logging
import multiprocessing
import os
import warnings
from pathlib import Path

import dask

from endmember import UnreadableFileError, load

#: Seconds that a loading may take, and bytes of address space besides what the process holds.
SECONDS, MEMORY = 30, 2 * 2**30
#: Data larger than this many times their files, and larger than 32 MiB, are a number misread.
EXPANSION, NEVER_ABSURD = 2000, 2**25
#: How a loading may end.
ALLOWED = ("a signal", "refused in a sentence", "refused: no spectrum image")


def truncate(raw, rng, place):
    return raw[: place(1)]


def flip_bits(raw, rng, place):
    for _ in range(rng.integers(1, 17)):
        raw[place(1)] ^= 1 << rng.integers(8)
    return raw


def zero_block(raw, rng, place):
    size = int(rng.integers(1, 4097))
    start = place(size)
    raw[start : start + size] = bytes(len(raw[start : start + size]))
    return raw


def splice(raw, rng, place):
    size = int(rng.integers(1, 2049))
    source, target = place(size), place(size)
    return raw[:target] + raw[source : source + size] + raw[target:]


def enlarge_number(raw, rng, place):
    start = place(8)
    order = "little" if rng.random() < 0.5 else "big"
    width = int(rng.choice([2, 4, 8]))
    value = 2 ** int(rng.integers(8 * width - 9, 8 * width)) - int(rng.integers(2))
    raw[start : start + width] = value.to_bytes(width, order)
    return raw


def enlarge_written_number(raw, rng, place):
    """Put digits before one that is there: headers of text declare their sizes so."""
    digits = [index for index, byte in enumerate(raw[:8192]) if 48 <= byte <= 57] or [0]
    start = int(rng.choice(digits))
    return raw[:start] + b"9" * int(rng.integers(1, 9)) + raw[start:]


def random_bytes(raw, rng, place):
    size = int(rng.integers(1, 65))
    start = place(size)
    raw[start : start + size] = rng.bytes(size)
    return raw


MUTATIONS = (
    truncate, flip_bits, zero_block, splice, enlarge_number, enlarge_written_number, random_bytes,
)  # fmt: skip


def damaged(raw, number, rng):
    """Apply one mutation; every other time near the beginning, where formats keep structure."""
    reach = min(len(raw), 8192) if (number // len(MUTATIONS)) % 2 else len(raw)

    def place(size):
        return int(rng.integers(0, max(1, reach - size)))

    return bytes(MUTATIONS[number % len(MUTATIONS)](bytearray(raw), rng, place)) if raw else b"0"


def outcome_of(path, lazy):
    """Load a file in a child process; return how that ended, and details."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_load, args=(path, lazy, sender), daemon=True)
    child.start()
    sender.close()
    try:
        answer = receiver.recv() if receiver.poll(SECONDS) else ("hang", f"after {SECONDS} s")
    except EOFError:
        child.join()
        answer = "crash", f"exit code {child.exitcode}"
    child.kill()
    child.join()
    receiver.close()
    return answer


def _load(path, lazy, sender):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.disable(logging.CRITICAL)
    dask.config.set(scheduler="synchronous")  # the threads of a pool did not come along
    warnings.simplefilter("ignore")
    _limit_memory()
    try:
        size = load(path, lazy=lazy).data.nbytes
        stored = sum(file.stat().st_size for file in path.parent.rglob("*"))
        absurd = size > EXPANSION * stored + NEVER_ABSURD
        sender.send(("absurd size", f"{size:,} bytes") if absurd else ("a signal", ""))
    except UnreadableFileError as refused:
        sentence = str(refused.cause) in str(refused) and "\n" not in str(refused)
        sender.send(("refused in a sentence" if sentence else "no sentence", str(refused.cause)))
    except BaseException as problem:
        none = isinstance(problem, ValueError) and "spectrum image" in str(problem)
        kind = "refused: no spectrum image" if none else "another exception"
        sender.send((kind, f"{type(problem).__name__}: {problem}"[:160]))


def _limit_memory():
    import resource

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
