"""A spectrum image as the pages and the processes see it: arrays on disk, mapped into the memory of all who look."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from endmember.app.core.live import Sketches
from endmember.app.core.regions import MOST_CORNERS, Region, inside, outline_of
from endmember.app.core.steps import Step as Step
from endmember.factor.data import EVEN, Axis, text_of, unchanged, unwrap
from endmember.factor.noise.model import NoiseModel, estimate_noise
from endmember.show.page import readable_units, with_units
from endmember.signals.files.source import Source

#: Files in the folder of an image: the spectra that are drawn at once, and the data where those are others.
CUBE, DATA = "cube.npy", "data.npy"
#: Units of length that a side is told in, and their powers of ten.
LENGTHS = {"pm": -12, "nm": -9, "µm": -6, "mm": -3, "m": 0}


class Side(NamedTuple):
    """Where the pixels lie along one side of an image.

    Attributes
    ----------
    centres, edges : ndarray, (pixels,) and (pixels + 1,)
        In the unit; mere numbers of pixels where there is none, or where the pixels of an image differ in width.
    label, units : str
    """

    centres: np.ndarray
    edges: np.ndarray
    label: str
    units: str

    @property
    def rising(self) -> bool:
        """Whether the numbers grow from the first pixel to the last."""
        return bool(self.edges[-1] > self.edges[0])

    def places(self, values: Any) -> np.ndarray:
        """Return where values along this side lie, in pixels: the first from 0 to 1."""
        rising = slice(None, None, 1 if self.rising else -1)
        return np.interp(values, self.edges[rising], np.arange(len(self.edges))[rising])


@dataclass(eq=False)
class Image:
    """What is looked at: one signal with everything that a drag needs. Shared by all who look at it, never changed.

    Only where its arrays lie travels between processes.

    Attributes
    ----------
    folder : str
        Holds the spectra that are drawn at once, (rows, columns, channels).
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
    >>> store = Store()
    >>> image = store.keep(synthetic.diode(shape=(6, 8), channels=40).signal)
    >>> image.shape, image.region((1.2, 4.9), (-3.0, 99.0)).code
    ((6, 8, 40), '0:6, 1:6')
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
            cube = self._mapped(CUBE if self.bin == 1 else DATA)
            data = cube if len(self.axes) > 2 else cube[0]
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
    def sketches(self) -> Sketches:
        """For live answers."""
        return Sketches.of(self.signal)

    @cached_property
    def noise(self) -> NoiseModel:
        """How the variance of a value follows from its mean."""
        with unchanged(self.signal.data):
            return estimate_noise(self.signal)

    @cached_property
    def whole(self) -> Region:
        """All pixels, as what is drawn at once has them."""
        box = ((0, self.shape[0]), (0, self.shape[1]))
        mean = self.spectrum(*box)
        return Region(box, self.signal.data.shape[:-1], (), "all pixels", "#888888", mean)

    @cached_property
    def axis(self) -> Axis:
        """The spectral axis."""
        return Axis.of(self.signal)

    def _mapped(self, name: str) -> np.ndarray:
        return np.load(Path(self.folder) / name, mmap_mode="r").view(np.ndarray)

    @property
    def is_preview(self) -> bool:
        """Whether what is drawn at once stands for data that are larger, or stay on disk."""
        return self.bin > 1 or self.stays is not None

    @property
    def title(self) -> str:
        """The title that the metadata give, as plain text."""
        return text_of(self.signal.metadata.get_item("General.title", default=""))

    @cached_property
    def sides(self) -> tuple[Side, Side]:
        """Where columns and rows lie; lengths in the unit in which the longer side has 1 to 1000."""
        known = [Axis.read(axis) for axis in self.signal.axes_manager.navigation_axes]
        axes = [*known, Axis.numbers(1)][:2]
        spans = [np.ptp(axis.energy) * _metres(axis) for axis in axes if _metres(axis)]
        power = 3 * math.floor(math.log10(max([*spans, 1e-12])) / 3)
        across, down = (
            _side(axis, name, min(power, 0), self.is_line)
            for axis, name in zip(axes, "xy", strict=True)
        )
        return across, down

    @property
    def is_line(self) -> bool:
        """Whether the pixels lie in one row or column, or are a mere list."""
        return 1 in self.shape[:2]

    @property
    def quantity(self) -> str:
        """What the values are, with their unit, as far as it is known."""
        known = text_of(self.signal.metadata.get_item("Signal.quantity", default=""))
        return known or ("Counts" if self.is_counts else "Intensity")

    @property
    def energy(self) -> np.ndarray:
        """The energies of the channels."""
        return self.axis.energy

    def region(
        self, x: Sequence[float], y: Sequence[float], shape: str = "box", width: int = 1
    ) -> Region:
        """Return what was drawn over the sides: what ``SHAPES`` calls it between two ends, or a polygon of more.

        A box has all pixels that it touches; so has whatever is too small to hold the middle of one.
        """
        ends = np.column_stack(
            [side.places(one) for side, one in zip(self.sides, (x, y), strict=True)]
        )
        places = (
            ends if shape == "box" or len(x) > 2 else outline_of(shape, ends[0], ends[1], width)
        )
        thin = places[:: 1 + len(places) // (MOST_CORNERS + 1)].round(1).tolist()
        held = len(thin) > 2 and inside(thin, self.shape[:2]).any()
        rows, columns = (
            _whole((one.min(), one.max()), size)
            for one, size in zip(places.T[::-1], self.shape, strict=False)
        )
        return Region(
            (rows, columns), self.signal.data.shape[:-1], tuple(map(tuple, thin)) if held else (),
            width=width if held and shape == "line" and len(x) == 2 else 0,
        )  # fmt: skip

    def along(self, line: Region, maps: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], str]:
        """Return the mean of maps across a line, at points a pixel apart between which maps are interpolated.

        Parameters
        ----------
        line : Region
        maps : ndarray, (rows, columns, k)

        Returns
        -------
        position : ndarray, (points,)
            Along the line in the unit of the sides; in pixels where they have two.
        profiles : list of ndarray, (points,)
            One a map.
        label : str
            Of the position.
        """
        begin, end, _, aside = np.array(line.corners)
        steps = np.linspace(0, 1, 1 + math.ceil(np.hypot(*(end - begin))))
        # (points across, points along, 2)
        strip = (
            begin
            + steps[:, None] * (end - begin)
            + (np.arange(line.width)[:, None, None] + 0.5) / line.width * (aside - begin)
        )
        profiles = [
            map_coordinates(one, strip.T[::-1] - 0.5, order=1, mode="nearest").mean(axis=-1)
            for one in np.moveaxis(maps, -1, 0)
        ]
        units = {side.units for side in self.sides}
        pitch = [
            np.ptp(side.edges) / len(side.centres) if len(units) == 1 else 1.0
            for side in self.sides
        ]
        return (
            steps * np.hypot(*((end - begin) * pitch)),
            profiles,
            with_units("Along the line", units.pop() if len(units) == 1 else "pixels"),
        )

    def window(self, energies: tuple[float, float]) -> tuple[int, int]:
        """Return the channels of a dragged energy window; at least one."""
        low, high = sorted(energies)
        inside = np.flatnonzero((self.energy >= low) & (self.energy <= high))
        if not inside.size:
            inside = np.argmin(np.abs(self.energy - (low + high) / 2), keepdims=True)
        return int(inside.min()), int(inside.max()) + 1

    def spectrum(
        self,
        rows: tuple[int, int],
        columns: tuple[int, int],
        exact: bool = False,
        corners: Any = (),
    ) -> np.ndarray:
        """Return the mean spectrum of a box, or of the polygon in it, (channels,).

        At once, of a preview where there is one, unless it must be ``exact``: that reads all the data.
        """
        cube, bins = self._drawn(exact), (1, 1)
        if not exact:
            bins = (self.bin if self.shape[0] > 1 else 1, self.bin)
        down, across = (
            slice(*_whole((ends[0] / bin, ends[1] / bin), size))
            for ends, bin, size in zip((rows, columns), bins, cube.shape[:2], strict=True)
        )
        with unchanged(cube):
            part = cube[down, across]
            if corners:
                part = part[inside(np.array(corners) / bins[::-1], cube.shape[:2])[down, across]][
                    None
                ]
            return np.asarray(part.mean(axis=(0, 1), dtype=float))

    def map(self, channels: tuple[int, int], exact: bool = False) -> np.ndarray:
        """Return the sum over some channels at every pixel; at once or exactly, as :meth:`spectrum`."""
        cube = self._drawn(exact)
        with unchanged(cube):
            return np.asarray(cube[..., slice(*channels)].sum(axis=-1, dtype=float))

    def _drawn(self, exact: bool) -> Any:
        """Return the spectra that are drawn at once, or all."""
        cube = unwrap(self.signal) if exact else self.cube
        return cube[None] if cube.ndim == 2 else cube


def _metres(axis: Axis) -> float:
    """Return the unit of an axis in metres; 0 where it is no length."""
    units = readable_units(axis.units)
    return 10.0 ** LENGTHS[units] if units in LENGTHS else 0.0


def _side(axis: Axis, name: str, power: int, uneven: bool) -> Side:
    """Return one side, a length in metres times 10 to ``power``; ``uneven`` where pixels may differ in width."""
    centres, units, name = axis.energy, readable_units(axis.units) or "", axis.name or name
    if _metres(axis):
        centres = centres * (_metres(axis) / 10.0**power)
        units = next(unit for unit, known in LENGTHS.items() if known == power)
    even = len(centres) < 3 or np.ptp(np.diff(axis.energy)) <= EVEN * axis.step
    if not axis.calibrated or not (even or uneven):
        centres, units = np.arange(float(len(centres))), ""
        name = f"{name} (pixels)"
    step = np.diff(centres) if len(centres) > 1 else np.ones(1)
    around = np.concatenate([centres[:1] - step[:1], centres, centres[-1:] + step[-1:]])
    return Side(centres, (around[1:] + around[:-1]) / 2, with_units(name, units), units)


def _whole(ends: tuple[float, float], size: int) -> tuple[int, int]:
    low, high = sorted(ends)
    first = int(np.clip(np.floor(low), 0, size - 1))
    return first, int(np.clip(np.ceil(high), first + 1, size))
