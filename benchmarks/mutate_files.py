"""Damage real files in every way that disks and cables do, and count what loading makes of them.

Each damaged file is loaded in a child process of its own. Allowed are a signal of a size that the
file can hold, an ``UnreadableFileError``, and the refusal of a file without a spectrum image;
everything else (another exception, a crash, a hang, an absurd size) is a failure and is listed.

    python benchmarks/mutate_files.py --count 40 FILE [FILE ...]

``--raw`` calls HyperSpy alone, for comparison: then every exception counts as unexplained.
"""

from __future__ import annotations

import argparse
import collections
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import endmember as em
from endmember.signals.bridge import read

ROOT = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
DEFAULT = [
    "eels/NMC_TM_O.dm3",
    "eels/NMC_Si.dm3",
    "eels/NMC_zero_loss.dm3",
    "reference/SrTiO3.dm3",
    "reference/coreloss_spectrum.msa",
    "reference/NMC_Co_edge.msa",
    "eels/LSMO_STO_linescan.hspy",
    "eels/LSMO_STO_linescan_low_loss.hspy",
    "edxs/nearly_empty_velox.emd",
    "edxs/velox_16x16.emd",
    "edxs/chevkinite.bcf",
]
ALLOWED = ("signal", "UnreadableFileError", "no spectrum image")
COLUMNS = (*ALLOWED, "other exception", "hang", "crash", "absurd size")


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


def large_number(raw, rng, place):
    start = place(8)
    order = "little" if rng.random() < 0.5 else "big"
    width = int(rng.choice([2, 4, 8]))
    value = 2 ** int(rng.integers(8 * width - 9, 8 * width)) - int(rng.integers(2))
    raw[start : start + width] = value.to_bytes(width, order)
    return raw


def random_bytes(raw, rng, place):
    size = int(rng.integers(1, 65))
    start = place(size)
    raw[start : start + size] = rng.bytes(size)
    return raw


MUTATIONS = (truncate, flip_bits, zero_block, splice, large_number, random_bytes)


def damage(raw, number, rng):
    """Apply one mutation; every other one near the beginning, where formats keep structure."""
    reach = min(len(raw), 8192) if (number // len(MUTATIONS)) % 2 else len(raw)

    def place(size):
        return int(rng.integers(0, max(1, reach - size)))

    return MUTATIONS[number % len(MUTATIONS)](bytearray(raw), rng, place)


def load(path, raw, lazy, pipe):
    """Load one file (in the child) and send back what came of it."""
    logging.disable(logging.CRITICAL)
    limit_memory()
    try:
        if raw:
            import hyperspy.api as hs

            loaded = hs.load(path, lazy=lazy)
            signals = loaded if isinstance(loaded, list) else [loaded]
            size = max(signal.data.nbytes for signal in signals)
        else:
            size = em.load(path, lazy=lazy).data.nbytes
        absurd = size > 2000 * path.stat().st_size + 2**25
        pipe.send(("absurd size", f"{size:,} bytes") if absurd else ("signal", ""))
    except em.UnreadableFileError as problem:
        pipe.send(("UnreadableFileError", str(problem.cause)))
    except BaseException as problem:
        refused = not raw and isinstance(problem, ValueError) and "spectrum image" in str(problem)
        kind = "no spectrum image" if refused else "other exception"
        pipe.send((kind, f"{type(problem).__name__}: {problem}"[:120]))


def limit_memory(n_bytes=6 * 2**30):
    """Keep a runaway reader from taking the machine down."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    except (ImportError, ValueError):
        pass


def outcome(path, raw, lazy, seconds, context):
    """Load a file in a child process; return the outcome and its details."""
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=load, args=(path, raw, lazy, sender))
    child.start()
    sender.close()
    try:
        answer = receiver.recv() if receiver.poll(seconds) else ("hang", f"after {seconds:g} s")
    except EOFError:
        child.join()
        answer = ("crash", f"exit code {child.exitcode}")
    if answer[0] == "hang":
        child.kill()
    child.join()
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=60, help="damaged versions of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=30.0, help="time-out of each loading")
    parser.add_argument("--raw", action="store_true", help="HyperSpy alone")
    parser.add_argument("--lazy", action="store_true")
    parser.add_argument("--causes", action="store_true", help="list the causes and their number")
    arguments = parser.parse_args()
    files = arguments.files or [ROOT / name for name in DEFAULT if (ROOT / name).exists()]
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    counts, causes, failures, slowest = {}, collections.Counter(), [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for index, file in enumerate(files):
            raw = file.read_bytes()
            read(file)  # once in the parent, so that no child need compile or import anything
            counts[file.name] = collections.Counter()
            for number in range(arguments.count):
                rng = np.random.default_rng([arguments.seed, index, number])
                path = Path(folder, f"damaged{file.suffix}")
                path.write_bytes(damage(raw, number, rng))
                start = time.perf_counter()
                kind, details = outcome(
                    path, arguments.raw, arguments.lazy, arguments.seconds, context
                )
                slowest = max(slowest, time.perf_counter() - start)
                counts[file.name][kind] += 1
                causes[f"{file.suffix} {details}"] += 1
                if kind not in ALLOWED:
                    name = MUTATIONS[number % len(MUTATIONS)].__name__
                    failures.append(f"{file.name} {number} {name}: {kind}, {details}")
    report(counts, failures, causes if arguments.causes else {}, slowest)
    return 1 if failures and not arguments.raw else 0


def report(counts, failures, causes, slowest):
    total = sum(counts.values(), collections.Counter())
    width = max(map(len, counts), default=4)
    print(" " * width, *(f"{column:>20}" for column in COLUMNS))
    for name, row in [*counts.items(), ("all", total)]:
        print(f"{name:{width}}", *(f"{row[column]:20d}" for column in COLUMNS))
    print(f"{total.total()} damaged files, slowest {slowest:.1f} s")
    print(*failures[:200], sep="\n")
    for cause, number in sorted(causes.items(), key=lambda item: -item[1])[:150]:
        print(f"{number:6d} {cause}")


if __name__ == "__main__":
    sys.exit(main())
