"""Files that take their data from other places: bytes that nobody gave are not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Files that readers take data from besides the one that is named.
_COMPANIONS = {".rpl": ("raw",), ".spd": ("spc", "ipr"), ".hdr": ("raw", "img", "dat")}


def files_of(path: Path) -> list[Path]:
    """Return a file and all that its reader takes data from besides."""
    ends = _COMPANIONS.get(path.suffix.lower(), ())
    return [path, *(path.with_suffix(f".{case}") for end in ends for case in (end, end.upper()))]


def companion_elsewhere(path: Path) -> str | None:
    """Say which file that belongs to this one is a link that leads out of its folder, if one is."""
    if path.is_dir():
        home, others = path.resolve(), list(path.rglob("*"))
    else:
        home = path.resolve().parent
        others = files_of(path)[1:]
    for place in others:
        if place.is_symlink() and home not in place.resolve().parents:
            return f"{place.name}, which it takes data from, leads to a place outside of its folder"
    return None


def data_elsewhere(name: str, item: Any) -> str | None:
    """Say that a group of an HDF5 file has links to other files, or an array its bytes in one, if so."""
    import h5py

    if isinstance(item, h5py.Group):
        links = (item.get(one, getlink=True) for one in item)
        outside = any(isinstance(link, h5py.ExternalLink) for link in links)
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
