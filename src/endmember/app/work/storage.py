"""Spectrum images on disk, mapped into the memory of every process that looks at them: one copy for all."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from endmember.app.core.steps import Step
from endmember.app.core.sums import running_sums
from endmember.errors import EndmemberError
from endmember.factor.data.inspection import unwrap
from endmember.signals.bridge import load
from endmember.signals.files.limits import free_memory
from endmember.signals.result import provenance

#: Bytes of the preview of data that stay on disk, about.
PREVIEW = 64 * 2**20
#: Files from this size in bytes are looked at before they are read.
LOOK_FROM = 64 * 2**20
#: Parts of the memory that is free which one image may take; larger ones stay where they are.
SHARE = 1 / 4
_SEEN, _ROWS, _CHANNELS = "seen.npy", "rows.npy", "channels.npy"


@dataclass(frozen=True, eq=False)
class Stored:
    """One spectrum image: arrays in a folder, and everything else that makes a signal of them.

    Attributes
    ----------
    folder : str
        Holds the spectra that the pages draw, (ny, nx, channels), and their running sums.
    kind : type
        The class of the signal.
    axes : list of dict
    metadata, original_metadata : dict
    shape : tuple of int
        Rows, columns, channels of the data.
    bin : int
        The spectra in the folder are means over squares of so many pixels; 1 where they are the data.
    counts : bool
        Whether the values are whole numbers that are not negative, in an integer type.
    path, number, steps
        Of data that stay on disk: their file, which signal of it, and what was done to them.
    """

    folder: str
    kind: type
    axes: list[dict[str, Any]]
    metadata: dict[str, Any]
    original_metadata: dict[str, Any]
    shape: tuple[int, int, int]
    bin: int
    counts: bool
    path: str | None = None
    number: int | None = None
    steps: tuple[Step, ...] = ()

    @property
    def seen(self) -> np.ndarray:
        """The spectra that the pages draw, read-only; mapped anew, for what is kept would travel between processes."""
        return self._mapped(_SEEN)

    @property
    def running(self) -> tuple[np.ndarray, np.ndarray]:
        """Their running sums."""
        return self._mapped(_ROWS), self._mapped(_CHANNELS)

    def signal(self) -> Any:
        """Return the data as a HyperSpy signal: mapped, or lazy where they stay on disk."""
        if self.path is None:
            data = self.seen.reshape([axis["size"] for axis in self.axes])
            return self.kind(
                data, axes=self.axes, metadata=self.metadata,
                original_metadata=self.original_metadata,
            )  # fmt: skip
        signal = load(self.path, lazy=True, signal=self.number)
        for step in self.steps:
            signal = step.apply(signal)
        return signal

    def _mapped(self, name: str) -> np.ndarray:
        return np.load(Path(self.folder) / name, mmap_mode="r").view(np.ndarray)


def store(signal: Any, room: Path, steps: tuple[Step, ...] = ()) -> Stored:
    """Put a signal into a new folder of ``room``; of a lazy one only a preview.

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
    check_image(cube)
    cube = cube[None] if cube.ndim == 2 else cube
    lazy, bin_ = bool(getattr(signal, "_lazy", False)), 1
    kind, counts = type(signal), cube.dtype.kind == "u"
    seen = cube
    if lazy:
        bin_ = max(1, int(np.ceil(np.sqrt(cube.nbytes / PREVIEW))))
        bin_ = min(bin_, *cube.shape[:2]) if min(cube.shape[:2]) > 1 else min(bin_, cube.shape[1])
        seen = binned(cube, bin_)
    check_finite(seen)
    if cube.dtype.kind == "i":
        counts = bool(cube.min() >= 0)
    folder = room / uuid.uuid4().hex
    folder.mkdir()
    np.save(folder / _SEEN, np.ascontiguousarray(seen))
    for name, sums in zip((_ROWS, _CHANNELS), running_sums(seen), strict=True):
        np.save(folder / name, sums)
    source = provenance.source(signal) or {}
    manager = signal.axes_manager
    return Stored(
        str(folder), kind, [axis.get_axis_dictionary() for axis in manager._axes],
        signal.metadata.as_dictionary(), signal.original_metadata.as_dictionary(),
        cube.shape, bin_, counts,
        *((source["path"], source["signal"], steps) if lazy else ()),
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
    if signal.data.nbytes > most:
        raise EndmemberError(
            f"this lazy signal takes {signal.data.nbytes / 1e9:.1f} GB, more than the {most / 1e9:.1f} GB that it "
            "may; open its file on the page of the workbench, which leaves the data on disk, or bin it"
        )
    signal = signal.deepcopy()
    signal.compute(show_progressbar=False)
    return signal


def _most() -> int:
    """Return the bytes that an image may take; 2 GB where the system does not tell what is free."""
    return int(SHARE * (free_memory() or 8e9))


def check_image(cube: Any) -> None:
    """Refuse what is no image and no line of spectra."""
    if cube.ndim not in (2, 3):
        raise EndmemberError(
            f"the workbench shows images and line scans; this has {cube.ndim - 1} axes besides the "
            "energy: unmix it with em.unmix"
        )


def check_finite(cube: np.ndarray) -> None:
    """Refuse values that are not finite."""
    if cube.dtype.kind in "fc" and not all(np.isfinite(row).all() for row in cube):
        raise EndmemberError(
            "the data hold NaN or infinite values; crop them away, or unmix with a mask in Python"
        )


def binned(cube: Any, size: int) -> np.ndarray:
    """Return the mean spectra of squares of pixels of a Dask array (ny, nx, channels), float32.

    Remainders at the edges are left out; a single row stays one.
    """
    import dask.array as da

    squares = {0: size if cube.shape[0] > 1 else 1, 1: size}
    return da.coarsen(np.mean, cube.astype(np.float32), squares, trim_excess=True).compute()


def read(path: str, number: int | None, room: Path, most: int | None = None) -> Stored:
    """Read a file and store its spectrum image; what takes more than ``most`` bytes stays where it is.

    Parameters
    ----------
    path : str
    number : int or None
        Which signal of the file.
    room : Path
    most : int, optional
        A quarter of the memory that is free unless given.
    """
    most = most or _most()
    file = Path(path)
    if file.is_dir() or file.stat().st_size > min(LOOK_FROM, most):
        signal = load(path, lazy=True, signal=number)
        if signal._lazy and signal.data.nbytes > most:
            return store(signal, room)
    return store(load(path, signal=number), room)
