"""Look at the data: drag a region for its spectrum, an energy window for its map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn

from endmember.studio.figures import PLAIN, MapPlot, SpectrumPlot
from endmember.studio.image import Image

if TYPE_CHECKING:
    from endmember.studio.page import Page
    from endmember.studio.scheduler import Ticket

_HINT = (
    "Drag on the map: the spectrum of that region. Drag on the spectrum: the map of those energies. "
    "Boxes can be moved and resized."
)
_GREY, _ORANGE = "#666666", "#D55E00"


class DataPanel:
    """A map and a spectrum that follow each other."""

    title = "Data"

    def __init__(self, page: Page) -> None:
        self._page = page
        self._map = MapPlot("", 560, 500, drag=self._region_moved, log=True)
        self._plots = {False: SpectrumPlot("", 480, 500, drag=self._window_moved)}
        self._log = pn.widgets.Checkbox(label="logarithmic intensities", margin=(12, 10))
        self._all = pn.widgets.Button(label="All pixels, all energies", width=180)
        self._log.param.watch(lambda _: self._scale_changed(), "value")
        self._all.on_click(lambda _: self._reset())
        self._spectra = pn.pane.Bokeh(self._plots[False].figure, sizing_mode="stretch_width")
        self._box: tuple[tuple[int, int], tuple[int, int]] | None = None
        self._window: tuple[int, int] = (0, 1)
        self._mean = self._region = np.zeros(0)
        hint = pn.pane.Str(
            _HINT, margin=(10, 20), styles={"color": _GREY}, stylesheets=[PLAIN], sizing_mode="stretch_width"
        )  # fmt: skip
        self.layout = pn.Column(
            pn.Row(self._all, self._log, hint, sizing_mode="stretch_width"),
            pn.Row(pn.pane.Bokeh(self._map.figure), self._spectra, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )  # fmt: skip

    def data_changed(self) -> None:
        """Show all pixels and all energies."""
        data = self._page.session.data
        ny, nx, channels = data.shape
        self._map.place((ny, nx), *data.pixel)
        self._box, self._window = None, (0, channels)
        self._mean = data.mean_spectrum()
        self._draw_map(data.map(self._window))
        self._draw_spectrum()

    def runs_changed(self) -> None:
        """Nothing here depends on runs."""

    def _reset(self) -> None:
        self._map.clear()
        for plot in self._plots.values():
            plot.clear()
        self.data_changed()

    def _region_moved(
        self, x: tuple[float, float], y: tuple[float, float], final: bool = True
    ) -> None:
        data = self._page.session.data
        box = data.region(x, y)

        def done(spectrum: np.ndarray) -> None:
            self._box, self._region = box, spectrum
            self._draw_spectrum()

        def work(ticket: Ticket) -> np.ndarray:
            return _two_answers(ticket, data, data.spectrum, data.exact_spectrum, box, final)

        self._page.drag.submit(work, done, self._page.complain, done)

    def _window_moved(self, energies: tuple[float, float], final: bool = True) -> None:
        data = self._page.session.data
        window = data.window(energies)

        def done(values: np.ndarray) -> None:
            self._window = window
            self._draw_map(values)

        def work(ticket: Ticket) -> np.ndarray:
            return _two_answers(ticket, data, data.map, data.exact_map, (window,), final)

        self._page.drag.submit(work, done, self._page.complain, done)

    def _scale_changed(self) -> None:
        log = self._log.value
        if log not in self._plots:
            self._plots[log] = SpectrumPlot("", 480, 500, drag=self._window_moved, log=log)
        self._draw_spectrum()
        self._spectra.object = self._plots[log].figure
        self._draw_map(self._page.session.data.map(self._window))

    def _draw_spectrum(self) -> None:
        data = self._page.session.data
        names, spectra, title = ["all pixels"], [self._mean], "Mean spectrum"
        if self._box is not None:
            (y0, y1), (x0, x1) = self._box
            names.append("region")
            spectra.append(self._region)
            title = f"Mean spectrum of columns {x0} to {x1 - 1}, rows {y0} to {y1 - 1}"
        plot = self._plots[self._log.value]
        plot.show(
            data.energy, spectra, names, data.energy_label, colours=[_GREY, _ORANGE][: len(names)]
        )
        plot.figure.title.text = title

    def _draw_map(self, values: np.ndarray) -> None:
        data = self._page.session.data
        first, end = self._window
        low, high = data.energy[first], data.energy[end - 1]
        title = f"Sum over {low:.5g} to {high:.5g} {data.energy_units}".rstrip()
        self._map.show(values, title, log=self._log.value)


def _two_answers(
    ticket: Ticket, data: Image, quick: Any, exact: Any, where: tuple, final: bool
) -> np.ndarray:
    """Return the answer at once; where that is one of a preview and the mouse was let go, show it and read the data."""
    answer = quick(*where)
    if not (data.is_preview and final):
        return answer
    ticket.show(answer)
    return exact(*where)
