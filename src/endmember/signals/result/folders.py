"""How a folder is replaced without ever being half there, and found again whatever happened.

What is written first gets a hidden name that nobody chooses, ``.endmember-NAME-`` and random digits, beside
the folder. Only when all of it is on the disk does it take the place of the old one, which goes the
same way: at every moment a complete result exists, under its own name or a hidden one.
"""

import contextlib
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from endmember.errors import EndmemberFileError

RECORD = "unmixing.json"
#: The same in the words of RO-Crate, for archives.
CRATE = "ro-crate-metadata.json"
#: A copy of what was unmixed, where it was asked for.
DATA = "data.hspy"
#: Everything that a saved result may hold.
FILES = {
    RECORD, CRATE, DATA, "arrays.npz", "maps.hspy", "spectra.hspy", "misfit.hspy", "residual.hspy",
    "errors.hspy", "bands.hspy", "anomalies.hspy", "composition.csv", "report.html", "components.png",
    *(f"{part}_{number}.hspy" for part in ("maps", "spectra", "misfit") for number in range(1, 1000)),
}  # fmt: skip
#: So often a folder is swapped again that another process put in its place in between.
_ATTEMPTS = 20


class UnsavedError(EndmemberFileError):
    """A folder that the system does not let us write: a full disk, a missing right. What was there is as it was."""


def existing(folder: Path) -> Path:
    """Return where the result called ``folder`` is: there, or under a hidden name if a save was killed.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    target = Path(os.path.realpath(folder))  # a circle of links is no result, and no fault
    for place in (target, *sorted(_remains(target), key=written, reverse=True)):
        if is_whole(place):
            return place
    what = "no result in it" if folder.exists() else "no such folder"
    raise FileNotFoundError(
        f"{folder} cannot be opened: {what}; give the folder that Unmixing.save or 'endmember "
        "unmix' wrote"
    )


def is_whole(folder: Path) -> bool:
    """Tell whether a folder holds a result: its record is the last that is written and the first that goes."""
    return (folder / RECORD).is_file()


def refuse_foreign(folder: Path) -> None:
    """Never delete what the package did not write.

    Raises
    ------
    FileExistsError
        If ``folder`` is a file, or holds something else than a result.
    """
    if not folder.exists():
        return
    ours = FILES.union(place.name for place in _remains(folder))
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - ours:
        raise FileExistsError(
            f"{folder} holds something else than a result and is not replaced; choose another name"
        )


@contextmanager
def replacing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Give a new folder to write in, which takes the place of ``folder`` only when all is written.

    Of several processes that save under one name the last one wins, whole. A symbolic link stays one. Once
    the record is written the result is whole, and an interrupt (of the report, say) no longer loses it.

    Raises
    ------
    FileExistsError
        If there is something that must not be replaced.
    UnsavedError
        If the system does not let it be written.
    """
    with _own_words(folder), ExitStack() as locks:
        with contextlib.suppress(FileNotFoundError):
            folder.stat()  # a circle of links cannot be resolved
        target = folder.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent):
            _check(target, overwrite)
            new = _hidden(target)
            new.mkdir()
            locks.enter_context(_locked(new))
        try:
            yield new
        except BaseException:
            if is_whole(new):
                _take_place(new, target, overwrite)
            else:
                _drop(new)
            raise
        _take_place(new, target, overwrite)


@contextmanager
def _own_words(folder: Path) -> Iterator[None]:
    """Say what the system has against writing a folder, which HDF5 tells between addresses in its memory."""
    try:
        yield
    except (OSError, RuntimeError) as problem:
        told = re.search(r"errno = (\d+)", str(problem))
        number = int(told[1]) if told else getattr(problem, "errno", None)
        if number is None:
            raise
        raise UnsavedError(
            f"{folder} cannot be saved: {os.strerror(number)}; nothing that was there has changed: free some "
            "space or name a folder that can be written"
        ) from problem


def _check(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} exists already; choose another name, or replace it with overwrite=True"
        )
    refuse_foreign(target)


def _take_place(new: Path, target: Path, overwrite: bool) -> None:
    """Put a complete folder in the place of another, or leave both as they are and say why."""
    for place in (*new.iterdir(), new):
        _to_disk(place)
    with _locked(target.parent):
        try:
            _check(target, overwrite)
            old = _filled(new, target) if target.is_mount() else _swapped(new, target)
        except BaseException:
            _drop(new)
            raise
        _to_disk(target.parent)
        _drop(old)
        for killed in _remains(target):
            if not in_use(killed):
                _drop(killed)


def _swapped(new: Path, target: Path) -> Path:
    """Rename the old folder to a hidden name, which is returned, and the new one to its place."""
    for _ in range(_ATTEMPTS):
        old = _hidden(target)
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if not target.exists():  # not that another process was quicker
                with contextlib.suppress(FileNotFoundError):
                    old.rename(target)
                raise
            _drop(old)
        else:
            return old
    raise OSError(f"{target} is being replaced by other processes all the time; save elsewhere")


def _filled(new: Path, target: Path) -> Path:
    """Exchange the files of a mounted share, which cannot be renamed, while ``new`` still holds all; return it."""
    (target / RECORD).unlink(missing_ok=True)
    for name in {place.name for place in target.iterdir()} & FILES:
        (target / name).unlink()
    for place in sorted(new.iterdir(), key=lambda place: place.name == RECORD):
        shutil.copy2(place, target)
        _to_disk(target / place.name)
    return new


def _hidden(target: Path) -> Path:
    """Return a name beside ``target`` that nobody chooses; inside a mounted share, to be on the same disk."""
    beside = target if target.is_mount() else target.parent
    return beside / f".endmember-{target.name}-{secrets.token_hex(8)}"


def _remains(target: Path) -> list[Path]:
    """Return the hidden folders of saves under this name: in progress, killed, or about to be dropped."""
    beside = target if target.is_mount() else target.parent
    return list(beside.glob(f".endmember-{glob.escape(target.name)}-{'[0-9a-f]' * 16}"))


def written(folder: Path) -> float:
    """Return when the record of a result was written; 0 where there is none."""
    return (folder / RECORD).stat().st_mtime if is_whole(folder) else 0.0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, where the system knows such a thing; it ends with the process."""
    descriptor = lock(folder, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Tell whether another process may still be writing a folder."""
    descriptor = lock(folder, wait=False)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def lock(folder: Path, wait: bool) -> int | None:
    """Return the open descriptor that holds the lock of a folder, or None where there is none to be had."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _to_disk(place: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the system lets one wait."""
    with contextlib.suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _drop(folder: Path) -> None:
    """Remove a folder of the package, its record first: what is half gone must not be taken for a result."""
    (folder / RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
