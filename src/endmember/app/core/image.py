"""A spectrum image as the pages and the processes see it: arrays on disk, mapped into the memory of all who look."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from endmember.app.core.live import Sketches
from endmember.app.core.steps import Step
from endmember.app.core.sums import Sums
from endmember.factor.data.axis import Axis, text_of
from endmember.factor.data.inspection import unwrap
from endmember.signals.files.source import Source

#: Files in the folder of an image: the spectra that the pages draw, and their running sums.
CUBE, ROWS, CHANNELS = "cube.npy", "rows.npy", "channels.npy"


@dataclass(eq=False)
class Image:
    """What is looked at: one signal with everything that a drag needs. Shared by all who look at it, never changed.

    Only where its arrays lie travels between processes.

    Attributes
    ----------
    folder : str
        Holds the spectra that the pages draw, (rows, columns, channels), and their running sums.
    kind : type
        The class of the signal.
    axes : list of dict
    metadata, original_metadata : dict
    shape : tuple of int
        Rows, columns, channels of the data; a line is an image of one row.
    bin : int
        The spectra in the folder are means over squares of so many pixels; 1 where they are the data.
    is_counts : bool
        Whether the values are whole numbers that are not negative, in an integer type.
    stays, steps
        Of data that stay on disk: where they are read from, and what was done to them.
    source : Source, optional
        Where the signal was read from, if it is as it was read.

    Examples
    --------
    >>> from endmember import synthetic
    >>> from endmember.app.server.shared import Store
    >>> image = Store().keep(synthetic.diode(shape=(6, 8), channels=40).signal)
    >>> image.shape, image.region((1.2, 4.9), (-3.0, 99.0))
    ((6, 8, 40), ((0, 6), (1, 5)))
    """

    folder: str
    kind: type
    axes: list[dict[str, Any]]
    metadata: dict[str, Any]
    original_metadata: dict[str, Any]
    shape: tuple[int, int, int]
    bin: int
    is_counts: bool
    stays: Source | None = None
    steps: tuple[Step, ...] = ()
    source: Source | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def signal(self) -> Any:
        """The data as a HyperSpy signal: mapped, or lazy where they stay on disk."""
        if self.stays is None:
            data = self.cube.reshape([axis["size"] for axis in self.axes])
            return self.kind(
                data, axes=self.axes, metadata=self.metadata,
                original_metadata=self.original_metadata,
            )  # fmt: skip
        signal = self.stays.load()
        for step in self.steps:
            signal = step.apply(signal)
        return signal

    @cached_property
    def cube(self) -> np.ndarray:
        """What is drawn, read-only: the data, or means over squares of ``bin`` pixels."""
        return self._mapped(CUBE)

    @cached_property
    def sums(self) -> Sums:
        """The sums over any region of the cube."""
        return Sums(self.cube, running=(self._mapped(ROWS), self._mapped(CHANNELS)))

    @cached_property
    def sketches(self) -> Sketches:
        """For live answers."""
        return Sketches.of(self.signal)

    @cached_property
    def axis(self) -> Axis:
        """The spectral axis."""
        return Axis.of(self.signal)

    def _mapped(self, name: str) -> np.ndarray:
        return np.load(Path(self.folder) / name, mmap_mode="r").view(np.ndarray)

    @property
    def is_preview(self) -> bool:
        """Whether what is drawn at once stands for data that stay on disk."""
        return self.stays is not None

    @property
    def title(self) -> str:
        """The title that the metadata give, as plain text."""
        return text_of(self.signal.metadata.get_item("General.title", default=""))

    @property
    def pixel(self) -> tuple[float, str]:
        """Size of a pixel along the columns and its unit; 1 and "" where it is not calibrated."""
        axis = self.signal.axes_manager.navigation_axes[0]
        units = text_of(axis.units)
        return (float(abs(axis.scale)), units) if units and axis.is_uniform else (1.0, "")

    @property
    def energy(self) -> np.ndarray:
        """The energies of the channels."""
        return self.axis.energy

    @property
    def energy_label(self) -> str:
        """Name and unit of the spectral axis."""
        name = self.axis.name or "Channel"
        return f"{name} ({self.axis.units})" if self.axis.units else name

    def region(
        self, x: tuple[float, float], y: tuple[float, float]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return rows and columns of a dragged box, in pixels; at least one pixel, never outside."""
        ny, nx, _ = self.shape
        return _whole(y, ny), _whole(x, nx)

    def window(self, energies: tuple[float, float]) -> tuple[int, int]:
        """Return the channels of a dragged energy window; at least one."""
        low, high = sorted(energies)
        inside = np.flatnonzero((self.energy >= low) & (self.energy <= high))
        if inside.size:
            return int(inside.min()), int(inside.max()) + 1
        nearest = int(np.argmin(np.abs(self.energy - (low + high) / 2)))
        return nearest, nearest + 1

    def spectrum(
        self, rows: tuple[int, int], columns: tuple[int, int], exact: bool = False
    ) -> np.ndarray:
        """Return the mean spectrum of a region, (channels,).

        At once, of a preview where there is one, unless it must be ``exact``: that reads data which stay on disk.
        """
        if exact and self.is_preview:
            cube = unwrap(self.signal)
            cube = cube[None] if cube.ndim == 2 else cube
            return np.asarray(cube[slice(*rows), slice(*columns)].mean(axis=(0, 1), dtype=float))
        ny, nx, _ = self.cube.shape
        part = self.bin if self.shape[0] > 1 else 1
        return self.sums.spectrum(
            _whole((rows[0] / part, rows[1] / part), ny),
            _whole((columns[0] / self.bin, columns[1] / self.bin), nx),
        )

    def map(self, channels: tuple[int, int], exact: bool = False) -> np.ndarray:
        """Return the sum over some channels at every pixel; at once or exactly, as :meth:`spectrum`."""
        if exact and self.is_preview:
            total = unwrap(self.signal)[..., slice(*channels)].sum(axis=-1, dtype=float)
            return np.atleast_2d(np.asarray(total))
        return self.sums.map(channels)

    def mean_spectrum(self) -> np.ndarray:
        """Return the mean spectrum of all pixels, (channels,)."""
        ny, nx, _ = self.shape
        return self.spectrum((0, ny), (0, nx))


def _whole(ends: tuple[float, float], size: int) -> tuple[int, int]:
    low, high = sorted(ends)
    first = int(np.clip(np.floor(low), 0, size - 1))
    return first, int(np.clip(np.ceil(high), first + 1, size))
