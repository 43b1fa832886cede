"""Pictures of what only some answers have: relevance, a drift, the modes of a series, several detectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from endmember.errors import refuse_if
from endmember.show import drawing, page
from endmember.show.contents import Components
from endmember.show.space import Space, label_below


def relevance(levels: Any, *, kept: int | None = None) -> page.Figure:
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
    advice = "give an array, or a model fitted with em.Relevance()"
    values = page.numbers(levels, "levels must be numbers", advice)
    refuse_if(
        values.size == 0 or not (np.isfinite(values) & (values > 0)).all(),
        "levels must be positive numbers, one for each component",
    )
    kept = len(values) if kept is None else int(kept)
    refuse_if(
        not 0 < kept <= len(values),
        f"kept={kept} of {len(values)} components: give a number from 1 to that",
    )
    number = np.arange(1, len(values) + 1)
    figure = page.blank_figure(
        max(3.6, 0.35 * len(values) + 1.4),
        2.8,
        f"Relevance of {len(values)} components, {kept} kept",
    )
    axes = figure.add_subplot()
    axes.set_yscale("log")
    bottom, top = 0.6 * values.min(), 1.8 * values.max()
    dropped = [page.FAINT] * (len(values) - kept)
    for part, colours in ((slice(kept), page.palette(kept)), (slice(kept, None), dropped)):
        axes.plot(number[part], values[part], linestyle="none")
        axes.vlines(number[part], bottom, values[part], color=colours, linewidth=2.0)
        axes.scatter(number[part], values[part], color=colours, s=36, zorder=3)
    if dropped:
        axes.axhline(
            values[kept:].min(), color=page.GREY, linewidth=0.8, linestyle=(0, (4, 3)), gid="lowest"
        )
        page.remark(axes, "dashed: an empty map")
    axes.set_ylim(bottom, top)
    axes.set_xlim(0.4, len(values) + 0.6)
    axes.locator_params("x", nbins=10, steps=None, integer=True, min_n_ticks=1)
    axes.set_xlabel("Component", fontsize=page.NORMAL)
    axes.set_ylabel("Relevance", fontsize=page.NORMAL)
    page.quiet_axes(axes)
    page.head(axes, f"{kept} of {len(values)} kept")
    return figure


def shifts(
    values: Any,
    *,
    stretches: Any = None,
    pixel_size: Sequence[float | None] | None = None,
    pixel_units: str | Sequence[str | None] | None = None,
    title: str | None = None,
) -> page.Figure:
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
    refuse_if(
        not np.isfinite(first).any(),
        "there is no finite shift to draw; give one number of channels a pixel",
    )
    refuse_if(
        first.shape != last.shape,
        f"stretches of shape {last.shape} do not fit shifts of shape {first.shape}; give one for each pixel",
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
    grid = figure.subplots(len(fields), len(widths), squeeze=False, width_ratios=widths)
    for (name, field), (left, *course) in zip(fields.items(), grid, strict=True):
        _draw_field(left, field, name, space)
        for axes in course:
            drawing.draw_profile(axes, field.ravel())
            _mark_zero(axes)
            axes.set_xlabel("pixel, in the order of the scan", fontsize=page.NORMAL)
            page.head(axes, "In scan order")
    page.title(figure, title, [reduction, space.note])
    return figure


def _draw_field(axes: page.Axes, field: np.ndarray, name: str, space: Space) -> None:
    """Draw one field over the pixels."""
    space.draw(axes, drawing.flatten_domain(field)[0], page.INK, "", None)
    if not space.is_image:
        _mark_zero(axes)
    page.head(axes, name)
    label_below(axes, space.position_text, True)
    space.draw_scale_bar(axes)


def _mark_zero(axes: page.Axes) -> None:
    """Draw a line at zero, and label round numbers."""
    axes.locator_params("y", nbins=5, steps=[1, 2, 5, 10])
    axes.axhline(0.0, color=page.FAINT, linewidth=0.6, zorder=0)


_PROFILE = 2.4  # inches
_PROFILES_SPECTRUM = 3.6
_PROFILES_ROW = 1.5


def profiles(
    factors: Sequence[ArrayLike],
    shapes: Sequence[tuple[int, ...]] | None = None,
    *,
    labels: Sequence[str] | None = None,
    energy: ArrayLike | None = None,
    energy_label: str = "Channel",
    title: str | None = None,
) -> page.Figure:
    """Draw what every component does along every mode of a series: a row each, the spectrum last.

    Parameters
    ----------
    factors : sequence of array (size, k)
        One for every mode, the spectra last, as ``factors_`` of ``em.CP``.
    shapes : sequence of tuple of int, optional
        The axes of every mode but the last: ``(ny, nx)`` is drawn as a map. All are profiles unless given.
    labels : sequence of str, optional
        What every mode but the last is.
    energy : array (channels,), optional
    energy_label : str
        With its unit.
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the factors do not have as many columns, or the shapes do not go with them.

    Examples
    --------
    >>> figure = profiles([np.ones((3, 2)), np.ones((20, 2)), np.eye(9, 2)], [(3,), (4, 5)])
    >>> len([axes for axes in figure.axes if axes.images])
    2
    """
    arrays = [np.asarray(F, dtype=float) for F in factors]
    leading = len(arrays) - 1
    shapes = [(len(F),) for F in arrays[:-1]] if shapes is None else list(shapes)
    labels = [f"mode {mode}" for mode in range(leading)] if labels is None else list(labels)
    k, sizes = arrays[-1].shape[1], [int(np.prod(shape)) for shape in shapes]
    refuse_if(
        {F.shape[1] for F in arrays} != {k} or sizes != [len(F) for F in arrays[:-1]],
        f"factors of shapes {[F.shape for F in arrays]} and axes {shapes} do not belong together: give "
        "one array (size, k) a mode and the axes of every mode but the last",
    )
    figure = page.blank_figure(
        leading * _PROFILE + _PROFILES_SPECTRUM + 0.6,
        k * _PROFILES_ROW + 0.7,
        f"Profiles of {k} components",
    )
    widths = [_PROFILE] * leading + [_PROFILES_SPECTRUM]
    grid = figure.subplots(k, leading + 1, squeeze=False, width_ratios=widths)
    axis = np.arange(len(arrays[-1])) if energy is None else np.asarray(energy, dtype=float)
    for j, (panels, colour) in enumerate(zip(grid, page.palette(k), strict=True)):
        for panel, F, shape in zip(panels[:-1], arrays[:-1], shapes, strict=True):
            if len(shape) == 2:
                drawing.draw_map(panel, F[:, j].reshape(shape))
            else:
                drawing.draw_profile(panel, F[:, j], colour=colour)
        panels[0].set_ylabel(f"{j + 1}", rotation=0, labelpad=12, color=colour, weight="bold")
        drawing.draw_spectrum(panels[-1], axis, arrays[-1][:, j], colour=colour)
        panels[-1].tick_params(labelbottom=j == k - 1)
    for panel, label in zip(grid[0], [*labels, "spectrum"], strict=True):
        page.head(panel, label, quiet=True)
    grid[-1, -1].set_xlabel(energy_label)
    page.title(figure, title, [])
    return figure


#: Inches of a spectrum and of a bar for a single channel.
SPECTRUM_WIDTH, BAR_WIDTH = 3.4, 0.9


def detectors(answers: Sequence[Components], labels: Sequence[str]) -> page.Figure:
    """Draw the shared map of each component beside its spectrum under every detector.

    Parameters
    ----------
    answers : sequence of Components
        One a detector, with the same maps.
    labels : sequence of str
        The names of the detectors.

    Returns
    -------
    Figure
        A row for each component. A detector of one channel, such as an image, is drawn as a bar.

    Examples
    --------
    >>> maps = np.random.default_rng(0).random((8, 6, 2))
    >>> figure = detectors([Components(maps, np.eye(2, 9)), Components(maps, np.eye(2, 5))], ["a", "b"])
    >>> len(figure.axes) >= 6
    True
    """
    first = answers[0]
    k = first.spectra.shape[0]
    flat = [drawing.flatten_domain(first.maps[..., j])[0] for j in range(k)]
    space = Space.of(flat[0], first.pixel_size, first.pixel_units, 0.8)
    widths = [SPECTRUM_WIDTH if one.spectra.shape[1] > 1 else BAR_WIDTH for one in answers]
    figure = page.blank_figure(
        space.width + sum(widths) + 0.8, k * (max(space.height, 1.1) + 0.3) + 0.7,
        f"Maps of {k} components and their spectra under {len(answers)} detectors",
    )  # fmt: skip
    widths = [space.width + 0.4, *widths]
    grid = figure.subplots(k, len(widths), squeeze=False, width_ratios=widths)
    for j, ((left, *others), colour) in enumerate(zip(grid, page.palette(k), strict=True)):
        space.draw(left, flat[j], colour, "")
        page.head(left, (first.names or ())[j])
        for axes, one in zip(others, answers, strict=True):
            _draw_detector(axes, one, j, colour)
    for column, one, label in zip(grid.T[1:], answers, labels, strict=True):
        page.head(column[0], label, quiet=True)
        if one.spectra.shape[1] > 1:
            column[-1].set_xlabel(page.with_units(one.energy_label, one.energy_units))
    page.title(figure, first.title, [])
    return figure


def _draw_detector(axes: page.Axes, one: Components, j: int, colour: str) -> None:
    channels = one.spectra.shape[1]
    if channels == 1:
        axes.bar([0], [one.spectra[j, 0]], color=colour, width=0.6)
        axes.set(xticks=[], xlim=(-0.8, 0.8), ylim=(0, 1.05 * max(np.nanmax(one.spectra), 1e-300)))
        page.quiet_axes(axes)
        return
    energy = np.arange(channels) if one.energy is None else one.energy
    drawing.draw_spectrum(axes, energy, one.spectra[j], colour=colour)
