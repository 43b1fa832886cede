"""A spectrum image as the pages see it: a cube with its sums, axes, units and texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from endmember.signals.bridge import spectra_last
from endmember.studio.sums import Sums


class Image:
    """What is looked at: one signal, read into memory, with everything that a drag needs.

    Parameters
    ----------
    signal : HyperSpy signal
        A spectrum at every pixel of an image or a line; a line is shown as an image of one row.

    Raises
    ------
    ValueError
        If it is something else, or holds values that are not finite.

    Examples
    --------
    >>> import endmember as em
    >>> image = Image(em.synthetic.diode(shape=(6, 8), channels=40).signal)
    >>> image.shape, image.region((1.2, 4.9), (-3.0, 99.0))
    ((6, 8, 40), ((0, 6), (1, 5)))
    """

    def __init__(self, signal: Any) -> None:
        if getattr(signal, "_lazy", False):
            signal = signal.deepcopy()
            signal.compute()
        cube = np.asarray(spectra_last(signal))
        if cube.ndim not in (2, 3):
            raise ValueError(
                f"the workbench shows images and line scans; this has {cube.ndim - 1} axes besides the "
                "energy: unmix it with em.unmix"
            )
        self.signal = signal
        self.cube = cube[None] if cube.ndim == 2 else cube
        self.cube = self.cube.view()
        self.cube.flags.writeable = False
        self.sums = Sums(self.cube)
        if not np.isfinite(self.sums.map((0, self.cube.shape[2]))).all():
            raise ValueError(
                "the data hold NaN or infinite values; crop them away, or unmix with a mask in Python"
            )
        (axis,) = signal.axes_manager.signal_axes
        self.energy = np.asarray(axis.axis, dtype=float)
        self.energy_name = _text(axis.name) or "Channel"
        self.energy_units = _text(axis.units)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, channels."""
        ny, nx, channels = self.cube.shape
        return ny, nx, channels

    @property
    def title(self) -> str:
        """The title that the metadata give, as plain text."""
        return _text(self.signal.metadata.get_item("General.title", default=""))

    @property
    def is_counts(self) -> bool:
        """Whether the values are whole numbers that are not negative, in an integer type."""
        kind = self.cube.dtype.kind
        return kind == "u" or (kind == "i" and int(self.cube.min()) >= 0)

    @property
    def pixel(self) -> tuple[float, str]:
        """Size of a pixel along the columns and its unit; 1 and "" where it is not calibrated."""
        axis = self.signal.axes_manager.navigation_axes[0]
        units = _text(axis.units)
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

    def mean_spectrum(self) -> np.ndarray:
        """Return the mean spectrum of all pixels, (channels,)."""
        ny, nx, _ = self.shape
        return self.sums.spectrum((0, ny), (0, nx))


def _whole(ends: tuple[float, float], size: int) -> tuple[int, int]:
    low, high = sorted(ends)
    first = int(np.clip(np.floor(low), 0, size - 1))
    return first, int(np.clip(np.ceil(high), first + 1, size))


def _text(value: Any) -> str:
    """Return a name or unit of HyperSpy, whose unset ones are not texts."""
    return value if isinstance(value, str) and value != "<undefined>" else ""
