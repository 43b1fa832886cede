"""Look at the data: drag a region for its spectrum, an energy window for its map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import panel as pn

from endmember.studio.figures import MapPlot, SpectrumPlot

if TYPE_CHECKING:
    from endmember.studio.page import Page


class DataPanel:
    """A map and a spectrum that follow each other."""

    title = "Data"

    def __init__(self, page: Page) -> None:
        self._page = page
        self._map = MapPlot("Drag a region", 480, 440, drag=self._region_moved)
        self._plots = {
            log: SpectrumPlot("Drag an energy window", 700, 440, drag=self._window_moved, log=log)
            for log in (False, True)
        }
        self._log = pn.widgets.Checkbox(label="logarithmic intensities")
        self._all = pn.widgets.Button(label="All pixels, all energies", width=180)
        self._log.param.watch(lambda _: self._scale_changed(), "value")
        self._all.on_click(lambda _: self.data_changed())
        self._spectra = pn.pane.Bokeh(self._plots[False].figure)
        self._box: tuple | None = None
        self._window: tuple[int, int] = (0, 1)
        self.layout = pn.Column(
            pn.Row(self._log, self._all), pn.Row(pn.pane.Bokeh(self._map.figure), self._spectra)
        )

    def data_changed(self) -> None:
        """Show all pixels and all energies."""
        data = self._page.session.data
        ny, nx, channels = data.shape
        self._map.place((ny, nx), *data.pixel)
        self._box, self._window = None, (0, channels)
        self._show_map()
        self._show_spectrum()

    def runs_changed(self) -> None:
        """Nothing here depends on runs."""

    def _region_moved(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        if self._page.session.image is not None:
            self._box = self._page.session.data.region(x, y)
            self._show_spectrum()

    def _window_moved(self, energies: tuple[float, float]) -> None:
        if self._page.session.image is not None:
            self._window = self._page.session.data.window(energies)
            self._show_map()

    def _scale_changed(self) -> None:
        self._spectra.object = self._plots[self._log.value].figure
        if self._page.session.image is not None:
            self._show_spectrum()
            self._show_map()

    def _show_spectrum(self) -> None:
        data = self._page.session.data
        names, spectra = ["all pixels"], [data.mean_spectrum()]
        if self._box is not None:
            (y0, y1), (x0, x1) = self._box
            names.append(f"x {x0}:{x1}, y {y0}:{y1}")
            spectra.append(data.sums.spectrum(*self._box))
        colours = ["#666666", "#D55E00"]
        plot = self._plots[self._log.value]
        plot.show(data.energy, spectra, names, data.energy_label, colours=colours[: len(names)])

    def _show_map(self) -> None:
        data = self._page.session.data
        first, end = self._window
        title = (
            f"{data.energy[first]:.5g} to {data.energy[end - 1]:.5g} {data.energy_units}".rstrip()
        )
        self._map.show(data.sums.map(self._window), f"Sum over {title}", log=self._log.value)
