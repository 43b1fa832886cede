"""Turn a file into HyperSpy signals, or into one error that says what to do, within bounds of time and memory."""

import contextlib
import difflib
import faulthandler
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from endmember.errors import Argument, EndmemberError, EndmemberFileError, Words, among, refuse_if
from endmember.factor.data import KEPT_UP_TO, as_events
from endmember.signals.files.headers import Fault, absurd_size, check_header
from endmember.signals.files.plain import AXIS, PLAIN, read_plain, with_axis

_log = logging.getLogger("endmember")

#: The kinds of files that are offered, by their endings, and what they are called.
FORMATS = {
    "hspy": "HyperSpy HDF5",
    "zspy": "HyperSpy Zarr",
    "dm3": "Gatan DigitalMicrograph 3",
    "dm4": "Gatan DigitalMicrograph 4",
    "emd": "EMD (Velox or NCEM)",
    "pts": "JEOL events",
    "bcf": "Bruker",
    "rpl": "Ripple",
    "h5": ".h5 file",
    "hdf5": ".hdf5 file",
    "wdf": "Renishaw",
    "msa": "EMSA/MSA text",
    "npy": "NumPy",
    "npz": "NumPy",
    "mat": "MATLAB",
    "csv": "text",
    "txt": "text",
    "tif": "TIFF",
    "zip": "one file, packed",
}
#: Where the metadata say how many detectors a list of events is the sum of.
DETECTORS = "Endmember.detectors"
#: What unpacking a damaged or locked file raises.
_DAMAGED_ZIP = zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError
_COLUMNS = "export the spectra as columns: energies, then one spectrum each"
_COPY_AGAIN = "copy the file again from the microscope's computer, or export it anew"


class UnreadableFileError(EndmemberFileError):
    """A file that cannot be read, whatever its reader stumbled over.

    Parameters
    ----------
    path : str or Path
        The file.
    format : str
        What kind of file it is taken for.
    cause : str
        What is wrong, worded to follow "cannot be read:".
    advice : str or tuple of str and Argument
        What to do, worded as a command.

    Examples
    --------
    >>> print(UnreadableFileError("a.dm3", "Gatan DigitalMicrograph 3", "it is empty", "try b.dm3"))
    a.dm3 (Gatan DigitalMicrograph 3) cannot be read: it is empty; try b.dm3
    """

    def __init__(self, path: str | Path, format: str, cause: str, advice: str | Words) -> None:
        self.path, self.format, self.cause = Path(path), format, cause
        super().__init__(f"{path} ({format}) cannot be read: {cause}", way_out=advice)
        self.advice = self.way_out

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.format, self.cause, self._way_out)


def read(
    path: str | Path, lazy: bool = False, reader: Mapping[str, Any] | None = None
) -> list[Any]:
    """Read every signal of a file: spectra, images and spectrum images alike.

    Parameters
    ----------
    path : str or Path
        A file that HyperSpy reads, or the folder of a ``.zspy`` store.
    lazy : bool
        Leave the data on disk, as Dask arrays.
    reader : mapping, optional
        Options of the file's reader.

    Returns
    -------
    list of hyperspy.api.signals.BaseSignal
        In the file's own order. The readers' messages go to the logger ``endmember``: those that
        speak of damaged or missing data as warnings, the others at debug level.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        There is one, and it cannot be read.
    """
    path = existing(path)
    try:
        check_header(path)
    except Fault as fault:
        raise _unreadable(path, str(fault)) from None
    options = dict(reader or {})
    axis = {name: options.pop(name) for name in AXIS if name in options}
    if path.suffix.lower() == ".zip":
        return _unpacked(path, reader)
    listed, plain = (
        lists_events(path),
        path.suffix.lower() in PLAIN and "file_format" not in options,
    )
    kind = "plain" if plain else _check_one_reader(path, options)
    try:
        found = (
            read_plain(path, lazy, **options) if plain else _loaded(path, lazy or listed, options)
        )
        loaded = [with_axis(one, **axis) for one in found]
    except NotImplementedError as problem:
        if not lazy:
            raise _unreadable(path, _stumbled(kind, problem)) from problem
        raise _unreadable(
            path,
            f"the {kind} reader cannot leave the data on disk",
            ("load it without ", Argument("lazy", True)),
        ) from problem
    except MemoryError as problem:
        raise _unreadable(
            path,
            "it declares more data than there is memory for",
            ("load it with ", Argument("lazy", True), f" if it is that large, else {_COPY_AGAIN}"),
        ) from problem
    except ImportError as problem:
        raise _unreadable(
            path,
            f"the {kind} reader needs a package that is not installed ({problem.name or problem})",
            "install what the readers need: pip install 'rosettasciio[all]'",
        ) from problem
    except (Exception, OutOfTime) as problem:
        said = [
            Argument("energy_axis", value, f"{name}={value!r}")
            if name == "energy_axis"
            else Argument("reader", f"{name}={value}", f"{name}={value!r}")
            for name, value in (reader or {}).items()
        ]
        again = _COLUMNS if isinstance(problem, EndmemberError) else _COPY_AGAIN
        way_out = ("leave out ", *among(said, " and ")) if said else again
        raise _unreadable(path, _stumbled(kind, problem), way_out) from problem
    for one in loaded:
        _check_size(path, one)
        if listed:
            _take_events(one, lazy)
    return loaded


def _loaded(path: Path, lazy: bool, options: dict[str, Any]) -> Any:
    """Return what HyperSpy loads."""
    import hyperspy.api as hs

    if path.suffix.lower() == ".bcf":  # every detector, and not the first alone
        options = {"index": "all", **options}
    with _quiet():
        loaded = hs.load(path, lazy=lazy, **options)
        if path.suffix.lower() == ".pts" and _is_tall(loaded):
            loaded = hs.load(path, **options)
    return list(loaded) if isinstance(loaded, list | tuple) else [loaded]


def _unpacked(path: Path, reader: Mapping[str, Any] | None) -> list[Any]:
    """Read the only file that a ``.zip`` holds."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                every = [one for one in archive.namelist() if not one.startswith("__MACOSX")]
                names = [one for one in every if not one.endswith("/")]
                if len(names) != 1:
                    raise _unreadable(
                        path,
                        f"it holds {len(names)} files, one is needed",
                        "unpack it and name the file",
                    )
                file = archive.extract(names[0], folder)
        except _DAMAGED_ZIP as problem:
            raise _unreadable(path, _stumbled("zip", problem)) from problem
        return read(file, reader=reader)


def lists_events(path: Path) -> bool:
    """Tell whether a file of JEOL or Velox lists its counts one by one."""
    if path.suffix.lower() != ".emd":
        return path.suffix.lower() == ".pts"
    import h5py

    with h5py.File(path, "r") as file:
        return "Data/SpectrumStream" in file


def _is_tall(loaded: Any) -> bool:
    """Tell whether the list of a JEOL map lacks rows: RosettaSciIO drops those beyond the number of columns."""
    signals = loaded if isinstance(loaded, list) else [loaded]
    return any(one.data.ndim > 2 and one.data.shape[-3] > one.data.shape[-2] for one in signals)


def _take_events(signal: Any, lazy: bool) -> None:
    """Keep a list of events as one, and all else that a reader has left on disk in memory, unless that was asked."""
    if signal._lazy:
        signal.data, n_lists = as_events(signal.data)
        signal.metadata.set_item(DETECTORS, n_lists)
        if not (lazy or (n_lists and signal.data.nbytes > KEPT_UP_TO)):
            signal.compute(close_file=False, show_progressbar=False)


def read_cheaply(path: str | Path, reader: Mapping[str, Any] | None = None) -> list[Any]:
    """Read every signal of a file, leaving the data on disk where its format allows that."""
    try:
        return read(path, lazy=True, reader=reader)
    except UnreadableFileError as problem:
        if not isinstance(problem.__cause__, NotImplementedError):
            raise
    return read(path, reader=reader)


def existing(path: str | Path) -> Path:
    """Return the path of a file that is there and may be read, or refuse."""
    path = Path(path).expanduser()
    if path.is_dir() and path.suffix.lower() != ".zspy":
        raise UnreadableFileError(
            path, "folder", "it is a folder, not a file", "name one of the files in it"
        )
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {_near(path)}.")
    try:
        if path.is_file():
            path.open("rb").close()
    except PermissionError as problem:
        raise _unreadable(
            path,
            "you do not have the right to read it",
            "ask its owner, or copy it to your own folder",
        ) from problem
    return path


def _near(path: Path) -> str:
    """Say which neighbours of a missing file are spelled most like it."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either, check the path"
    neighbours = {file.name.lower(): file.name for file in path.parent.iterdir()}
    close = difflib.get_close_matches(path.name.lower(), neighbours, n=3, cutoff=0.6)
    return (
        f"nothing in {path.parent.resolve()} has a similar name, check the path"
        if not close
        else f"did you mean {' or '.join(neighbours[name] for name in close)}"
    )


def _check_one_reader(path: Path, options: Mapping[str, Any]) -> str:
    """Name the only reader of this kind of file, or the one that is asked for, or refuse."""
    from rsciio import IO_PLUGINS

    if "file_format" in options:
        return str(options["file_format"])
    extension = path.suffix[1:].lower()
    readers = [reader["name"] for reader in IO_PLUGINS if extension in reader["file_extensions"]]
    if not readers:
        raise _unreadable(
            path,
            f"no reader knows files ending in {path.suffix!r}",
            "save it as .npy, .csv or .hspy in the program that reads it",
        )
    if len(readers) > 1:
        raise _unreadable(
            path,
            f"several formats share this ending ({', '.join(readers)})",
            (
                "say which with ",
                Argument("reader", f"file_format={readers[0]}"),
                ", or rename it to .hspy if HyperSpy wrote it",
            ),
        )
    return readers[0]


def _check_size(path: Path, signal: Any) -> None:
    """Refuse a signal larger than its file can hold; lazy data have reserved nothing yet."""
    size = path.stat().st_size
    if path.is_file() and absurd_size(signal.data.nbytes, size, path.suffix[1:].lower()):
        shape = " x ".join(map(str, signal.data.shape))
        raise _unreadable(
            path, f"it declares {shape} values, more than its {size:,} bytes can hold"
        )


def _unreadable(path: Path, cause: str, advice: Any = _COPY_AGAIN) -> UnreadableFileError:
    extension = path.suffix[1:].lower()
    name = FORMATS.get(extension, f"{path.suffix} file" if extension else "no file ending")
    return UnreadableFileError(path, name, cause, advice)


def _stumbled(kind: str, problem: BaseException) -> str:
    if isinstance(problem, OutOfTime | EndmemberError):
        return (
            f"the {kind} reader was {problem}" if isinstance(problem, OutOfTime) else str(problem)
        )
    said = _PLEA.split(" ".join(str(problem).split()))[0]
    said = f"{type(problem).__name__}: {said[:160]}" if said else type(problem).__name__
    return f"its content is damaged or unusual, the {kind} reader stopped at {said!r}"


# What the readers say while reading -----------------------------------------------------------
_IMPORTANT = re.compile(r"truncat|corrupt|damag|incomplete|pruned|can't be loaded", re.IGNORECASE)
#: Where a message begins to ask for a report to the developers of the reader.
_PLEA = re.compile(r"\W*\b(?:please (?:report|submit)|open an issue)\b", re.IGNORECASE)
_TALKERS = ("hyperspy", "rsciio", "exspy")


class _Forward(logging.Handler):
    """Pass on what a reader logs, quietly unless it concerns the data."""

    def emit(self, record: logging.LogRecord) -> None:
        _forward(record.getMessage())


def _forward(message: str) -> None:
    _log.log(
        logging.WARNING if (_IMPORTANT.search(message) is not None) else logging.DEBUG,
        "%s",
        _PLEA.split(" ".join(message.split()))[0],
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the readers' log and warnings off the terminal, also the one that Zarr's compressors leave for the end."""
    warnings.filterwarnings("ignore", r"Call to deprecated function .*_destroy", DeprecationWarning)
    loggers = [logging.getLogger(name) for name in _TALKERS]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    forward = _Forward()
    try:
        for logger in loggers:
            logger.handlers[:], logger.propagate = [forward], False
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            _forward(str(warning.message))
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate


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
        refuse_if(
            limit is not None and not limit > 0,
            f"{name} = {limit} must be positive; leave it out for no limit",
        )
    try:
        with _memory_limit(memory), _time_limit(seconds):
            yield
    except OutOfTime as over:
        raise TimeoutError(f"{over}; allow more time or work on a smaller file") from over


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    if (
        seconds is None
        or threading.current_thread() is not threading.main_thread()
        or not hasattr(signal, "setitimer")
    ):
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
    os.write(
        2, f"endmember: {said} and cannot be interrupted; the file is probably damaged.\n".encode()
    )
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
