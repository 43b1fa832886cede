"""The files behind data: one that changes while it is read gives an answer of neither content.

Files may take their data from other places: bytes that nobody gave are not read.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from endmember.errors import refuse_if
from endmember.factor.data.resources import fingerprint

#: What Dask arrays were read from, by their names: the first file, all files, and their state then.
_WATCHED: dict[str, tuple[Path, list[Path], str]] = {}


def state_of(files: Iterable[Path]) -> str:
    """Return what changes with files, without reading them: names, sizes, times, and which files they are.

    Parameters
    ----------
    files : iterable of Path
        Of a folder all that is in it; files that do not exist are told from those that do.
    """
    everything = [
        one for file in files for one in [file, *(file.rglob("*") if file.is_dir() else ())]
    ]
    found: list[tuple[Any, ...]] = []
    for file in sorted(everything):
        try:
            said = file.stat()
        except OSError as missing:
            found.append((str(file), missing.errno))
        else:
            found.append((str(file), said.st_size, said.st_mtime_ns, said.st_ino))
    return fingerprint(found)


def watch(X: Any, files: list[Path], state: str) -> None:
    """Take note of the files that a Dask array reads, and of their state before it was made.

    All that derives from ``X`` is watched with it.
    """
    _WATCHED[X.name] = files[0], files, state


def watched(X: Any) -> list[tuple[Path, list[Path], str]]:
    """Return what ``X`` reads of what is watched: of every source a file, all its files, their state."""
    layers = getattr(getattr(X, "dask", None), "layers", ())
    return [_WATCHED[name] for name in layers if name in _WATCHED]


def check_unchanged(X: Any) -> None:
    """Refuse lazy data whose files have changed.

    Raises
    ------
    ValueError
    """
    for file, files, state in watched(X):
        refuse_if(
            state_of(files) != state,
            f"{file} {'changed' if file.exists() else 'vanished'} while it was being read, so that no answer "
            "would be that of its content",
            way_out="wait until whatever writes it has ended, then load it again",
        )


@contextmanager
def unchanged(X: Any) -> Iterator[None]:
    """Refuse lazy data whose files have changed before or during what runs inside, or made it fail by that.

    Raises
    ------
    ValueError
    """
    check_unchanged(X)
    try:
        yield
    except Exception:
        check_unchanged(X)
        raise
    check_unchanged(X)


#: Files that readers take data from besides the one that is named.
_COMPANIONS = {".rpl": ("raw",), ".spd": ("spc", "ipr"), ".hdr": ("raw", "img", "dat")}


def files_of(path: Path) -> list[Path]:
    """Return a file and all that its reader takes data from besides."""
    ends = _COMPANIONS.get(path.suffix.lower(), ())
    return [path, *(path.with_suffix(f".{case}") for end in ends for case in (end, end.upper()))]


def companion_elsewhere(path: Path) -> str | None:
    """Say which file that belongs to this one is a link that leads out of its folder, if one is."""
    home = path.resolve() if path.is_dir() else path.resolve().parent
    for place in path.rglob("*") if path.is_dir() else files_of(path)[1:]:
        if place.is_symlink() and home not in place.resolve().parents:
            return f"{place.name}, which it takes data from, leads to a place outside of its folder"
    return None


def data_elsewhere(name: str, item: Any) -> str | None:
    """Say that a group of an HDF5 file has links to other files, or an array its bytes in one, if so."""
    import h5py

    if isinstance(item, h5py.Group):
        outside = any(isinstance(item.get(one, getlink=True), h5py.ExternalLink) for one in item)
    else:
        virtual = item.virtual_sources() if item.is_virtual else ()
        outside = bool(item.external) or any(source.file_name != "." for source in virtual)
    return f"{name} takes its data from another file, which is not looked into" if outside else None


def elsewhere(path: Path) -> str | None:
    """Say which data of a file lie in another place, if any do."""
    import h5py

    fault = companion_elsewhere(path)
    if fault is not None or path.is_dir() or not h5py.is_hdf5(path):
        return fault
    with h5py.File(path, "r") as file:
        return data_elsewhere("/", file) or file.visititems(data_elsewhere)
