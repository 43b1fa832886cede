"""The picture of how many components were kept, and how much each of them is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from endmember.show import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def relevance(levels: Any, *, kept: int | None = None) -> Figure:
    """Draw the relevance of every component: those kept in colour, those dropped in grey at the lowest level.

    The ordinate is logarithmic. The colours are those of `components`; the dashed line is the level of an
    empty map, the lowest there can be.

    Parameters
    ----------
    levels : array (k,) or fitted model
        The kept components first; a model brings its ``relevance_`` and ``n_components_``.
    kept : int, optional
        How many were kept; all unless given.

    Returns
    -------
    Figure
        One panel with a dot on a stem for each component.

    Raises
    ------
    TypeError
        If the answer is neither an array nor a model fitted with relevance determination.
    ValueError
        If levels are not positive, or more are kept than there are.

    References
    ----------
    Muto & Shiga, Microscopy 69 (2020) 110, Fig. 5.

    Examples
    --------
    >>> figure = relevance([8.0, 5.0, 0.1, 0.1], kept=2)
    >>> [line.get_ydata().tolist() for line in figure.axes[0].lines[:2]]
    [[8.0, 5.0], [0.1, 0.1]]
    """
    if hasattr(levels, "relevance_"):
        kept = levels.n_components_ if kept is None else kept
        levels = levels.relevance_
    values = _positive(levels)
    kept = len(values) if kept is None else int(kept)
    if not 0 < kept <= len(values):
        raise ValueError(f"kept={kept} of {len(values)} components: give a number from 1 to that")
    return _draw(values, kept)


def _positive(levels: Any) -> NDArray:
    try:
        values = np.asarray(levels, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"levels must be numbers, not {type(levels).__name__}: give an array, or a model fitted "
            "with em.Relevance()"
        ) from error
    if values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("levels must be positive numbers, one for each component")
    return values


def _draw(values: NDArray, kept: int) -> Figure:
    """Draw stems from the bottom of the panel, dots, and the line that empty maps lie on."""
    from matplotlib.ticker import MaxNLocator

    number = np.arange(1, len(values) + 1)
    figure = page.blank_figure(
        max(3.6, 0.35 * len(values) + 1.4),
        2.8,
        f"Relevance of {len(values)} components, {kept} kept",
    )
    axes = figure.add_subplot()
    axes.set_yscale("log")
    bottom, top = 0.6 * values.min(), 1.8 * values.max()
    for part, filled in ((slice(kept), True), (slice(kept, None), False)):
        colours = (
            page.palette(len(values[:kept])) if filled else [page.FAINT] * (len(values) - kept)
        )
        axes.plot(number[part], values[part], linestyle="none")
        axes.vlines(number[part], bottom, values[part], color=colours, linewidth=2.0)
        axes.scatter(number[part], values[part], color=colours, s=36, zorder=3)
    if kept < len(values):
        _draw_lowest(axes, float(values[kept:].min()))
    axes.set_ylim(bottom, top)
    axes.set_xlim(0.4, len(values) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.set_xlabel("Component", fontsize=page.NORMAL)
    axes.set_ylabel("Relevance", fontsize=page.NORMAL)
    page.quiet_axes(axes)
    page.head(axes, f"{kept} of {len(values)} kept")
    return figure


def _draw_lowest(axes: Axes, lowest: float) -> None:
    axes.axhline(lowest, color=page.GREY, linewidth=0.8, linestyle=(0, (4, 3)), gid="lowest")
    words = "dashed: an empty map"
    axes.set_title(words, loc="right", fontsize=page.SMALL, color=page.GREY, pad=4)
