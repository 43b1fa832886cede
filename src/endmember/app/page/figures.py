"""What the pages are made of: panels, and drawings that are updated in place. Bokeh."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    Range1d,
)
from bokeh.models.annotations.dimensional import Metric
from bokeh.models.annotations.geometry import BoxAnnotation
from bokeh.models.annotations.legends import ColorBar, ScaleBar
from bokeh.plotting import figure

from endmember.app.core.image import Image
from endmember.show.page import palette

#: Units that a scale bar can count in.
_LENGTHS = {"nm": "nm", "µm": "µm", "um": "µm", "μm": "µm", "pm": "pm", "mm": "mm", "m": "m"}
#: The style of a text that is not code.
PLAIN = "pre { font-family: inherit; font-size: 13px; white-space: pre-wrap; margin: 0; }"
_NOWHERE: dict[str, Any] = dict.fromkeys(("left", "right", "top", "bottom"), np.nan)


def _blank(title: str, width: int, height: int, tools: str, wide: bool = False, **more: Any) -> Any:
    """Return an empty figure; a wide one takes the room that its row leaves."""
    if wide:
        more = {"sizing_mode": "stretch_width", "min_width": width, **more}
    plot: Any = figure(
        title=title, width=width, height=height, tools=tools, toolbar_location="above", **more
    )
    plot.toolbar.logo = None
    plot.title.text_font_size = "13px"
    return plot


def _unset() -> Range1d:
    return Range1d(start=1.0, end=10.0, reset_start=1.0, reset_end=10.0)


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


def _listen(plot: Any, dimensions: Any, moved: Callable[[dict[str, float], bool], None]) -> Any:
    """Have a box dragged on a figure; returns what takes it away."""
    # The box is seen once it is dragged, and can be moved then.
    box = BoxAnnotation(
        **_NOWHERE, syncable=False, level="overlay", visible=False, editable=True, fill_alpha=0.12,
        fill_color="#D55E00", line_color="#D55E00", line_width=2, line_alpha=1.0,
    )  # fmt: skip
    tool = BoxSelectTool(dimensions=dimensions, continuous=True, persistent=True, overlay=box)
    plot.add_tools(tool)
    plot.toolbar.active_drag = tool
    plot.on_event(SelectionGeometry, lambda event: moved(event.geometry, event.final))

    def clear() -> None:
        # The browser has made it visible without saying so: only a change reaches it.
        box.visible = True
        box.update(visible=False, **_NOWHERE)

    return clear


class Panel:
    """What one tab of a page holds, in ``layout``.

    Parameters
    ----------
    page : Page
        The page that it stands on.
    """

    title: str
    layout: Any

    def __init__(self, page: Any) -> None:
        self._page = page

    def data_changed(self) -> None:
        """Take note that other data are looked at."""

    def runs_changed(self) -> None:
        """Take note of another run."""


class _PixelPlot:
    """A picture over the pixels of an image, rows downwards."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.figure = _blank(
            title, width, height, "pan,wheel_zoom,save,reset", match_aspect=True,
            x_range=Range1d(start=0, end=1), y_range=Range1d(start=1, end=0),
        )  # fmt: skip
        self._pixel = self._width = self._height = 1.0
        self._source = ColumnDataSource({"image": [], "dw": [], "dh": []})

    def _place(self, data: Image) -> str:
        """Set the size of the image and of its pixels, and return their unit; a zoom stays as long as the size."""
        self._pixel, units = data.pixel
        height, width = data.shape[0] * self._pixel, data.shape[1] * self._pixel
        if (self._width, self._height) != (width, height):
            self.figure.x_range.update(start=0, end=width, reset_start=0, reset_end=width)
            self.figure.y_range.update(start=height, end=0, reset_start=height, reset_end=0)
        self._width, self._height = width, height
        for axis, name in ((self.figure.xaxis, "x"), (self.figure.yaxis, "y")):
            axis.axis_label = f"{name} ({units or 'pixels'})"
        return units

    def _draw(self, image: np.ndarray) -> None:
        self._source.data = {"image": [image], "dw": [self._width], "dh": [self._height]}


class MapPlot(_PixelPlot):
    """One map; a box may be dragged on it.

    Parameters
    ----------
    title : str
    width, height : int
        In screen pixels.
    drag : callable, optional
        Called with ``(x0, x1), (y0, y1)`` in pixels of the map while a box is dragged, and whether it was let go.
    colours : str
        A palette of Bokeh.
    log : bool
        Whether it can be drawn with logarithmic intensities.
    """

    def __init__(
        self, title: str, width: int = 380, height: int = 380,
        drag: Callable[[tuple[float, float], tuple[float, float], bool], None] | None = None,
        colours: str = "Viridis256", log: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(title, width, height)
        self._mappers = [LinearColorMapper(palette=colours, nan_color="#d0d0d0")]
        if log:
            self._mappers.append(
                LogColorMapper(palette=colours, nan_color="#d0d0d0", low=1, high=10)
            )
        # An image for every scale, one of them seen: a drawn image does not follow a change of its mapper.
        self._images = [
            self.figure.image(
                "image", x=0, y=0, dw="dw", dh="dh", source=self._source, color_mapper=mapper
            )
            for mapper in self._mappers
        ]
        self._bar = ColorBar(color_mapper=self._mappers[0], width=10, padding=2)
        self.figure.add_layout(self._bar, "right")
        # All models are made at once: what is added later may be asked for before it has arrived.
        self._scale = ScaleBar(
            range=self.figure.x_range, unit="nm", dimensional=Metric(base_unit="m"),
            location="bottom_left", background_fill_alpha=0.6, visible=False,
        )  # fmt: skip
        self.figure.add_layout(self._scale)
        if drag is not None:

            def moved(box: dict[str, float], final: bool) -> None:
                p = self._pixel
                drag((box["x0"] / p, box["x1"] / p), (box["y0"] / p, box["y1"] / p), final)

            self.clear = _listen(self.figure, "both", moved)

    def show(
        self, values: np.ndarray, data: Image, title: str | None = None, log: bool = False
    ) -> None:
        """Draw a map of an image, with its scale bar; one of fewer pixels is stretched over it."""
        units = self._place(data)
        self._scale.update(visible=units in _LENGTHS, unit=_LENGTHS.get(units, "nm"))
        values = np.ascontiguousarray(values, dtype=np.float32)
        seen = values[np.isfinite(values) & ((values > 0) | (not log))]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (float(log), 1.0)
        mapper = self._bar.color_mapper = self._mappers[log]
        mapper.update(low=low, high=high if high > low else low + 1.0)
        for image, own in zip(self._images, self._mappers, strict=True):
            image.visible = own is mapper
        self._draw(values)
        if title is not None:
            self.figure.title.text = title


class OverlayPlot(_PixelPlot):
    """All maps in one picture, each in the colour of its spectrum."""

    def __init__(self, title: str, width: int = 380, height: int = 380) -> None:
        super().__init__(title, width, height)
        self.figure.image_rgba("image", x=0, y=0, dw="dw", dh="dh", source=self._source)

    def show(self, maps: np.ndarray, data: Image) -> None:
        """Draw maps (rows, columns, k) of an image, each scaled to its largest value; colours mix on white."""
        self._place(data)
        ny, nx, k = maps.shape
        strength = np.nan_to_num(np.asarray(maps, dtype=float))
        strength = np.clip(strength / np.maximum(strength.max(axis=(0, 1)), 1e-300), 0, 1)
        inks = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in palette(k)]) / 255
        share = strength / np.maximum(strength.sum(axis=-1, keepdims=True), 1e-300)
        light = 1.0 - strength.max(axis=-1, keepdims=True) * (1.0 - share @ inks)
        rgba = np.full((ny, nx, 4), 255, dtype=np.uint8)
        rgba[..., :3] = np.round(255 * light)
        self._draw(rgba.view(np.uint32).reshape(ny, nx))


class SpectrumPlot:
    """Spectra over energy, with bands where they are given; an energy window may be dragged.

    Parameters
    ----------
    title : str
    drag : callable, optional
        Called with ``(low, high)`` in the unit of the axis while a window is dragged, and whether it was let go.
    log : bool
        Whether intensities are drawn on a logarithmic axis; it is made for one or the other.
    """

    def __init__(
        self, title: str, width: int = 640, height: int = 380,
        drag: Callable[[tuple[float, float], bool], None] | None = None, log: bool = False,
    ) -> None:  # fmt: skip
        self.figure = _blank(
            title, width, height, "pan,wheel_zoom,box_zoom,save,reset", wide=True,
            y_axis_type="log" if log else "linear", x_range=_unset(), y_range=_unset(),
        )  # fmt: skip
        self._log = log
        self._lines = ColumnDataSource({"x": [], "y": [], "colour": [], "name": []})
        self._bands = ColumnDataSource({"x": [], "y": [], "colour": []})
        self.figure.patches("x", "y", source=self._bands, color="colour", alpha=0.25, line_width=0)
        drawn = self.figure.multi_line(
            "x", "y", source=self._lines, color="colour", line_width=1.6, legend_field="name"
        )
        self.figure.add_tools(
            HoverTool(renderers=[drawn], tooltips=[("", "@name"), ("at", "$x{0.00}")])
        )
        self.figure.legend.background_fill_alpha = 0.6
        self.figure.yaxis.axis_label = "Intensity"
        if drag is not None:
            self.clear = _listen(
                self.figure, "width", lambda box, final: drag((box["x0"], box["x1"]), final)
            )

    def show(
        self, energy: np.ndarray | list[np.ndarray], spectra: Sequence[np.ndarray], names: Sequence[str], label: str,
        bands: Sequence[tuple[np.ndarray, np.ndarray]] = (), colours: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Draw spectra, each (channels,), with their names.

        ``energy`` is that of all, or a list with one of each; ``bands`` are pairs (low, high).
        """
        energies = energy if isinstance(energy, list) else [energy] * len(spectra)
        colours = list(colours or palette(max(1, len(spectra))))
        shown = [np.asarray(s, dtype=float) for s in spectra]
        if self._log:
            shown = [np.where(s > 0, s, np.nan) for s in shown]
        self.figure.xaxis.axis_label = label
        _reach(
            self.figure, energies, [*shown, *(edge for band in bands for edge in band)], self._log
        )
        self._bands.data = {
            "x": [np.concatenate([e, e[::-1]]) for e, _ in zip(energies, bands, strict=False)],
            "y": [np.nan_to_num(np.concatenate([low, high[::-1]])) for low, high in bands],
            "colour": colours[: len(bands)],
        }
        self._lines.data = {
            "x": energies, "y": shown, "colour": colours[: len(shown)], "name": list(names)
        }  # fmt: skip


class CurvePlot:
    """One curve with dots, such as a scree or the course of a fit."""

    def __init__(
        self, title: str, x: str, y: str, width: int = 640, height: int = 300, log: bool = True
    ) -> None:
        self.figure = _blank(
            title, width, height, "pan,wheel_zoom,save,reset", wide=True,
            y_axis_type="log" if log else "linear", x_axis_label=x, y_axis_label=y,
            x_range=_unset(), y_range=_unset(),
        )  # fmt: skip
        self._log = log
        self._range = BoxAnnotation(fill_color="#009E73", fill_alpha=0.15, visible=False)
        self.figure.add_layout(self._range)
        self._source = ColumnDataSource({"x": [], "y": []})
        self.figure.line("x", "y", source=self._source, color="#0072B2")
        self.figure.scatter("x", "y", source=self._source, color="#0072B2", size=5)

    def show(
        self, x: np.ndarray, y: np.ndarray, between: tuple[float, float] | None = None
    ) -> None:
        """Draw another curve, and a band between two places on its axis."""
        if between is not None:
            self._range.update(left=between[0], right=between[1], visible=True)
        _reach(self.figure, [x - 0.5, x + 0.5], [y], self._log)
        self._source.data = {"x": np.asarray(x, dtype=float), "y": np.asarray(y, dtype=float)}
