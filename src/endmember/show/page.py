"""What all pictures share: the blank figure, headings, axes, units and colours.

Figures are made without pyplot, so that drawing works in threads and without a display, and no
global setting is read or changed on the way.
"""

import functools
import io
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from endmember.errors import EndmemberTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.image import AxesImage as AxesImage
    from matplotlib.lines import Line2D as Line2D
else:  # they stand in signatures alone, and Matplotlib is imported when something is drawn
    Axes = Figure = AxesImage = Line2D = Any

INK, GREY, FAINT = "#1a1a1a", "#666666", "#d0d0d0"
SMALL, NORMAL, LARGE = 7.5, 8.5, 10.5  # points
# Okabe and Ito's colours, told apart with any colour vision, without their yellow, too pale for a line; then those
# that lie furthest from all before them, for normal vision and for both kinds that confuse red and green.
_LINE_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#0000FF",
    "#002299", "#773322", "#BB44FF", "#660055", "#AABB66", "#555555", "#99CCAA",
)  # fmt: skip


def palette(n_colours: int) -> list[str]:
    """Line colours that stay distinct under colour vision deficiency.

    Parameters
    ----------
    n_colours : int
        How many are needed. After fifteen they repeat.

    Returns
    -------
    list of str
        Hexadecimal RGB.

    References
    ----------
    Okabe and Ito, Color Universal Design (2008), without the yellow.

    Examples
    --------
    >>> palette(2)
    ['#0072B2', '#D55E00']
    """
    return [_LINE_COLOURS[j % len(_LINE_COLOURS)] for j in range(n_colours)]


def blank_figure(width: float, height: float, description: str) -> Figure:
    """Make an empty figure that displays itself in a notebook.

    Parameters
    ----------
    width, height : float
        Size in inches.
    description : str
        What the picture shows, kept as the figure's label: its alternative text in the report.

    Returns
    -------
    Figure
        White, with constrained layout, unknown to pyplot; all words in it are written as they stand.

    Examples
    --------
    >>> blank_figure(4, 3, "An empty page").get_label()
    'An empty page'
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06), facecolor="white"
    )  # fmt: skip
    figure.set_label(description)
    figure.draw = functools.partial(_draw_as_it_stands, figure)  # type: ignore[method-assign]
    # Notebooks draw a plain Figure only once pyplot is loaded; this one brings its own way.
    figure._repr_png_ = functools.partial(png, figure, dpi=144)  # type: ignore[attr-defined]
    return figure


def writable(text: str) -> str:
    r"""Return a text as files and pictures take it.

    NUL is left out, and half a surrogate pair, as undecodable bytes leave it, becomes a question mark.

    Examples
    --------
    >>> writable("a\0b \udc80")
    'ab ?'
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _draw_as_it_stands(figure: Figure, renderer: Any) -> None:
    """Draw a figure with no mathematics in dollars and no NUL or the like: names and units come from foreign files.

    The numbers along an axis are Matplotlib's own and may be powers of ten.
    """
    from matplotlib import axis, text, ticker

    words: Any = {*figure.findobj(text.Text)}
    for scale in figure.findobj(axis.Axis):
        if not isinstance(scale.major.formatter, ticker.FixedFormatter | ticker.FuncFormatter):
            words -= {*scale.findobj(text.Text)} - {scale.label}
    for word in words:
        word.set(parse_math=False, text=writable(word.get_text()))
    type(figure).draw(figure, renderer)


def png(figure: Figure, dpi: float) -> bytes:
    """Draw a figure as PNG.

    Parameters
    ----------
    figure : Figure
        Any Matplotlib figure.
    dpi : float
        Dots per inch.

    Returns
    -------
    bytes
        The content of a PNG file.

    Examples
    --------
    >>> png(blank_figure(1, 1, "An empty page"), dpi=50)[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def svg(figure: Figure, dpi: float) -> str:
    """Draw a figure as SVG: lines and letters as outlines, images as pixels.

    The names within are counted from 0, so that the same figure gives the same text.

    Parameters
    ----------
    figure : Figure
        Any Matplotlib figure; its own dots per inch are those of SVG from then on.
    dpi : float
        Dots per inch of the images in it.

    Returns
    -------
    str
        A complete SVG document.

    Examples
    --------
    >>> svg(blank_figure(1, 1, "An empty page"), dpi=50)[:5]
    '<?xml'
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    figure.set_dpi(dpi)
    # What ``savefig`` would write, which draws twice where there is a layout.
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = writable(buffer.getvalue())
    for number, name in enumerate(dict.fromkeys(re.findall(r'id="(\w+?[0-9a-f]{10})"', text))):
        text = text.replace(name, f"n{number}")
    return text


def numbers(values: Any, must: str, way_out: str) -> np.ndarray:
    """Return a sequence of numbers as an array; refused by what it must be and what to give."""
    try:
        return np.asarray(values, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise EndmemberTypeError(f"{must}, not {type(values).__name__}: {way_out}") from error


def with_units(label: str, units: str | None) -> str:
    """Write a label with its units in brackets, if there are any.

    Parameters
    ----------
    label : str
        The quantity.
    units : str or None
        Its units; None, empty or ``<undefined>`` (HyperSpy's word) leave the label alone.

    Returns
    -------
    str
        The text for an axis.

    Examples
    --------
    >>> with_units("Energy", "eV"), with_units("Channel", None)
    ('Energy (eV)', 'Channel')
    """
    units = readable_units(units)
    return f"{label} ({units})" if units else label


def readable_units(units: str | None) -> str | None:
    """Spell a unit as printed, or None where there is none.

    Parameters
    ----------
    units : str or None
        As a file gives it.

    Returns
    -------
    str or None
        With µ for a leading u; None for an empty or undefined unit.

    Examples
    --------
    >>> readable_units("um"), readable_units("<undefined>")
    ('µm', None)
    """
    if units is None or not units.strip() or units.strip() == "<undefined>":
        return None
    units = units.strip()
    return "µ" + units[1:] if units in ("um", "us", "\u03bcm", "\u03bcs") else units


def quiet_axes(axes: Axes) -> None:
    """Take away what carries no data: upper and right frame lines, heavy ticks.

    Parameters
    ----------
    axes : Axes
        Changed in place.

    Examples
    --------
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> quiet_axes(axes)
    >>> axes.spines["top"].get_visible()
    False
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)
    axes.tick_params(labelsize=SMALL, color=GREY, labelcolor=INK, width=0.6, length=2.5)
    axes.tick_params(which="minor", labelsize=SMALL, width=0.4, length=1.5, color=GREY)


def head(axes: Axes, text: str, *, quiet: bool = False) -> None:
    """Write a heading over the left end of a panel.

    Parameters
    ----------
    axes : Axes
        The panel.
    text : str
        Wrapped at 34 characters unless `quiet`.
    quiet : bool
        Grey and light, for what is measured, rather than bold, for what is named.

    Examples
    --------
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> head(axes, "100_$x^$.dm3")
    >>> axes.get_title(loc="left")
    '100_$x^$.dm3'
    """
    axes.set_title(
        text if quiet else textwrap.fill(text, 34),
        loc="left",
        fontsize=SMALL if quiet else NORMAL,
        color=GREY if quiet else INK,
        fontweight="normal" if quiet else "bold",
        pad=4,
    )


def remark(axes: Axes, text: str) -> None:
    """Say in grey over the right end of a panel what a mark in it means.

    Parameters
    ----------
    axes : Axes
        The panel.
    text : str

    Examples
    --------
    >>> axes = blank_figure(2, 2, "").add_subplot()
    >>> remark(axes, "dashed: an empty map")
    >>> axes.get_title(loc="right")
    'dashed: an empty map'
    """
    axes.set_title(text, loc="right", fontsize=SMALL, color=GREY, pad=4)


def title(figure: Figure, text: str | None, notes: Sequence[str]) -> None:
    r"""Write a title over the whole picture, with notes on how it was drawn.

    Parameters
    ----------
    figure : Figure
        Left as it is if there is nothing to write.
    text : str or None
        The title.
    notes : sequence of str
        Follow the title; empty ones are left out.

    Examples
    --------
    >>> figure = blank_figure(2, 2, "")
    >>> title(figure, "diode.dm4", ["", "mean over 5 slices"])
    >>> figure.get_suptitle()
    'diode.dm4\n(mean over 5 slices)'
    """
    note = "; ".join(note for note in notes if note)
    if text and note:
        note = f"\n({note})"
    if text or note:
        figure.suptitle(
            (text or "") + note,
            x=0.01,
            horizontalalignment="left",
            fontsize=LARGE if text else SMALL,
            color=INK if text else GREY,
        )
