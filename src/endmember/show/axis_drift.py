"""The picture of an energy axis that drifts: by how much each pixel is shifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from endmember.show import drawing, page
from endmember.show.space import Space, label_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def shifts(
    values: Any,
    *,
    stretches: Any = None,
    pixel_size: Sequence[float | None] | None = None,
    pixel_units: str | Sequence[str | None] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the energy shift of every pixel, and how it runs in the order of the scan.

    Parameters
    ----------
    values : array (*domain)
        In channels, positive = moved to higher energy; NaN where left out.
    stretches : array (*domain), optional
        Relative, positive = the axis is drawn out over more channels: drawn below, in per cent.
    pixel_size, pixel_units
        As in `Components`.
    title : str, optional
        Over the whole picture.

    Returns
    -------
    Figure
        A map and the shifts in scan order, of a line its profile alone; the same of the stretches.

    Raises
    ------
    ValueError
        Without any finite shift; for stretches of other pixels.

    Examples
    --------
    >>> figure = shifts(np.linspace(-0.5, 0.5, 20).reshape(4, 5))
    >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
    ['Energy shift (channels)', 'In scan order']
    """
    fields = {"Energy shift (channels)": np.asarray(values, dtype=float)}
    if stretches is not None:
        fields["Stretch of the axis (%)"] = 100 * np.asarray(stretches, dtype=float)
    first, last = next(iter(fields.values())), list(fields.values())[-1]
    if not np.isfinite(first).any():
        raise ValueError("there is no finite shift to draw; give one number of channels a pixel")
    if first.shape != last.shape:
        raise ValueError(
            f"stretches of shape {last.shape} do not fit shifts of shape {first.shape}; give one for each pixel"
        )
    flat, reduction = drawing.flatten_domain(first)
    space = Space.of(flat, pixel_size, pixel_units, scale=1.35)
    line, names = first.ndim < 2, " and ".join(name.split(" (")[0] for name in fields)
    figure = page.blank_figure(
        space.width + (0.6 if line else 4.2),
        max(space.height + 0.6, 2.6) * len(fields),
        f"{names} of every pixel{'' if line else ', and in scan order'}",
    )
    widths = [space.width + 0.4] if line else [space.width + 0.4, 3.6]
    grid = figure.add_gridspec(len(fields), len(widths), width_ratios=widths)
    for row, (name, field) in enumerate(fields.items()):
        _draw_map(figure.add_subplot(grid[row, 0]), field, name, space)
        if not line:
            _draw_course(figure.add_subplot(grid[row, 1]), field)
    page.title(figure, title, [reduction, space.note])
    return figure


def _draw_map(axes: Axes, field: np.ndarray, name: str, space: Space) -> None:
    """Draw one field over the pixels."""
    space.draw(axes, drawing.flatten_domain(field)[0], page.INK, "", None)
    if not space.is_image:
        _mark_zero(axes)
    page.head(axes, name)
    label_below(axes, space.position_text, True)
    space.draw_scale_bar(axes)


def _draw_course(axes: Axes, field: np.ndarray) -> None:
    """Draw one field in the order of the scan."""
    drawing.draw_profile(axes, field.ravel())
    _mark_zero(axes)
    axes.set_xlabel("pixel, in the order of the scan", fontsize=page.NORMAL)
    page.quiet_axes(axes)
    page.head(axes, "In scan order")


def _mark_zero(axes: Axes) -> None:
    """Draw a line at zero, and label round numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.axhline(0.0, color=page.FAINT, linewidth=0.6, zorder=0)
