"""The picture of an energy axis that drifts: by how much each pixel is shifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from endmember.show import drawing, page
from endmember.show.space import Space, label_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shifts(
    values: Any,
    *,
    pixel_size: Sequence[float | None] | None = None,
    pixel_units: str | Sequence[str | None] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the energy shift of every pixel, and how it runs in the order of the scan.

    Parameters
    ----------
    values : array (*domain)
        In channels, positive = moved to higher energy; NaN where left out.
    pixel_size, pixel_units
        As in `Components`.
    title : str, optional
        Over the whole picture.

    Returns
    -------
    Figure
        A map or a profile, and the shifts in scan order.

    Raises
    ------
    ValueError
        Without any finite shift.

    Examples
    --------
    >>> figure = shifts(np.linspace(-0.5, 0.5, 20).reshape(4, 5))
    >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
    ['Energy shift (channels)', 'In scan order']
    """
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).any():
        raise ValueError("there is no finite shift to draw; give one number of channels a pixel")
    flat, reduction = drawing.flatten_domain(values)
    space = Space.of(flat, pixel_size, pixel_units, scale=1.35)
    figure = page.blank_figure(
        space.width + 4.2,
        max(space.height + 0.6, 2.6),
        "Energy shift of every pixel, and in scan order",
    )
    grid = figure.add_gridspec(1, 2, width_ratios=[space.width + 0.4, 3.6])
    left, right = (figure.add_subplot(grid[0, column]) for column in (0, 1))
    space.draw(left, flat, page.INK, "", None)
    page.head(left, "Energy shift (channels)")
    label_below(left, space.position_text, True)
    space.draw_scale_bar(left)
    drawing.draw_profile(right, values.ravel())
    right.axhline(0.0, color=page.FAINT, linewidth=0.6, zorder=0)
    right.set_xlabel("pixel, in the order of the scan", fontsize=page.NORMAL)
    page.quiet_axes(right)
    page.head(right, "In scan order")
    page.title(figure, title, [reduction, space.note])
    return figure
