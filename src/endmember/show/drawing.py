"""Drawing into one panel: a map with its colour bar and scale bar, a profile, a spectrum."""

import numpy as np
from numpy.typing import ArrayLike

from endmember.show.page import (
    GREY,
    INK,
    NORMAL,
    SMALL,
    Axes,
    AxesImage,
    Line2D,
    quiet_axes,
    readable_units,
)

_PERCEPTUAL, _DIVERGING = "viridis", "RdBu_r"
_FLATTEST, _TALLEST = 0.3, 3.5  # drawn height / width of a map; beyond, its pixels are stretched
_DENSE = 1000  # values in a panel; beyond, a thinner line
_LOW_PANEL = 0.85  # inches: a lower map has no room inside for a scale bar


def flatten_domain(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Reduce a map of any domain to what paper can show: a profile or an image.

    Parameters
    ----------
    values : array (*domain)
        Domain of any dimension; NaN where left out.

    Returns
    -------
    array (n,) or (ny, nx)
        The map itself up to two dimensions; one pixel for a single number; from three dimensions
        on the mean over the leading axes, without the left-out values.
    str
        What was done, empty if nothing.

    Examples
    --------
    >>> flatten_domain(np.arange(8.0).reshape(2, 2, 2))[0]
    array([[2., 3.],
           [4., 5.]])
    """
    if values.ndim < 3:
        return np.atleast_1d(values), ""
    leading = tuple(range(values.ndim - 2))
    counted = np.ma.masked_invalid(values).mean(axis=leading)
    shape = " × ".join(str(n) for n in values.shape[:-2])
    axes = "axis" if len(leading) == 1 else f"{len(leading)} axes"
    note = f"maps: mean over the {shape} positions of the leading {axes}"
    return np.ma.filled(counted, np.nan), note


def map_proportions(shape: tuple[int, int], steps: np.ndarray) -> tuple[float, float]:
    """Height over width of a map as drawn, and how much its pixels are stretched for it.

    A map of a few rows drawn to scale would be a ribbon too thin to read; its rows are then
    drawn higher, which leaves horizontal distances, and so the scale bar, true.

    Parameters
    ----------
    shape : (ny, nx)
        Rows and columns.
    steps : array (2,)
        Row and column spacing; taken as equal unless both are known.

    Returns
    -------
    ratio : float
        Drawn height over drawn width, between 0.3 and 3.5.
    stretch : float
        Vertical over horizontal magnification: 1 if drawn to scale.

    Examples
    --------
    >>> map_proportions((48, 48), np.array([2.0, 2.0]))
    (1.0, 1.0)
    >>> ratio, stretch = map_proportions((2, 20), np.array([np.nan, np.nan]))
    >>> ratio, round(stretch, 9)
    (0.3, 3.0)
    """
    pixel = steps[0] / steps[1] if np.all(np.isfinite(steps)) else 1.0
    true_ratio = float(shape[0] * pixel / shape[1])
    ratio = float(np.clip(true_ratio, _FLATTEST, _TALLEST))
    return ratio, ratio / true_ratio


def draw_map(
    axes: Axes,
    values: ArrayLike,
    steps: np.ndarray | None = None,
    *,
    label: str = "",
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """Draw an image of values in data orientation, with a small colour bar.

    Row 0 is on top, columns run to the right, NaN stays blank. Colours run from zero to the
    maximum; values of both signs get diverging colours, symmetrical about white at zero.

    Parameters
    ----------
    axes : Axes
        The panel.
    values : array (ny, nx)
        The map; NaN where left out.
    steps : array (2,), optional
        Row and column spacing, for pixels that are not square.
    label : str
        Written along the colour bar.
    limits : (low, high), optional
        Values of the first and last colour instead.

    Returns
    -------
    AxesImage
        Its ``get_array()`` are the values, masked where NaN.

    Examples
    --------
    >>> from endmember.show.page import blank_figure
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> draw_map(axes, [[0.0, 1.0], [2.0, np.nan]]).get_array()[1, 0].item()
    2.0
    """
    values = np.ma.masked_invalid(np.asarray(values, dtype=float))
    ratio, _ = map_proportions(values.shape, np.full(2, np.nan) if steps is None else steps)
    reach = float(np.abs(values).max()) if values.count() else 0.0
    lowest, highest = limits or (-reach if values.min() < 0 else 0.0, reach)
    image = axes.imshow(
        values,
        cmap=_DIVERGING if limits is None and lowest < 0 else _PERCEPTUAL,
        vmin=lowest,
        vmax=highest if highest > lowest else lowest + 1.0,
        aspect=ratio * values.shape[1] / values.shape[0],
        interpolation="antialiased",
    )
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set(color=GREY, linewidth=0.5)
    ticks = [lowest, highest] if highest > lowest else [lowest]
    _draw_colour_bar(axes, image, ticks, label, max(1.0, 0.8 * ratio))
    return image


def _draw_colour_bar(
    axes: Axes, image: AxesImage, ticks: list[float], label: str, widen: float
) -> None:
    """Put a colour bar as high as the map beside it, with its ends as only ticks."""
    beside = axes.inset_axes((1 + 0.04 * widen, 0.0, 0.05 * widen, 1.0))
    bar = axes.figure.colorbar(image, cax=beside)
    bar.set_ticks(ticks, labels=[f"{tick:.3g}".replace("-", "−") for tick in ticks])
    bar.ax.tick_params(labelsize=SMALL, length=0, pad=2, labelcolor=INK)
    labels = bar.ax.get_yticklabels()
    labels[0].set_verticalalignment("bottom")
    labels[-1].set_verticalalignment("top" if len(labels) > 1 else "bottom")
    bar.outline.set_visible(False)
    if label:
        bar.set_label(label, fontsize=SMALL, color=GREY, labelpad=-2)


def round_length(extent: float) -> float:
    """Pick the 1-2-5 number nearest to a fifth of an extent.

    Parameters
    ----------
    extent : float
        Width of a map, positive, in any unit.

    Returns
    -------
    float
        1, 2 or 5 times a power of ten, in the same unit; never longer than the extent.

    Examples
    --------
    >>> round_length(48.0), round_length(0.0213)
    (10.0, 0.005)
    """
    decade = np.floor(np.log10(extent / 5))
    # Through text, so that 5e-3 is the number 0.005 and not its neighbour.
    candidates = [float(f"{m}e{int(d)}") for d in (decade, decade + 1) for m in (1, 2, 5)]
    return min(candidates, key=lambda length: abs(np.log(5 * length / extent)))


def scale_bar(
    axes: Axes, n_columns: int, step: float, units: str | None, *, height: float = 2.0
) -> None:
    """Draw a scale bar of round length, about a fifth of a map's width; nothing if uncalibrated.

    Parameters
    ----------
    axes : Axes
        The panel of a map, in pixel coordinates.
    n_columns : int
        Width of the map in pixels.
    step : float
        Distance of two columns; NaN if unknown.
    units : str or None
        Units of `step`.
    height : float
        Height of the drawn map in inches; below a low map the bar stands underneath.

    Examples
    --------
    >>> from endmember.show.page import blank_figure
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> scale_bar(axes, 48, 0.5, "nm")
    >>> axes.patches[0].get_width() * 0.5, axes.texts[0].get_text()
    (5.0, '5 nm')
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    units = readable_units(units)
    if units is None or not np.isfinite(step):
        return
    length, inside = round_length(n_columns * step), height >= _LOW_PANEL
    left = -0.5 + (0.05 * n_columns if inside else 0.0)
    bottom, thickness = (0.06 if inside else -0.07 / height), 0.03 / height
    outline = [withStroke(linewidth=2.0, foreground="black")] if inside else []
    colour = "white" if inside else INK
    bar = Rectangle((left, bottom), length / step, thickness, transform=axes.get_xaxis_transform())
    bar.set(facecolor=colour, edgecolor="none", path_effects=outline, clip_on=False)
    axes.add_patch(bar)
    axes.text(
        left if inside else left + length / step + 0.02 * n_columns,
        bottom + (2.2 if inside else 0.5) * thickness,
        f"{length:g} {units}",
        transform=axes.get_xaxis_transform(),
        fontsize=NORMAL if inside else SMALL,
        fontweight="bold" if inside else "normal",
        color=colour,
        verticalalignment="bottom" if inside else "center",
        path_effects=outline,
    )


def draw_profile(
    axes: Axes, values: ArrayLike, step: float = np.nan, *, colour: str = INK
) -> Line2D:
    """Draw a map over one axis against position, or against pixel number if uncalibrated.

    Parameters
    ----------
    axes : Axes
        The panel.
    values : array (n,)
        The map; NaN makes a gap.
    step : float
        Distance of two pixels; NaN if unknown.
    colour : str
        Of the line.

    Returns
    -------
    Line2D
        With a dot for each pixel where there are few.

    Examples
    --------
    >>> from endmember.show.page import blank_figure
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> draw_profile(axes, [1.0, 3.0, 2.0], step=0.5).get_xdata()
    array([0. , 0.5, 1. ])
    """
    values = np.asarray(values, dtype=float)
    step = step if np.isfinite(step) else 1
    position = np.arange(values.size) * step
    line = draw_spectrum(axes, position, values, colour=colour, dots=values.size <= 60)
    axes.set_xlim(-0.5 * step, (values.size - 0.5) * step)
    if step == 1:
        axes.locator_params("x", nbins=6, steps=None, integer=True, min_n_ticks=1)
    return line


def draw_spectrum(
    axes: Axes,
    energy: ArrayLike,
    spectrum: ArrayLike,
    *,
    colour: str = INK,
    dots: bool = False,
    label: str = "",
) -> Line2D:
    """Draw intensity against energy from zero up, or about a zero line if there are negatives.

    Parameters
    ----------
    axes : Axes
        The panel.
    energy : array (channels,)
        Increasing or decreasing; the axis spans it exactly.
    spectrum : array (channels,)
        NaN or infinite values make gaps.
    colour : str
        Of the line.
    dots : bool
        Mark every value.
    label : str
        For a legend.

    Returns
    -------
    Line2D
        Its data are `energy` and `spectrum`.

    Examples
    --------
    >>> from endmember.show.page import blank_figure
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> draw_spectrum(axes, [5.0, 6.0, 7.0], [1.0, np.nan, 2.0]).get_ydata()
    array([ 1., nan,  2.])
    """
    energy, spectrum = np.asarray(energy, dtype=float), np.asarray(spectrum, dtype=float)
    spectrum = np.where(np.isfinite(spectrum), spectrum, np.nan)
    # A value between two gaps has no line to either side and shows only as a dot.
    known = np.pad(np.isfinite(spectrum), 1)
    lonely = known[1:-1] & ~known[:-2] & ~known[2:]
    width = 1.0 if energy.size <= _DENSE else 0.6
    (line,) = axes.plot(energy, spectrum, color=colour, linewidth=width, label=label)
    if dots or lonely.any():
        line.set(marker="o", markersize=2.5, markevery=None if dots else lonely)
    if energy.size > 1:
        axes.set_xlim(energy.min(), energy.max())
    low, high = _padded_range(line_values(axes))
    axes.set_ylim(low, high)
    if low < 0 and not any(other.get_gid() == "zero" for other in axes.lines):
        axes.axhline(0, color=GREY, linewidth=0.5, zorder=0.5, gid="zero")
    axes.locator_params("y", nbins=3, steps=None)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5), useMathText=True)
    axes.yaxis.get_offset_text().set(fontsize=SMALL, color=GREY)
    quiet_axes(axes)
    return line


def line_values(axes: Axes) -> np.ndarray:
    """All finite values of the lines in a panel.

    Parameters
    ----------
    axes : Axes
        The panel.

    Returns
    -------
    array (n,)
        Ordinates, without helper lines.

    Examples
    --------
    >>> from endmember.show.page import blank_figure
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> _ = axes.plot([1, 2, 3], [4.0, np.nan, 6.0])
    >>> line_values(axes)
    array([4., 6.])
    """
    drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines if line.get_gid() is None]
    values = np.concatenate([np.empty(0), *drawn])
    return values[np.isfinite(values)]


def _padded_range(values: np.ndarray) -> tuple[float, float]:
    """Limits that hold zero and all values, with a little air on the sides that have data."""
    low, high = min(0.0, values.min(initial=0.0)), max(0.0, values.max(initial=0.0))
    span = high - low or 1.0
    return (low - 0.05 * span if low < 0 else 0.0), high + 0.05 * span
