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
        A map or a profile, and the shifts in scan order; the same of the stretches.

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
    figure = page.blank_figure(
        space.width + 4.2,
        max(space.height + 0.6, 2.6) * len(fields),
        " and ".join(name.split(" (")[0] for name in fields) + " of every pixel, and in scan order",
    )
    grid = figure.add_gridspec(len(fields), 2, width_ratios=[space.width + 0.4, 3.6])
    for row, (name, field) in enumerate(fields.items()):
        left, right = (figure.add_subplot(grid[row, column]) for column in (0, 1))
        _draw(left, right, field, name, space)
    page.title(figure, title, [reduction, space.note])
    return figure


def _draw(left: Axes, right: Axes, field: np.ndarray, name: str, space: Space) -> None:
    """Draw one field over the pixels, and in the order of the scan."""
    from matplotlib.ticker import MaxNLocator

    space.draw(left, drawing.flatten_domain(field)[0], page.INK, "", None)
    page.head(left, name)
    label_below(left, space.position_text, True)
    space.draw_scale_bar(left)
    drawing.draw_profile(right, field.ravel())
    right.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    right.axhline(0.0, color=page.FAINT, linewidth=0.6, zorder=0)
    right.set_xlabel("pixel, in the order of the scan", fontsize=page.NORMAL)
    page.quiet_axes(right)
    page.head(right, "In scan order")
