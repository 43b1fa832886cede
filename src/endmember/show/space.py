"""How a domain is drawn: as an image with a scale bar, or as a profile with a position axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from endmember.show import drawing, page

_MAP_WIDTH, _MAP_HEIGHT = 1.8, 1.7  # inches, at most
PROFILE_HEIGHT = 1.05  # inches


@dataclass(frozen=True)
class Space:
    """How values over a domain are drawn, as an image or as a profile, and how large.

    Parameters
    ----------
    shape : (ny, nx) or (n,)
        Rows and columns, or pixels of a profile.
    steps : array (2,) or (1,)
        One for each axis, NaN where not calibrated.
    units : str or None
        Units of the last axis.
    scale : float
        Magnification of everything.

    Examples
    --------
    >>> space = Space.of(np.ones((2, 20)), (0.5, 0.5), "nm")
    >>> space.note, round(space.height / space.width, 3)
    ('rows drawn 3× taller', 0.3)
    """

    shape: tuple[int, ...]
    steps: np.ndarray
    units: str | None
    scale: float = 1.0

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        pixel_size: Sequence[float | None] | None,
        pixel_units: str | Sequence[str | None] | None,
        scale: float = 1.0,
    ) -> "Space":
        """Take the axes that are drawn out of those of the domain."""
        known = pixel_size is not None and len(pixel_size) >= values.ndim
        # An axis that runs backwards has the same scale.
        sizes = np.abs(np.array(pixel_size if known else [np.nan] * values.ndim, dtype=float))
        steps = np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan)[-values.ndim :]
        if pixel_units is None or isinstance(pixel_units, str):
            return cls(values.shape, steps, pixel_units, scale)
        units = list(pixel_units)[-values.ndim :] or [None]
        same = np.array([unit == units[-1] for unit in units])
        return cls(values.shape, np.where(same, steps, np.nan), units[-1], scale)

    @property
    def is_image(self) -> bool:
        """Whether there are rows and columns."""
        return len(self.shape) == 2

    @property
    def proportions(self) -> tuple[float, float]:
        """Height over width of a drawn map, and how far its pixels are stretched for it."""
        return drawing.map_proportions((self.shape[0], self.shape[-1]), self.steps)

    @property
    def height(self) -> float:
        """Height of a drawn map in inches."""
        return (
            PROFILE_HEIGHT * self.scale
            if not self.is_image
            else min(_MAP_WIDTH * self.proportions[0], _MAP_HEIGHT) * self.scale
        )

    @property
    def width(self) -> float:
        """Width of a drawn map in inches."""
        return (
            1.3 * _MAP_WIDTH * self.scale
            if not self.is_image
            else min(_MAP_WIDTH, _MAP_HEIGHT / self.proportions[0]) * self.scale
        )

    @property
    def note(self) -> str:
        """How the map departs from its true proportions, if it does."""
        stretch = self.proportions[1] if self.is_image else 1.0
        if abs(stretch - 1) < 0.01:
            return ""
        taller = f"rows drawn {stretch:.2g}× taller"
        return taller if stretch > 1 else f"columns drawn {1 / stretch:.2g}× wider"

    @property
    def position_text(self) -> str:
        """Label of the position axis; an image has none."""
        return (
            ""
            if self.is_image
            else page.with_units("Position", self.units)
            if np.isfinite(self.steps[-1])
            else "Pixel"
        )

    def draw(
        self,
        axes: page.Axes,
        values: np.ndarray,
        colour: str,
        label: str,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Draw values over the domain."""
        if self.is_image:
            drawing.draw_map(axes, values, self.steps, label=label, limits=limits)
        else:
            drawing.draw_profile(axes, values, self.steps[-1], colour=colour)

    def draw_scale_bar(self, axes: page.Axes) -> None:
        """Draw the scale bar into an image; a profile has a position axis instead."""
        if self.is_image:
            drawing.scale_bar(axes, self.shape[1], self.steps[-1], self.units, height=self.height)


def label_below(axes: page.Axes, text: str, at_bottom: bool) -> None:
    """Label the abscissa of the lowest panel only, and spare the numbers of those above.

    Parameters
    ----------
    axes : Axes
        The panel.
    text : str
        The label; a panel without one, a map, is left alone.
    at_bottom : bool
        Whether this is the lowest.

    Examples
    --------
    >>> axes = page.blank_figure(2, 2, "").add_subplot()
    >>> label_below(axes, "Energy (eV)", at_bottom=True)
    >>> axes.get_xlabel()
    'Energy (eV)'
    """
    if not text:
        return
    if at_bottom:
        axes.set_xlabel(text, fontsize=page.NORMAL, color=page.INK)
    else:
        axes.tick_params(labelbottom=False)


def label_into_gap(axes: page.Axes, text: str) -> None:
    """Label the last panel of a short column within the free place below it.

    The labels take no part in the layout: they would push the rows of the other column apart.

    Parameters
    ----------
    axes : Axes
        The panel.
    text : str
        The label.

    Examples
    --------
    >>> axes = page.blank_figure(2, 2, "").add_subplot()
    >>> label_into_gap(axes, "Energy (eV)")
    >>> axes.child_axes[0].get_xlabel()
    'Energy (eV)'
    """
    below: Any = axes.secondary_xaxis(0.0)
    below.set_in_layout(False)
    below.set_xlabel(text, fontsize=page.NORMAL, color=page.INK)
    page.quiet_axes(below)
