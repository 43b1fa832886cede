"""What the pages are made of: panels, and drawings that are updated in place. Bokeh."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE
from bokeh.events import PanStart, SelectionGeometry, Tap
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    HoverTool,
    LassoSelectTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.models.annotations.dimensional import Metric
from bokeh.models.annotations.geometry import BoxAnnotation
from bokeh.models.annotations.labels import Title
from bokeh.models.annotations.legends import ColorBar, ScaleBar
from bokeh.plotting import figure

from endmember.app.core.image import LENGTHS, Image
from endmember.app.core.regions import Region
from endmember.show.page import palette

#: Fewest screen pixels of a frame, and powers of ten that numbers on an axis are written without.
LEAST, SHORT = 60, (-2, 5)
#: Screen pixels left and right of a frame, above and below it: axes, colour bar, title.
LEFT, RIGHT, ABOVE, BELOW = 58, 92, 34, 56
#: Names in a row of a legend, and screen pixels that every further row takes.
COLUMNS, ROW = 4, 18
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: The style of a text that is not code.
PLAIN = "pre { font-family: inherit; font-size: 13px; white-space: pre-wrap; margin: 0; }"
_NOWHERE: dict[str, Any] = dict.fromkeys(("left", "right", "top", "bottom"), np.nan)


def _blank(title: str, tools: str, **more: Any) -> Any:
    """Return an empty figure."""
    plot: Any = figure(title=title, tools=tools, toolbar_location="above", **more)
    plot.toolbar.logo = None
    plot.title.text_font_size = "13px"
    return plot


def _shortened(values: Sequence[np.ndarray], quantity: str) -> tuple[float, str]:
    """Return by what to divide values so that the numbers along an axis stay short, and the quantity that says so."""
    largest = max((float(np.nanmax(np.abs(one), initial=0.0)) for one in values), default=0.0)
    power = int(np.floor(np.log10(largest))) if 0 < largest < np.inf else 0
    if SHORT[0] <= power < SHORT[1]:
        return 1.0, quantity
    power -= power % 3
    return 10.0**power, f"{quantity} × 10{str(-power).translate(_RAISED)}"


def _reach(plot: Any, x: Sequence[np.ndarray], y: Sequence[np.ndarray], log: bool) -> None:
    """Show curves whole. A zoom along x stays while x is the same, one along y while it lasts."""
    ends = _ends(x, False)
    if ends != (plot.x_range.reset_start, plot.x_range.reset_end):
        plot.x_range.update(start=ends[0], end=ends[1], reset_start=ends[0], reset_end=ends[1])
    shown, (low, high) = plot.y_range, _ends(y, log, 0.04)
    zoomed = (shown.start, shown.end) != (shown.reset_start, shown.reset_end)
    shown.update(reset_start=low, reset_end=high, **({} if zoomed else {"start": low, "end": high}))


def _ends(curves: Sequence[np.ndarray], log: bool, room: float = 0.0) -> tuple[float, float]:
    """Return between which values curves lie, with some room around."""
    values = np.concatenate([np.ravel(curve) for curve in curves]) if len(curves) else np.zeros(0)
    values = values[np.isfinite(values) & ((values > 0) | (not log))].astype(float)
    if not values.size:
        return 1.0, 10.0
    low, high = float(values.min()), float(values.max())
    if log:
        room = (high / low) ** room if high > low else 2.0
        return low / room, high * room
    room *= high - low
    return (low - room, high + room) if high > low else (low - 0.5, high + 0.5)


def _listen(plot: Any, way: Any, moved: Callable[..., None]) -> BoxAnnotation:
    """Have a box dragged on a figure, and on a picture a loop drawn or a pixel tapped.

    ``moved`` takes the ends, or the corners, along x and along y, the end first at which the drag has begun, and
    whether the mouse was let go. Returns the box.
    """
    # The box is seen once it is dragged, and can be moved then.
    box = BoxAnnotation(
        **_NOWHERE, syncable=False, level="overlay", visible=False, editable=True, fill_alpha=0.12,
        fill_color="#D55E00", line_color="#D55E00", line_alpha=1.0, line_dash="dotted",
    )  # fmt: skip
    tool = BoxSelectTool(
        dimensions=way, continuous=True, persistent=True, overlay=box, renderers=[]
    )
    plot.add_tools(tool)
    plot.toolbar.active_drag = tool

    begun = {"x": 0.0, "y": 0.0}

    def select(event: Any) -> None:
        drawn = getattr(event, "geometry", None) or {"x": [event.x] * 2, "y": [event.y] * 2}
        x, y = (
            drawn.get(w) or sorted((drawn[f"{w}0"], drawn[f"{w}1"]), key=lambda end: abs(end - at))
            for w, at in begun.items()
        )
        moved(x, y, getattr(event, "final", True))

    plot.on_event(SelectionGeometry, select)
    if way == "both":
        plot.add_tools(LassoSelectTool(renderers=[]))
        plot.on_event(Tap, select)
        plot.on_event(PanStart, lambda event: begun.update(x=event.x, y=event.y))

    return box


def cleared(box: BoxAnnotation, **more: Any) -> None:
    """Take away a box that was dragged, and say how the next one is."""
    # The browser has made it visible without saying so: only a change reaches it.
    box.visible = True
    box.update(visible=False, **_NOWHERE, **more)


class _PixelPlot:
    """A picture over the pixels of an image, rows downwards, in ``pane``."""

    def __init__(self, title: str, width: int, height: int, drag: Any = None) -> None:
        self.figure = _blank(
            title, "pan,wheel_zoom,save,reset", width_policy="fixed", height_policy="fixed",
            min_border_left=LEFT, min_border_right=RIGHT, min_border_top=ABOVE, min_border_bottom=BELOW,
            frame_align=False,  # else it moves where curves beside it get a legend
            x_range=Range1d(start=0, end=1), y_range=Range1d(start=1, end=0),
        )  # fmt: skip
        self.pane, self.most = pn.pane.Bokeh(self.figure), (width, height)
        self._source = ColumnDataSource({name: [] for name in ("image", "x", "y", "dw", "dh")})
        self._marked = ColumnDataSource(
            {"xs": [], "ys": [], "x": [], "y": [], "name": [], "colour": []}
        )
        colours: Any = {
            "fill_color": "colour",
            "line_color": "colour",
            "source": self._marked,
            "level": "annotation",
        }
        self.figure.patches("xs", "ys", fill_alpha=0.12, line_width=2, **colours)
        self.figure.text(
            "x", "y", "name", text_color="colour", text_font_size="12px", text_baseline="top", x_offset=4, y_offset=4,
            background_fill_color="white", background_fill_alpha=0.7, source=self._marked, level="annotation",
        )  # fmt: skip
        self.box: Any = drag and _listen(self.figure, "both", drag)

    def mark(self, regions: Sequence[Region], data: Image) -> None:
        """Outline regions of an image, with their names."""
        x, y = (
            [
                np.interp(np.array(one.outline)[:, way], np.arange(len(side.edges)), side.edges)
                for one in regions
            ]
            for way, side in enumerate(data.sides)
        )
        self._marked.data = {
            "xs": x, "ys": y, "x": [one[0] for one in x], "y": [one[0] for one in y],
            "name": [one.name for one in regions], "colour": [one.colour for one in regions],
        }  # fmt: skip

    def _place(self, data: Image) -> None:
        """Give the frame the shape of the image, in which a unit is as long either way; a zoom stays with the sides."""
        sides, plot = data.sides, self.figure
        spans = np.array([np.ptp(side.edges) for side in sides])
        lengths = spans if sides[0].units == sides[1].units else np.array(data.shape[1::-1])
        scale = min(self.most / lengths)
        frame = np.maximum(np.round(scale * lengths), LEAST)
        room = (
            (frame / (scale * lengths) - 1) / 2 * spans
        )  # beside an image that is too narrow for a frame
        size = (int(frame[0]), int(frame[1]))
        plot.update(
            frame_width=size[0], frame_height=size[1],
            width=LEFT + size[0] + RIGHT, height=ABOVE + size[1] + BELOW,
        )  # fmt: skip
        plot.xaxis.axis_label, plot.yaxis.axis_label = (side.label for side in sides)
        for side, extra, shown in zip(sides, room, (plot.x_range, plot.y_range), strict=True):
            extra *= 1 if side.rising else -1
            ends = (float(side.edges[0] - extra), float(side.edges[-1] + extra))
            start, end = ends if shown is plot.x_range else ends[::-1]
            if (start, end) != (shown.reset_start, shown.reset_end):
                shown.update(start=start, end=end, reset_start=start, reset_end=end)
        self._where = {
            name: [float(value)]
            for name, value in zip(
                ("x", "y", "dw", "dh"), (*(side.edges.min() for side in sides), *spans), strict=True
            )
        }

    def _draw(self, image: np.ndarray, data: Image) -> None:
        across, down = (slice(None, None, 1 if side.rising else -1) for side in data.sides)
        self._source.data = {"image": [np.ascontiguousarray(image[down, across])], **self._where}


class MapPlot(_PixelPlot):
    """One map; a box may be dragged on it.

    Parameters
    ----------
    title : str
    width, height : int
        Most of its frame in screen pixels.
    drag : callable, optional
        Called with the ends, or the corners, of what is drawn along both sides, and whether it was let go.
    colours : str
        A palette of Bokeh.
    """

    def __init__(
        self, title: str, width: int = 250, height: int = 220,
        drag: Any = None, colours: str = "Viridis256",
    ) -> None:  # fmt: skip
        super().__init__(title, width, height, drag)
        self._mapper = LinearColorMapper(palette=colours, nan_color="#d0d0d0")
        self.figure.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self._source, color_mapper=self._mapper
        )
        self._quantity = Title(align="center", text_font_size="11px", text_font_style="italic")
        # All models are made at once: what is added later may be asked for before it has arrived.
        self._scale = ScaleBar(
            range=self.figure.x_range, unit="nm", dimensional=Metric(base_unit="m"),
            location="bottom_left", background_fill_alpha=0.6, visible=False,
        )  # fmt: skip
        for part, place in (
            (ColorBar(color_mapper=self._mapper, width=10, padding=2), "right"),
            (self._quantity, "right"),
            (self._scale, "center"),
        ):
            self.figure.add_layout(part, place)

    def show(
        self, values: np.ndarray, data: Image, title: str, quantity: str,
        colours: Sequence[str] = ("#444444",),
    ) -> None:  # fmt: skip
        """Draw a map of an image, with its scale bar; one of fewer pixels is stretched over it."""
        self.figure.title.update(text=title, text_color=colours[0])
        self._place(data)
        units = data.sides[0].units
        self._scale.update(visible=units in LENGTHS, unit=units if units in LENGTHS else "nm")
        seen = values[np.isfinite(values)]
        scale, self._quantity.text = _shortened([seen], quantity)
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        self._mapper.update(low=low / scale, high=(high if high > low else low + 1.0) / scale)
        self._draw((values / scale).astype(np.float32), data)


class OverlayPlot(_PixelPlot):
    """All maps in one picture, each in the colour of its spectrum."""

    def __init__(self, drag: Any, width: int = 320, height: int = 300) -> None:
        super().__init__("All maps together", width, height, drag)
        self.figure.image_rgba("image", x="x", y="y", dw="dw", dh="dh", source=self._source)

    def show(
        self, maps: np.ndarray, data: Image, title: Any, quantity: str, colours: Sequence[str]
    ) -> None:  # fmt: skip
        """Draw maps (rows, columns, k) of an image, each scaled to its largest value; colours mix on white."""
        self._place(data)
        ny, nx, _ = maps.shape
        strength = np.nan_to_num(np.asarray(maps, dtype=float))
        strength = np.clip(strength / np.maximum(strength.max(axis=(0, 1)), 1e-300), 0, 1)
        inks = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]) / 255
        share = strength / np.maximum(strength.sum(axis=-1, keepdims=True), 1e-300)
        light = 1.0 - strength.max(axis=-1, keepdims=True) * (1.0 - share @ inks)
        rgba = np.full((ny, nx, 4), 255, dtype=np.uint8)
        rgba[..., :3] = np.round(255 * light)
        self._draw(rgba.view(np.uint32).reshape(ny, nx), data)


class SpectrumPlot:
    """Curves over energy or position, with bands where they are given; a window may be dragged.

    Parameters
    ----------
    title : str
    drag : callable, optional
        Called with ``(low, high)`` in the unit of the axis while a window is dragged, and whether it was let go.
    log : bool
        Whether intensities are drawn on a logarithmic axis; it is made for one or the other.
    dots : bool
        Whether the first curve has a dot at every value.
    """

    def __init__(
        self, title: str, width: int = 420, height: int = 360,
        drag: Callable[[tuple[float, float], bool], None] | None = None, log: bool = False, dots: bool = False,
    ) -> None:  # fmt: skip
        x, y = (Range1d(1, 10, reset_start=1, reset_end=10) for _ in range(2))
        self.figure = _blank(
            title, "pan,wheel_zoom,box_zoom,save,reset", height=height, min_width=width, sizing_mode="stretch_width",
            y_axis_type="log" if log else "linear", x_range=x, y_range=y,
        )  # fmt: skip
        self._log, self._height = log, height
        self._lines = ColumnDataSource({"x": [], "y": [], "colour": [], "name": []})
        self._bands = ColumnDataSource({"x": [], "y": [], "colour": []})
        self._dots = ColumnDataSource({"x": [], "y": []}) if dots else None
        if self._dots:
            self.figure.scatter("x", "y", source=self._dots, color=palette(1)[0], size=5)
        self.figure.patches("x", "y", source=self._bands, color="colour", alpha=0.25, line_width=0)
        drawn = self.figure.multi_line(
            "x", "y", source=self._lines, color="colour", line_width=1.6, legend_field="name"
        )
        self.figure.add_tools(
            HoverTool(renderers=[drawn], tooltips=[("", "@name"), ("at", "$x{0.00}")])
        )
        # Above the curves, where it hides none of them.
        legend = self.figure.legend[0]
        legend.update(
            ncols=COLUMNS, label_text_font_size="11px", border_line_alpha=0, padding=2, margin=0
        )
        self.figure.add_layout(legend, "above")
        self.box: Any = drag and _listen(self.figure, "width", lambda x, y, final: drag(x, final))

    def show(
        self, energy: np.ndarray | list[np.ndarray], spectra: Sequence[np.ndarray], names: Sequence[str], label: str,
        quantity: str = "Intensity", bands: Sequence[tuple[np.ndarray, np.ndarray]] = (),
        colours: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Draw spectra, each (channels,), with their names.

        ``energy`` is that of all, or a list with one of each; ``bands`` are pairs (low, high).
        """
        energies = energy if isinstance(energy, list) else [energy] * len(spectra)
        colours = list(colours or palette(max(1, len(spectra))))
        scale, words = (1.0, quantity) if self._log else _shortened(spectra, quantity)
        shown = [np.asarray(s, dtype=float) / scale for s in spectra]
        bands = [(low / scale, high / scale) for low, high in bands]
        if self._log:
            shown = [np.where(s > 0, s, np.nan) for s in shown]
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = label, words
        room = 0.5 if self._dots else 0.0
        ends = [one + side for one in energies for side in (-room, room)]
        _reach(self.figure, ends, [*shown, *(edge for band in bands for edge in band)], self._log)
        self.figure.legend[0].visible = len(shown) > 1
        self.figure.height = self._height + ROW * ((len(shown) - 1) // COLUMNS)
        self._bands.data = {
            "x": [np.concatenate([e, e[::-1]]) for e, _ in zip(energies, bands, strict=False)],
            "y": [np.nan_to_num(np.concatenate([low, high[::-1]])) for low, high in bands],
            "colour": colours[: len(bands)],
        }
        if self._dots:
            self._dots.data = {"x": energies[0], "y": shown[0]}
        self._lines.data = {
            "x": energies, "y": shown, "colour": colours[: len(shown)], "name": list(names)
        }  # fmt: skip


class LinePlot:
    """What a map is where the pixels lie on a line: values over the position; a stretch of it may be dragged.

    Parameters
    ----------
    width, height : int
    drag : callable, optional
        As that of a :class:`MapPlot`.
    """

    def __init__(self, width: int = 300, height: int = 280, drag: Any = None) -> None:
        self.most = (width, height)
        # The other side has one pixel, whatever ends it is given.
        self._plot = SpectrumPlot(
            "", width, height, drag and (lambda ends, final: drag(ends, ends, final))
        )
        self.pane, self.box = wide(self._plot), self._plot.box

    def mark(self, regions: Sequence[Region], data: Image) -> None:
        """Outline nothing: regions of a line are told by their curves."""

    def show(
        self, values: np.ndarray, data: Image, title: str | Sequence[str], quantity: str,
        colours: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Draw values (rows, columns) or (rows, columns, k), with one title or k."""
        side, names = data.sides[data.shape[1] == 1], [title] if isinstance(title, str) else title
        curves = list(values.reshape(len(side.centres), -1).T)
        self._plot.show(side.centres, curves, names, side.label, quantity, colours=colours)
        self._plot.figure.title.text = names[0] if len(names) == 1 else "Along the line"


def map_plot(
    data: Image, width: int = 190, height: int = 200, drag: Any = None, **more: Any
) -> MapPlot | LinePlot:
    """Return what draws values over the pixels of data."""
    return (
        LinePlot(width, height, drag) if data.is_line else MapPlot("", width, height, drag, **more)
    )


class Tick(pn.widgets.CheckBoxGroup):
    """A box to tick whose words can be clicked, and are its name to a screen reader; Panel's own stands beside them."""

    def __init__(self, label: str, **params: Any) -> None:
        super().__init__(**{"options": {label: True}, "value": [], **params})

    @property
    def on(self) -> bool:
        """Whether it is ticked."""
        return bool(self.value)


def wrapped(*parts: Any, **more: Any) -> pn.Row:
    """Return a row that goes on below where the page is too narrow for it."""
    # Fixed, or Panel would have it as wide at least as all its parts beside each other; the style says how wide.
    silence(FIXED_SIZING_MODE)
    return pn.Row(
        *parts, sizing_mode="fixed", styles={"flex-wrap": "wrap", "width": "100%"}, **more
    )


def wide(plot: SpectrumPlot, **styles: str) -> pn.pane.Bokeh:
    """Return curves as a part of a row that takes the room that the others leave, or a row of its own."""
    least = plot.figure.min_width
    styles = {"flex": f"1 1 {least}px", **styles}
    plot.figure.styles = styles  # Panel hands on those of another figure alone
    return pn.pane.Bokeh(plot.figure, sizing_mode="stretch_width", min_width=least, styles=styles)
