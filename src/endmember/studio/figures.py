"""The drawings of the pages: maps with colour and scale bars, spectra, curves. Bokeh, updated in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    Metric,
    Range1d,
    ScaleBar,
)
from bokeh.plotting import figure

from endmember.show.page import palette

#: Units that a scale bar can count in.
_LENGTHS = {"nm": "nm", "µm": "µm", "um": "µm", "μm": "µm", "pm": "pm", "mm": "mm", "m": "m"}
_BOX: dict[str, Any] = {
    "fill_alpha": 0.12,
    "fill_color": "#D55E00",
    "line_color": "#D55E00",
    "line_width": 2,
}


class MapPlot:
    """One map; a box may be dragged on it.

    Parameters
    ----------
    title : str
    width, height : int
        In screen pixels.
    drag : callable, optional
        Called with ``(x0, x1), (y0, y1)`` in pixels of the map while a box is dragged.
    """

    def __init__(
        self, title: str, width: int = 380, height: int = 380,
        drag: Callable[[tuple[float, float], tuple[float, float]], None] | None = None,
        colours: str = "Viridis256",
    ) -> None:  # fmt: skip
        self.figure = figure(
            title=title, width=width, height=height, tools="pan,wheel_zoom,save,reset",
            match_aspect=True, toolbar_location="above", x_range=Range1d(0, 1), y_range=Range1d(1, 0),
        )  # fmt: skip
        self._pixel, self._shape = 1.0, (0, 0)
        self._source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self._linear = LinearColorMapper(palette=colours, nan_color="#d0d0d0")
        self._log = LogColorMapper(palette=colours, nan_color="#d0d0d0")
        self._image = self.figure.image(
            "image", x=0, y=0, dw="dw", dh="dh", source=self._source, color_mapper=self._linear
        )
        self._bar = ColorBar(color_mapper=self._linear, width=10, padding=2)
        self.figure.add_layout(self._bar, "right")
        # All models are made at once: what is added later may be asked for before it has arrived.
        self._scale = ScaleBar(
            range=self.figure.x_range, unit="nm", dimensional=Metric(base_unit="m"),
            location="bottom_left", background_fill_alpha=0.6, visible=False,
        )  # fmt: skip
        self.figure.add_layout(self._scale)
        if drag is not None:
            self._listen(drag)

    def _listen(self, drag: Callable) -> None:
        tool = BoxSelectTool(continuous=True, persistent=True, overlay=BoxAnnotation(**_BOX))
        self.figure.add_tools(tool)
        self.figure.toolbar.active_drag = tool

        def moved(event: SelectionGeometry) -> None:
            g, p = event.geometry, self._pixel
            drag((g["x0"] / p, g["x1"] / p), (g["y0"] / p, g["y1"] / p))

        self.figure.on_event(SelectionGeometry, moved)

    def place(self, shape: tuple[int, int], pixel: float, units: str) -> None:
        """Set the size of the image and of its pixels; draws the scale bar."""
        ny, nx = shape
        self._pixel, self._shape = pixel, shape
        _span(self.figure, nx * pixel, ny * pixel)
        label = f" ({units})" if units else " (pixels)"
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = f"x{label}", f"y{label}"
        self._scale.update(visible=units in _LENGTHS, unit=_LENGTHS.get(units, "nm"))

    def show(self, values: np.ndarray, title: str | None = None, log: bool = False) -> None:
        """Draw another map of the same image."""
        ny, nx = self._shape
        values = np.ascontiguousarray(values, dtype=np.float32).reshape(ny, nx)
        seen = values[np.isfinite(values)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        mapper = self._log if log else self._linear
        if log:
            positive = seen[seen > 0]
            low = float(positive.min()) if positive.size else 1.0
        mapper.update(low=low, high=high if high > low else low + 1.0)
        if self._image.glyph.color_mapper is not mapper:
            self._image.glyph.color_mapper = self._bar.color_mapper = mapper
        self._source.data = {"image": [values], "dw": [nx * self._pixel], "dh": [ny * self._pixel]}
        if title is not None:
            self.figure.title.text = title


def _span(plot: Any, width: float, height: float) -> None:
    """Show the whole image, rows downwards; a zoom stays where the image has kept its size."""
    if plot.x_range.reset_end != width or plot.y_range.reset_start != height:
        plot.x_range.update(start=0, end=width, reset_start=0, reset_end=width)
        plot.y_range.update(start=height, end=0, reset_start=height, reset_end=0)


class OverlayPlot:
    """All maps in one picture, each in the colour of its spectrum."""

    def __init__(self, title: str, width: int = 380, height: int = 380) -> None:
        self.figure = figure(
            title=title, width=width, height=height, tools="pan,wheel_zoom,save,reset",
            match_aspect=True, toolbar_location="above", x_range=Range1d(0, 1), y_range=Range1d(1, 0),
        )  # fmt: skip
        self._source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.figure.image_rgba("image", x=0, y=0, dw="dw", dh="dh", source=self._source)

    def show(self, maps: np.ndarray, pixel: float, units: str) -> None:
        """Draw maps (ny, nx, k), each scaled to its largest value; colours mix on white."""
        ny, nx, k = maps.shape
        strength = np.nan_to_num(np.asarray(maps, dtype=float))
        strength = np.clip(strength / np.maximum(strength.max(axis=(0, 1)), 1e-300), 0, 1)
        inks = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in palette(k)]) / 255
        share = strength / np.maximum(strength.sum(axis=-1, keepdims=True), 1e-300)
        light = 1.0 - strength.max(axis=-1, keepdims=True) * (1.0 - share @ inks)
        rgba = np.full((ny, nx, 4), 255, dtype=np.uint8)
        rgba[..., :3] = np.round(255 * light)
        _span(self.figure, nx * pixel, ny * pixel)
        label = f" ({units})" if units else " (pixels)"
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = f"x{label}", f"y{label}"
        image = rgba.view(np.uint32).reshape(ny, nx)
        self._source.data = {"image": [image], "dw": [nx * pixel], "dh": [ny * pixel]}


class SpectrumPlot:
    """Spectra over energy, with bands where they are given; an energy window may be dragged.

    Parameters
    ----------
    title : str
    drag : callable, optional
        Called with ``(low, high)`` in the unit of the axis while a window is dragged.
    log : bool
        Whether intensities are drawn on a logarithmic axis; it is made for one or the other.
    """

    def __init__(
        self, title: str, width: int = 640, height: int = 380,
        drag: Callable[[tuple[float, float]], None] | None = None, log: bool = False,
    ) -> None:  # fmt: skip
        self.figure = figure(
            title=title, width=width, height=height, tools="pan,wheel_zoom,box_zoom,save,reset",
            y_axis_type="log" if log else "linear", toolbar_location="above",
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
            tool = BoxSelectTool(
                dimensions="width", continuous=True, persistent=True, overlay=BoxAnnotation(**_BOX)
            )
            self.figure.add_tools(tool)
            self.figure.toolbar.active_drag = tool
            self.figure.on_event(
                SelectionGeometry, lambda event: drag((event.geometry["x0"], event.geometry["x1"]))
            )

    def show(
        self, energy: np.ndarray, spectra: Sequence[np.ndarray], names: Sequence[str], label: str,
        bands: Sequence[tuple[np.ndarray, np.ndarray]] = (), colours: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Draw spectra, each (channels,), with their names; ``bands`` are pairs (low, high)."""
        colours = list(colours or palette(max(1, len(spectra))))
        shown = [np.asarray(s, dtype=float) for s in spectra]
        if self._log:
            shown = [np.where(s > 0, s, np.nan) for s in shown]
        self.figure.xaxis.axis_label = label
        self._bands.data = {
            "x": [np.concatenate([energy, energy[::-1]]) for _ in bands],
            "y": [np.nan_to_num(np.concatenate([low, high[::-1]])) for low, high in bands],
            "colour": colours[: len(bands)],
        }
        self._lines.data = {
            "x": [energy] * len(shown), "y": shown, "colour": colours[: len(shown)], "name": list(names)
        }  # fmt: skip

    def show_each(
        self, spectra: Sequence[tuple[np.ndarray, np.ndarray]], names: Sequence[str], label: str
    ) -> None:
        """Draw spectra that have energies of their own: pairs of energy and intensity."""
        self.figure.xaxis.axis_label = label
        self._lines.data = {
            "x": [energy for energy, _ in spectra], "y": [values for _, values in spectra],
            "colour": palette(max(1, len(spectra))), "name": list(names),
        }  # fmt: skip


class CurvePlot:
    """One curve with dots, such as a scree or the course of a fit."""

    def __init__(
        self, title: str, x: str, y: str, width: int = 640, height: int = 300, log: bool = True
    ) -> None:
        self.figure = figure(
            title=title, width=width, height=height, tools="pan,wheel_zoom,save,reset",
            y_axis_type="log" if log else "linear", x_axis_label=x, y_axis_label=y,
        )  # fmt: skip
        self._source = ColumnDataSource({"x": [], "y": []})
        self.figure.line("x", "y", source=self._source, color="#0072B2")
        self.figure.scatter("x", "y", source=self._source, color="#0072B2", size=5)

    def show(self, x: np.ndarray, y: np.ndarray) -> None:
        """Draw another curve."""
        self._source.data = {"x": np.asarray(x, dtype=float), "y": np.asarray(y, dtype=float)}
