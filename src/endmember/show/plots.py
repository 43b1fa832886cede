"""Pictures of an answer: components, residual, convergence.

Each function takes either plain arrays in a small dataclass or an answer that hands one over, and
returns a Matplotlib figure made without pyplot: notebooks display it, ``savefig`` keeps it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from endmember.errors import EndmemberTypeError, refuse_if
from endmember.show import drawing, page
from endmember.show.contents import Components, Misfit
from endmember.show.space import PROFILE_HEIGHT, Space, label_below, label_into_gap

_SPECTRUM_WIDTH = 4.3  # inches
_ONE_COLUMN = 6  # components, before the rows are set in two columns


def components(
    answer: Any,
    *,
    energy: ArrayLike | None = None,
    energy_units: str | None = None,
    pixel_size: Sequence[float | None] | None = None,
    pixel_units: str | Sequence[str | None] | None = None,
    names: Sequence[str] | None = None,
) -> page.Figure:
    """Draw the map and the spectrum of each component side by side.

    Every map runs from zero to its own maximum; all spectra share the energy range. A map over one
    axis is drawn as a profile, over three or more as its mean over the leading ones.

    Parameters
    ----------
    answer : Components, fitted model, or anything with ``picture()``
        A fitted model has ``maps_`` and ``components_``; ``picture()`` returns a `Components`.
    energy, energy_units, pixel_size, pixel_units, names
        As in `Components`; they replace what the answer brings.

    Returns
    -------
    Figure
        A row for each component, in two columns from seven on.

    Raises
    ------
    TypeError
        If the answer has neither maps nor spectra.
    ValueError
        If lengths contradict each other.

    Examples
    --------
    >>> answer = Components(maps=np.random.default_rng(0).random((8, 6, 2)), spectra=np.eye(2, 9))
    >>> figure = components(answer, energy=np.linspace(95, 120, 9), energy_units="eV")
    >>> figure.axes[1].get_xlabel(), figure.axes[3].get_xlabel()
    ('', 'Energy (eV)')
    """
    picture = answer.picture() if hasattr(answer, "picture") else answer
    if hasattr(picture, "maps_") and hasattr(picture, "components_"):
        picture = Components(maps=picture.maps_, spectra=picture.components_)
    refuse_if(
        not isinstance(picture, Components),
        f"cannot draw the components of a {type(picture).__name__}: give a Components, "
        "a model after fit (maps_ and components_), or an answer whose picture() returns Components",
        kind=EndmemberTypeError,
    )
    given: dict[str, Any] = {
        "energy": energy,
        "energy_units": energy_units,
        "pixel_size": pixel_size,
        "pixel_units": pixel_units,
        "names": names,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return _draw_components(replace(picture, **given))


def residual(answer: Misfit | Any) -> page.Figure:
    """Draw where the model departs from the data: a map beside spectra.

    Left the root-mean-square residual of each pixel, in colours from its lowest to its highest
    value, since misfit shows as small differences; right the mean spectrum of the data with that
    of the model, and under them their difference. If the noise is known, the band is where noise
    alone leaves 95 % of the mean residual, ±2σ/√n for n pixels, and a mark on the map's colour bar
    is the residual that noise alone gives.

    Parameters
    ----------
    answer : Misfit, or anything with ``misfit()``
        ``misfit()`` returns a `Misfit`.

    Returns
    -------
    Figure
        Three panels.

    Raises
    ------
    TypeError
        If the answer has no misfit to give.

    Examples
    --------
    >>> flat = np.ones(9)
    >>> misfit = Misfit(np.zeros((4, 5)), 0 * flat, data_spectrum=flat, model_spectrum=flat)
    >>> len(residual(misfit).axes)
    3
    """
    misfit = answer.misfit() if hasattr(answer, "misfit") else answer
    refuse_if(
        not isinstance(misfit, Misfit),
        f"cannot draw the residual of a {type(answer).__name__}: "
        "give a Misfit, or an answer whose misfit() returns one",
        kind=EndmemberTypeError,
    )
    values, reduction = drawing.flatten_domain(misfit.map)
    space = Space.of(values, misfit.pixel_size, misfit.pixel_units, scale=1.35)
    figure = page.blank_figure(
        space.width + _SPECTRUM_WIDTH + 1.2,
        max(space.height + 0.7, 3.6),
        "Root-mean-square residual of each pixel, mean spectra of data and model, mean residual",
    )
    panels = figure.subplot_mosaic(
        [["map", "mean"], ["map", "residual"]],
        width_ratios=[space.width + 0.4, _SPECTRUM_WIDTH],
        height_ratios=[1.5, 1],
    )
    left = panels["map"]
    noise = None if misfit.noise is None else float(np.sqrt(np.nanmean(np.square(misfit.noise))))
    space.draw(left, values, page.INK, "", _limits_with(values, noise))
    page.head(left, "RMS residual")
    label_below(left, space.position_text, True)
    space.draw_scale_bar(left)
    if noise is not None:
        _mark_noise(left, noise, space.is_image)
    _draw_misfit_spectra(panels["mean"], panels["residual"], misfit)
    page.title(figure, misfit.title, [reduction, space.note])
    return figure


def convergence(
    objective: ArrayLike | Any,
    *,
    starts: Iterable[Any] | None = None,
    converged: bool | None = None,
) -> page.Figure:
    """Draw how the objective came down to its last value, sweep by sweep.

    The ordinate is the excess over the last value relative to its size, on a logarithmic axis;
    sweeps that equal the last value, as the last itself, have no point there. The final objectives
    of several starts stand as ticks at the right edge, at the bottom if no worse than the last
    value.

    Parameters
    ----------
    objective : array (sweeps,) or fitted model
        One value a sweep; a model brings its ``objective_``, ``starts_`` and ``converged_``.
    starts : sequence, optional
        Final objective of every start, on the scale of `objective`: numbers, or records with an
        ``objective``.
    converged : bool, optional
        Said in the heading if known.

    Returns
    -------
    Figure
        One panel.

    Raises
    ------
    TypeError
        If the answer is no array and has no ``objective_``.
    ValueError
        If there is no sweep to draw.

    Examples
    --------
    >>> figure = convergence([8.0, 4.0, 2.0], converged=True)
    >>> figure.axes[0].lines[0].get_ydata()
    array([ 3.,  1., nan])
    """
    if hasattr(objective, "objective_"):
        starts = getattr(objective, "starts_", None) if starts is None else starts
        converged = getattr(objective, "converged_", None) if converged is None else converged
        objective = objective.objective_
    advice = "give the values, or a model after fit"
    objective = page.numbers(objective, "objective must be a sequence of numbers", advice)
    refuse_if(
        objective.size == 0, "no sweep to draw: the objective is empty; fit with at least one sweep"
    )
    ends = [getattr(start, "objective", start) for start in ([] if starts is None else starts)]
    starts = page.numbers(ends, "starts must be a sequence of numbers", advice)
    return _draw_convergence(objective, starts, converged)


# ---- components --------------------------------------------------------------------------------


def _draw_components(picture: Components) -> page.Figure:
    """Set the rows, in one or two columns, and fill them."""
    n_components, *own = picture.spectra.shape
    patterns = Space.of(picture.spectra[0], None, None) if len(own) == 2 else None
    flat = [drawing.flatten_domain(picture.maps[..., j]) for j in range(n_components)]
    n_columns = 1 if n_components <= _ONE_COLUMN else 2
    n_rows = -(-n_components // n_columns)
    scale = 1.0 if n_columns == 1 else 0.75
    space = Space.of(flat[0][0], picture.pixel_size, picture.pixel_units, scale)
    energy, energy_text = ((), "") if patterns else _energy_axis(picture, *own)
    width = patterns.width + 0.4 if patterns else scale * _SPECTRUM_WIDTH
    # Along the colour bars.
    units = page.readable_units(picture.map_units)
    map_text = page.with_units(picture.map_label, units) if picture.map_label else units or ""
    figure = page.blank_figure(
        n_columns * (space.width + width + 1.0),
        n_rows * (max(space.height, scale * PROFILE_HEIGHT) + 0.3) + 0.7,
        f"Maps and spectra of {n_components} components: " + ", ".join(picture.names or ()),
    )
    grid = figure.add_gridspec(
        n_rows, 2 * n_columns, width_ratios=[space.width + 0.4, width] * n_columns
    )
    panels: list[tuple[page.Axes, page.Axes]] = []
    for j, colour in enumerate(page.palette(n_components)):
        row, column = j % n_rows, j // n_rows
        left = figure.add_subplot(grid[row, 2 * column])
        right = figure.add_subplot(
            grid[row, 2 * column + 1], sharex=panels[0][1] if panels else None
        )
        panels.append((left, right))
        space.draw(left, flat[j][0], colour, map_text)
        page.head(left, (picture.names or ())[j])
        if patterns:
            patterns.draw(right, picture.spectra[j], colour, "")
        else:
            drawing.draw_spectrum(right, energy, picture.spectra[j], colour=colour)
        above_gap = j == n_components - 1 and row < n_rows - 1
        for axes, text in ((left, space.position_text), (right, energy_text)):
            label_below(axes, text, row == n_rows - 1)
            if above_gap and text:
                label_into_gap(axes, text)
        if row == 0:
            page.head(right, picture.spectrum_label, quiet=True)
    space.draw_scale_bar(panels[0][0])
    page.title(figure, picture.title, [flat[0][1], space.note])
    return figure


# ---- residual ----------------------------------------------------------------------------------


def _draw_misfit_spectra(above: page.Axes, below: page.Axes, misfit: Misfit) -> None:
    """Draw mean data and model, and under them what is left."""
    if misfit.spectrum.ndim == 2:
        for axes, name, values in (
            (above, "Mean pattern", misfit.data_spectrum), (below, "Mean residual", misfit.spectrum),
        ):  # fmt: skip
            drawing.draw_map(axes, values, np.full(2, np.nan), limits=_limits_with(values, None))
            page.head(axes, name)
        return
    below.sharex(above)
    energy, energy_text = _energy_axis(misfit, misfit.spectrum.size)
    model_colour = page.palette(2)[1]
    data = drawing.draw_spectrum(
        above, energy, misfit.data_spectrum, colour=page.FAINT, label="data"
    )
    data.set_linewidth(2.8)
    drawing.draw_spectrum(above, energy, misfit.model_spectrum, colour=model_colour, label="model")
    above.legend(fontsize=page.SMALL, frameon=False)
    page.head(above, "Mean spectrum")
    label_below(above, energy_text, False)

    drawing.draw_spectrum(below, energy, misfit.spectrum, colour=page.palette(1)[0])
    if misfit.noise is not None:
        n_pixels = max(int(np.isfinite(misfit.map).sum()), 1)
        _draw_band(below, energy, 2 * np.asarray(misfit.noise) / np.sqrt(n_pixels))
    page.head(below, "Mean residual")
    label_below(below, energy_text, True)


def _draw_band(axes: page.Axes, energy: np.ndarray, half_width: np.ndarray) -> None:
    """Shade what noise alone explains, and keep it in sight."""
    axes.fill_between(energy, -half_width, half_width, color=page.FAINT, linewidth=0, zorder=0.4)
    low, high = axes.get_ylim()
    reach = 1.05 * float(np.max(half_width, initial=0.0, where=np.isfinite(half_width)))
    axes.set_ylim(min(low, -reach), max(high, reach))
    page.remark(axes, "grey: ±2σ of the noise")


def _mark_noise(axes: page.Axes, noise: float, has_colour_bar: bool) -> None:
    """Mark the residual that noise alone gives: on the colour bar, or across a profile."""
    target: Any = axes.child_axes[0] if has_colour_bar else axes
    colour = "white" if has_colour_bar else page.GREY
    target.axhline(noise, color=colour, linewidth=1.0, linestyle=(0, (2, 1)), gid="noise")
    low, high = target.get_ylim()
    target.set_ylim(low, high if has_colour_bar else max(high, 1.05 * noise))
    text = f"dashed: noise alone, {noise:.3g}"
    label: Any = axes.set_xlabel if has_colour_bar else axes.set_title
    label(text, loc="right", fontsize=page.SMALL, color=page.GREY)


def _limits_with(values: np.ndarray, noise: float | None) -> tuple[float, float]:
    """Lowest and highest value, and the noise between them: misfit shows as small differences."""
    known = np.append(values[np.isfinite(values)], [] if noise is None else noise)
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


# ---- convergence -------------------------------------------------------------------------------


def _draw_convergence(
    objective: np.ndarray, starts: np.ndarray, converged: bool | None
) -> page.Figure:
    """Draw the relative excess over the last value on a logarithmic axis."""
    figure = page.blank_figure(5.2, 3.2, f"Objective over {objective.size} sweeps")
    axes = figure.add_subplot()
    # In units of the last value; where that is zero, of the largest.
    scale = abs(objective[-1]) or np.nanmax(np.abs(objective), initial=0.0) or 1.0
    excess, excess_of_starts = (
        np.where(values > objective[-1], (values - objective[-1]) / scale, np.nan)
        for values in (objective, starts)
    )
    positive = np.concatenate([excess, excess_of_starts])
    positive = positive[np.isfinite(positive)]
    axes.plot(
        np.arange(1, objective.size + 1),
        excess,
        color=page.palette(1)[0],
        linewidth=1.2,
        marker="o",
        markersize=2 if objective.size <= 200 else 0,
    )
    axes.set_xlim(0.5, objective.size + 0.5)
    axes.locator_params("x", nbins=6, steps=None, integer=True, min_n_ticks=1)
    axes.set_xlabel("Sweep", fontsize=page.NORMAL)
    if positive.size:
        axes.set_yscale("log")
        axes.set_ylim(positive.min() / 2, positive.max() * 2)
        axes.set_ylabel("Relative excess over the last value", fontsize=page.NORMAL)
        if excess_of_starts.size:
            _draw_starts(axes, excess_of_starts)
    else:
        words = "the only sweep" if objective.size == 1 else "no sweep ended above the last value"
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, words, transform=axes.transAxes, ha="center", fontsize=page.NORMAL, color=page.GREY
        )  # fmt: skip
    page.quiet_axes(axes)
    ended = {None: "", True: "Converged after ", False: "Not converged after "}[converged]
    page.head(axes, f"{ended}{objective.size} sweep{'s' if objective.size > 1 else ''}")
    return figure


def _draw_starts(axes: page.Axes, excess: np.ndarray) -> None:
    """Draw the ends of all starts as ticks at the right edge; the best lie at the bottom."""
    axes.plot(
        np.full(excess.size, 1.0),
        np.where(np.isfinite(excess), excess, axes.get_ylim()[0]),
        transform=axes.get_yaxis_transform(),
        linestyle="none",
        marker="_",
        markersize=12,
        markeredgewidth=1.2,
        color=page.palette(2)[1],
        clip_on=False,
        gid="starts",
        label=f"ends of {excess.size} starts",
    )
    axes.legend(fontsize=page.SMALL, frameon=False, loc="upper right")


# ---- words for the axes ------------------------------------------------------------------------


def _energy_axis(answer: Components | Misfit, n_channels: int) -> tuple[np.ndarray, str]:
    """Energies with their label, or channel numbers."""
    return (
        (np.arange(n_channels, dtype=float), "Channel")
        if answer.energy is None
        else (answer.energy, page.with_units(answer.energy_label, answer.energy_units))
    )
