"""Spectrum images go to disk once, for all processes that look at them; what is too large stays where it is."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np

from endmember.app.core.image import CUBE, DATA, Image, Step
from endmember.app.work.scheduler import Ticket
from endmember.errors import refuse_if
from endmember.factor.data.inspection import unwrap
from endmember.signals.files.reading import existing, free_memory
from endmember.signals.files.source import Source

#: Bytes that are summed in a tenth of a second, about: of more, means over squares are drawn while a box is dragged.
PREVIEW = 256 * 2**20
#: Files from this size in bytes are looked at before they are read.
LOOK_FROM = 64 * 2**20
#: Parts of the memory that is free which one image may take; larger ones stay where they are.
SHARE = 1 / 4


def store(signal: Any, room: Path, steps: tuple[Step, ...] = ()) -> Image:
    """Put a signal into a new folder of ``room``, with a preview if it is large; of a lazy one only that.

    Parameters
    ----------
    signal : HyperSpy signal
        A spectrum at every pixel of an image or a line; a line is an image of one row.
    room : Path
    steps : tuple of Step
        What was done to a lazy signal since it was loaded.

    Raises
    ------
    ValueError
        If it is something else, or holds values that are not finite.
    """
    cube = unwrap(signal)
    refuse_if(
        cube.ndim not in (2, 3),
        f"the workbench shows images and line scans; this has {cube.ndim - 1} axes besides the "
        "energy: unmix it with em.unmix",
    )
    cube = cube[None] if cube.ndim == 2 else cube
    lazy = getattr(signal, "_lazy", False)
    size = max(1, int(np.ceil(np.sqrt(cube.nbytes / PREVIEW))))
    size = min(size, *(cube.shape[:2] if cube.shape[0] > 1 else cube.shape[1:2]))
    seen = binned(cube, size) if lazy or size > 1 else cube
    checked = seen if lazy else cube
    refuse_if(
        checked.dtype.kind in "fc" and not all(np.isfinite(row).all() for row in checked),
        "the data hold NaN or infinite values; crop them away, or unmix with a mask in Python",
    )
    folder = room / uuid.uuid4().hex
    folder.mkdir()
    np.save(folder / CUBE, np.ascontiguousarray(seen))
    if size > 1 and not lazy:
        np.save(folder / DATA, np.ascontiguousarray(cube))
    counts = cube.dtype.kind == "u" or (cube.dtype.kind == "i" and bool(cube.min() >= 0))
    return Image(
        str(folder), type(signal), list(signal.axes_manager.as_dictionary().values()),
        signal.metadata.as_dictionary(), signal.original_metadata.as_dictionary(),
        cube.shape, size, counts, Source.of(signal) if lazy else None, steps if lazy else (),
    )  # fmt: skip


def in_memory(signal: Any, most: int | None = None) -> Any:
    """Return a signal that is not lazy; one of more than ``most`` bytes is refused.

    Raises
    ------
    ValueError
        If it does not fit; a quarter of the memory that is free unless given.
    """
    if not getattr(signal, "_lazy", False):
        return signal
    most = most or _most()
    refuse_if(
        signal.data.nbytes > most,
        f"this lazy signal takes {signal.data.nbytes / 1e9:.1f} GB, more than the {most / 1e9:.1f} GB that it "
        "may; open its file on the page of the workbench, which leaves the data on disk, or bin it",
    )
    signal = signal.deepcopy()
    signal.compute(show_progressbar=False)
    return signal


def _most() -> int:
    """Return the bytes that an image may take; 2 GB where the system does not tell what is free."""
    return int(SHARE * (free_memory() or 8e9))


def binned(cube: Any, size: int) -> np.ndarray:
    """Return the mean spectra of squares of pixels of an array (ny, nx, channels), float32.

    Remainders at the edges are left out; a single row stays one.
    """
    import dask.array as da

    squares = {0: size if cube.shape[0] > 1 else 1, 1: size}
    spectra = da.asarray(cube).astype(np.float32)
    return da.coarsen(np.mean, spectra, squares, trim_excess=True).compute()


def read(ticket: Ticket, path: Path, number: int | None, room: Path, most: int | None) -> Image:
    """Read a file and store its spectrum image; what takes more than ``most`` bytes stays where it is.

    Parameters
    ----------
    ticket : Ticket
    path : Path
    number : int or None
        Which signal of the file.
    room : Path
    most : int or None
        A quarter of the memory that is free unless given.
    """
    path, most = existing(path), most or _most()
    large = path.is_dir() or path.stat().st_size > min(LOOK_FROM, most)
    signal = Source(path, number, lazy=large).load()
    if large and not (signal._lazy and signal.data.nbytes > most):
        signal = Source(path, number).load()
    image = store(signal, room)
    image.source = Source.of(signal)  # where a script can read it again
    return image
