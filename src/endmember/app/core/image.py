"""A spectrum image as the pages see it: a cube with its sums, axes, units and texts."""

from typing import Any

import numpy as np

import endmember as em
from endmember.app.core.live import DIRECTIONS, Sketches
from endmember.app.core.sums import Sums
from endmember.app.work.images import Stored
from endmember.factor.data.axis import Axis
from endmember.factor.data.inspection import unwrap
from endmember.signals.bridge import text_of


class Image:
    """What is looked at: one signal with everything that a drag needs. Shared by all who look at it, never changed.

    Parameters
    ----------
    stored : Stored
        Where its arrays lie on disk; of data larger than memory that is a binned preview.

    Attributes
    ----------
    shape : tuple of int
        Rows, columns, channels of the data; a line is an image of one row.
    is_counts : bool
        Whether the values are whole numbers that are not negative, in an integer type.
    cube : ndarray, (rows, columns, channels)
        What is drawn: the data, or means over squares of ``bin`` pixels.
    sketches : Sketches
        For live answers.
    source : dict or None
        File and number of the signal, where it is as it was read.

    Examples
    --------
    >>> from endmember.app.server.shared import Store
    >>> image = Store().keep(em.synthetic.diode(shape=(6, 8), channels=40).signal)
    >>> image.shape, image.region((1.2, 4.9), (-3.0, 99.0))
    ((6, 8, 40), ((0, 6), (1, 5)))
    """

    def __init__(self, stored: Stored) -> None:
        signal = stored.signal()
        self.stored, self.signal = stored, signal
        self.shape, self.bin, self.is_counts = stored.shape, stored.bin, stored.counts
        self.cube, self.sums = stored.seen, Sums(stored.seen, running=stored.running)
        self.source: dict[str, Any] | None = None
        self.sketches = Sketches(lambda scaling: em.compress(signal, DIRECTIONS, scaling=scaling))
        axis = Axis.of(signal)
        self.energy = axis.energy
        self.energy_name, self.energy_units = axis.name or "Channel", axis.units or ""

    @property
    def is_preview(self) -> bool:
        """Whether what is drawn at once stands for data that stay on disk."""
        return self.stored.path is not None

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
    def energy_label(self) -> str:
        """Name and unit of the spectral axis."""
        return (
            f"{self.energy_name} ({self.energy_units})" if self.energy_units else self.energy_name
        )

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

    def spectrum(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """Return the mean spectrum of a region, (channels,), at once: of a preview where there is one."""
        ny, nx, _ = self.cube.shape
        part = self.bin if self.shape[0] > 1 else 1
        return self.sums.spectrum(
            _whole((rows[0] / part, rows[1] / part), ny),
            _whole((columns[0] / self.bin, columns[1] / self.bin), nx),
        )

    def map(self, channels: tuple[int, int]) -> np.ndarray:
        """Return the sum over some channels at every pixel, at once: of a preview where there is one."""
        return self.sums.map(channels)

    def exact_spectrum(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """Return the mean spectrum of a region of the data, (channels,); reads them where they stay on disk."""
        if not self.is_preview:
            return self.spectrum(rows, columns)
        cube = unwrap(self.signal)
        cube = cube[None] if cube.ndim == 2 else cube
        return np.asarray(cube[slice(*rows), slice(*columns)].mean(axis=(0, 1), dtype=float))

    def exact_map(self, channels: tuple[int, int]) -> np.ndarray:
        """Return the sum over some channels at every pixel of the data; reads them where they stay on disk."""
        if not self.is_preview:
            return self.map(channels)
        total = unwrap(self.signal)[..., slice(*channels)].sum(axis=-1, dtype=float)
        return np.atleast_2d(np.asarray(total))

    def mean_spectrum(self) -> np.ndarray:
        """Return the mean spectrum of all pixels, (channels,)."""
        ny, nx, _ = self.shape
        return self.spectrum((0, ny), (0, nx))


def _whole(ends: tuple[float, float], size: int) -> tuple[int, int]:
    low, high = sorted(ends)
    first = int(np.clip(np.floor(low), 0, size - 1))
    return first, int(np.clip(np.ceil(high), first + 1, size))
