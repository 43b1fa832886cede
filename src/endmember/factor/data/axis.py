"""Where channels and pixels lie: the energy axis of spectra, and the image or line of a factor's rows."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from endmember.errors import refuse_if
from endmember.factor.columns import placed

#: A reference sampled finer than this fraction of the data's step is averaged over each channel.
FINER = 0.6
#: Axes are the same whose channels lie closer together than this, in channels.
CLOSE = 0.1
#: An axis is even whose steps differ by less than this share of one.
EVEN = 1e-3
#: Tension of the surface that fills gaps: up to so many pixels, 1/√t, it bends; equations are solved this precisely.
TENSION, PRECISE = 0.03, 1e-6
#: Detectors of X-rays mark their noise at zero energy, in keV; no line but that of lithium lies below this.
LOWEST_LINE = 0.1
ZERO_PEAK = (
    "The peak at zero energy marks the noise of the detector and counts as a component where it varies: leave out the "
    "channels below 0.1 keV, such as with signal.isig[0.1:] or --crop 0.1:."
)


def is_signal(X: Any) -> bool:
    """Tell whether ``X`` is a HyperSpy signal, without importing HyperSpy."""
    return hasattr(X, "axes_manager") and hasattr(X, "data")


def text_of(value: Any) -> str:
    """Return a name or unit of HyperSpy, whose unset ones are not texts."""
    return value if isinstance(value, str) and value != "<undefined>" else ""


@dataclass(frozen=True, eq=False)
class Axis:
    """The energy of every channel, (channels,), in its unit; mere channel numbers for an array.

    ``metadata`` are those of the signal, which tell of instrument and sample.
    """

    energy: np.ndarray
    units: str | None = None
    name: str = ""
    metadata: Any = None

    @classmethod
    def of(cls, X: Any) -> "Axis":
        """Return the spectral axis of a signal, the columns of a data frame if numbers, or mere channel numbers."""
        if is_signal(X):
            axes = X.axes_manager.signal_axes
            return (
                cls.numbers(math.prod(axis.size for axis in axes))
                if len(axes) > 1
                else replace(cls.read(axes[0]), metadata=X.metadata)
            )
        columns, n_channels = np.asarray(getattr(X, "columns", ())), np.shape(X)[-1]
        numbered = columns.dtype.kind in "iuf" and columns.shape == (n_channels,)
        return cls(columns.astype(float)) if numbered else cls.numbers(n_channels)

    @classmethod
    def read(cls, axis: Any) -> "Axis":
        """Return an axis of HyperSpy."""
        return cls(np.asarray(axis.axis, float), text_of(axis.units) or None, text_of(axis.name))

    @classmethod
    def in_data_order(cls, axes: Any) -> "tuple[Axis, ...]":
        """Return axes of HyperSpy in the order of the array."""
        return tuple(map(cls.read, sorted(axes, key=lambda axis: axis.index_in_array)))

    @classmethod
    def numbers(cls, channels: int) -> "Axis":
        """Return the axis of an array."""
        return cls(np.arange(channels, dtype=float))

    def told(self, *places: str) -> Any:
        """Return what the metadata say at the first of some places that they have; None at none."""
        found = (self.metadata.get_item(place) for place in places if self.metadata is not None)
        return next((value for value in found if value is not None), None)

    @property
    def calibrated(self) -> bool:
        """Whether these are energies and no mere channel numbers."""
        return self.units is not None or not np.array_equal(
            self.energy, np.arange(len(self.energy))
        )

    @property
    def step(self) -> float:
        """The distance of neighbouring channels, the median where they are not evenly spaced."""
        return float(np.median(np.abs(np.diff(self.energy)))) if len(self.energy) > 1 else 1.0

    @property
    def label(self) -> str:
        """The name with its unit, for pictures."""
        return (self.name or "Channel") + (f" ({self.units})" if self.units else "")

    def __str__(self) -> str:
        ends = f"{self.energy[0]:g} to {self.energy[-1]:g}"
        return f"{len(self.energy)} channels, {ends} {self.units or '(no unit)'}"

    def agrees(self, other: "Axis") -> bool:
        """Tell whether two axes are the same as far as both are calibrated."""
        return not (self.calibrated and other.calibrated) or (
            self.units == other.units
            and len(self.energy) == len(other.energy)
            and bool(np.abs(self.energy - other.energy).max() <= CLOSE * other.step)
        )

    def check(self, other: "Axis", what: str, way_out: str) -> None:
        """Refuse what lies on another axis.

        Raises
        ------
        ValueError
        """
        refuse_if(
            not self.agrees(other), f"{what} on another axis ({other}, not {self}); {way_out}"
        )

    def check_even(self, what: str) -> None:
        """Refuse what is counted in channels on an axis where these differ in width.

        Raises
        ------
        ValueError
        """
        refuse_if(
            len(self.energy) > 1 and np.ptp(np.diff(self.energy)) > EVEN * self.step,
            f"{what} on an axis that is not evenly spaced, such as this one from {self.energy[0]:g} to "
            f"{self.energy[-1]:g}; bring the data on an even one first, such as with signal.interpolate_on_axis",
        )

    def onto(self, wanted: "Axis") -> tuple[sparse.csr_array, np.ndarray]:
        """Return the matrix (channels, wanted channels) that brings spectra on another axis, and what it covers.

        Linear interpolation, averaged over the wanted channel where the own ones are finer.

        Raises
        ------
        ValueError
            If the units differ, or no energy is in both.
        """
        refuse_if(
            self.units != wanted.units,
            f"the data are in {self.units or 'no unit'} and the fit is in {wanted.units or 'no unit'}; convert "
            "their axis first",
        )
        order = np.argsort(self.energy)
        energy, m = self.energy[order], len(order)
        parts = max(1, round(wanted.step / self.step))
        places = wanted.energy[:, None] + wanted.step * ((np.arange(parts) + 0.5) / parts - 0.5)
        left = np.clip(np.searchsorted(energy, places) - 1, 0, max(m - 2, 0))
        right = np.minimum(left + 1, m - 1)
        width = np.where(right > left, energy[right] - energy[left], 1.0)
        share = np.clip((places - energy[left]) / width, 0.0, 1.0)
        target = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
        values = np.concatenate([1.0 - share, share]).ravel() / parts
        rows, columns = (
            order[np.concatenate([left, right])].ravel(),
            np.tile(target, (2, 1)).ravel(),
        )
        matrix = sparse.csr_array((values, (rows, columns)), shape=(m, len(places)))
        half = 0.5 * self.step
        covered = ((places >= energy[0] - half) & (places <= energy[-1] + half)).all(axis=1)
        refuse_if(
            not covered.any(),
            f"the data ({self}) and the fit ({wanted}) have no energies in common; give data on its axis",
        )
        return matrix, covered


class Standard:
    """One reference spectrum, to be had at any energy.

    Between its channels it is interpolated by monotone cubics, so that nothing overshoots; beyond its ends it keeps
    its last value; where it is sampled finer than asked for, it is averaged over the channels.

    Parameters
    ----------
    name : str
    values : ndarray, (channels,)
        NaN where it is not known.
    axis : Axis

    Examples
    --------
    >>> Standard("oxide", np.array([0.0, 1.0, 1.0]), Axis(np.array([0.0, 2.0, 4.0]))).at(np.array([2.0, 9.0]), 2.0)
    array([1., 1.])
    """

    def __init__(self, name: str, values: np.ndarray, axis: Axis) -> None:
        from scipy.interpolate import PchipInterpolator

        self.name, self.axis = name, axis
        energy, first = np.unique(axis.energy, return_index=True)
        values = np.asarray(values, dtype=np.float64)[first]
        known = np.isfinite(values)
        refuse_if(
            not np.any(values[known]),
            f"{name} is zero or NaN everywhere; leave it out or give a spectrum with intensity",
        )
        self.energy, self.values = energy[known], values[known]
        self._curve = PchipInterpolator(self.energy, self.values) if len(self.energy) > 1 else None

    def at(self, energy: np.ndarray, step: float) -> np.ndarray:
        """Return the spectrum at these energies, (channels,), for channels of width ``step``."""
        if self._curve is None:
            return np.full(len(energy), self.values[0])
        low, high = self.energy[0], self.energy[-1]
        if np.median(np.diff(self.energy)) >= FINER * step:
            return self._curve(np.clip(energy, low, high))
        area, half = self._curve.antiderivative(), step / 2
        start, stop = energy - half, energy + half
        inside = area(np.clip(stop, low, high)) - area(np.clip(start, low, high))
        below = self.values[0] * (np.minimum(stop, low) - np.minimum(start, low))
        above = self.values[-1] * (np.maximum(stop, high) - np.maximum(start, high))
        return (inside + below + above) / step

    def check(self, axis: Axis, *beside: "Standard") -> None:
        """Refuse a reference that does not belong on an axis, and say what it and those ``beside`` it cover of it.

        Raises
        ------
        ValueError
            If its unit is another one, or if it leaves more than one channel at an end uncovered.
        """
        own, units = self.axis, axis.units
        refuse_if(
            own.units not in (None, units) and axis.calibrated,
            f"{self.name} is in {own.units or 'no unit'} and the data are in {units or 'no unit'}; convert its "
            "axis first",
        )
        low, high = axis.energy.min() + axis.step, axis.energy.max() - axis.step
        refuse_if(
            self.energy[0] > low or self.energy[-1] < high,
            f"{self.name} runs from {self.energy[0]:g} to {self.energy[-1]:g} {own.units or 'channels'} and does "
            f"not cover the data, {axis.energy.min():g} to {axis.energy.max():g}; crop the data to what all references "
            f"cover, {max(low, *(one.energy[0] for one in (self, *beside))):.1f}:"
            f"{min(high, *(one.energy[-1] for one in (self, *beside))):.1f} (signal.isig[…], --crop …)",
        )


def of_zero_peak(X: Any) -> list[str]:
    """Return what to say of X-ray spectra whose axis reaches below zero, where detectors mark their noise."""
    axis = Axis.of(X) if is_signal(X) else Axis.numbers(1)
    named = str(axis.told("Signal.signal_type"))[:3], axis.units
    return [ZERO_PEAK] if named == ("EDS", "keV") and axis.energy.min() < -LOWEST_LINE else []


def on_axis(name: str, values: np.ndarray, own: Axis, axis: Axis) -> np.ndarray:
    """Return a reference (channels,) at the energies of the data; NaN stays where it is not known.

    Raises
    ------
    ValueError
        If it does not belong on their axis.
    """
    if own.agrees(axis):
        return values
    unknown = np.isnan(values)
    Standard(name, np.where(unknown, 1.0, values), own).check(axis)
    found = Standard(name, values, own).at(axis.energy, axis.step)
    order = np.argsort(own.energy)
    left_open = np.interp(axis.energy, own.energy[order], unknown[order].astype(float))
    return np.where(left_open > 0.5, np.nan, found)


class Grid:
    """The places of a factor's rows, for penalties that speak of neighbours.

    Parameters
    ----------
    shape : tuple of int
        The whole image ``(ny, nx)``, or ``(channels,)``.
    index : ndarray of int, optional
        The flat places that are rows of the factor, in C order; all of them unless given.
    axis : Axis, optional
        The energies of the channels.
    known : bool
        Whether the shape is that of an image or axis; False for a mere list of pixels.

    Examples
    --------
    >>> Grid((2, 2)).first_differences.toarray()
    array([[-1.,  0.,  1.,  0.],
           [ 0., -1.,  0.,  1.],
           [-1.,  1.,  0.,  0.],
           [ 0.,  0., -1.,  1.]])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        index: np.ndarray | None = None,
        known: bool = True,
        axis: Axis | None = None,
    ) -> None:
        self.shape, self.known, self.axis = shape, known, axis
        self.index = np.arange(int(np.prod(shape))) if index is None else index

    def take(self, rows: np.ndarray) -> "Grid":
        """Return the places of some of the rows."""
        return Grid(self.shape, self.index[rows], self.known)

    @property
    def n_axes(self) -> int:
        """The number of axes of the image."""
        return len(self.shape)

    @cached_property
    def first_differences(self) -> sparse.csr_array:
        """Differences between neighbours that both take part, (edges, n)."""
        return self._stencils([-1.0, 1.0])

    @cached_property
    def second_differences(self) -> sparse.csr_array:
        """Second differences of three in a row that all take part, (triples, n)."""
        return self._stencils([1.0, -2.0, 1.0])

    def neighbours(self, axis: int, count: int = 2) -> np.ndarray:
        """Return the rows of all places in a row of ``count`` along an axis that all take part, (any, count)."""
        rows = placed(np.arange(len(self.index)), self.index, math.prod(self.shape), -1, int)
        starts = np.arange(max(self.shape[axis] - count + 1, 0))
        along = [rows.reshape(self.shape).take(starts + i, axis).ravel() for i in range(count)]
        found = np.stack(along, axis=1)
        return found[(found >= 0).all(axis=1)]

    def _stencils(self, weights: list[float]) -> sparse.csr_array:
        stencils = np.concatenate([self.neighbours(a, len(weights)) for a in range(self.n_axes)])
        rows = np.repeat(np.arange(len(stencils)), len(weights))
        values = np.tile(weights, len(stencils))
        return sparse.csr_array(
            (values, (rows, stencils.ravel())), shape=(len(stencils), len(self.index))
        )

    def spread(self, F: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return rows (n, k) in their places, ``(*shape, k)``, with ``fill`` elsewhere."""
        return placed(F, self.index, math.prod(self.shape), fill).reshape(*self.shape, F.shape[1])


def filled_in(maps: np.ndarray) -> np.ndarray:
    r"""Return maps (*domain, k) in which pixels that are NaN lie on the surface of least bending through all others.

    It is under tension, :math:`\min \|\nabla^2 u\|^2 + t\,\|\nabla u\|^2`: smooth across gaps of few pixels, flat in
    large ones, and leaves the range of no map (Smith & Wessel, Geophysics 55 (1990) 293).
    """
    from scipy.sparse.linalg import cg

    flat = maps.reshape(-1, maps.shape[-1])
    unknown = np.isnan(flat[:, 0])
    differences = Grid(maps.shape[:-1]).first_differences
    bending = differences.T @ differences
    bending = (bending @ bending + TENSION * bending)[unknown]
    known, inside = flat[~unknown], bending[:, unknown]
    scale, pull = sparse.diags_array(1.0 / inside.diagonal()), -(bending[:, ~unknown] @ known)
    flat = flat.copy()
    flat[unknown] = np.transpose([cg(inside, b, rtol=PRECISE, M=scale)[0] for b in pull.T])
    flat[unknown] = np.clip(flat[unknown], known.min(axis=0), known.max(axis=0))
    return flat.reshape(maps.shape)
