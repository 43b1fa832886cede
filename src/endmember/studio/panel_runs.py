"""All runs; any two side by side with their components paired, bands and error bars on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.layouts import row

from endmember.studio.figures import MapPlot, SpectrumPlot
from endmember.studio.session import Run, side_by_side

if TYPE_CHECKING:
    from endmember.studio.page import Page

_NOTHING, _BANDS, _ERRORS = "nothing", "ambiguity bands", "standard errors"


class RunsPanel:
    """Two runs, one pair of components a row."""

    title = "Runs"

    def __init__(self, page: Page) -> None:
        self._page = page
        self._choice = [pn.widgets.Select(label=name, width=420) for name in ("Left", "Right")]
        self._doubt = pn.widgets.RadioButtonGroup(
            options=[_NOTHING, _BANDS, _ERRORS], value=_NOTHING, width=420
        )
        self._verdict = pn.pane.Str("Runs appear here.", width=1000)
        self._rows = pn.Column()
        self._plots: list[tuple[MapPlot, MapPlot, SpectrumPlot]] = []
        for choice in self._choice:
            choice.param.watch(lambda _: self._show(), "value")
        self._doubt.param.watch(lambda _: self._ask(), "value")
        self.layout = pn.Column(
            pn.Row(*self._choice, pn.Column("Draw with the spectra", self._doubt)),
            self._verdict,
            self._rows,
        )

    def data_changed(self) -> None:
        """Leave the runs as they are."""

    def runs_changed(self) -> None:
        """List the runs; the two newest are shown."""
        runs = self._page.session.runs
        options = {f"{run.name}: {run.label}": run.name for run in runs}
        newest = [runs[-2:][0].name, runs[-1].name] if runs else [None, None]
        for choice, name in zip(self._choice, newest, strict=True):
            choice.param.update(options=options, value=name)
        self._doubt.value = _NOTHING
        self._show()

    def _chosen(self) -> list[Run]:
        known = {run.name for run in self._page.session.runs}
        return [
            self._page.session.find(choice.value)
            for choice in self._choice
            if choice.value in known
        ]

    def _ask(self) -> None:
        """Work out bands or errors of the chosen runs, then draw them."""
        chosen, doubt = self._chosen(), self._doubt.value
        if doubt == _NOTHING or not chosen:
            self._show()
            return

        def work(ticket: Any) -> None:
            for run in chosen:
                ticket.check()
                _ = run.bands() if doubt == _BANDS else run.errors()

        self._page.background(f"Working out {doubt} ...", work, lambda _: self._tell(doubt))

    def _tell(self, doubt: str) -> None:
        self._page.say(f"Drawn with {doubt}.")
        self._show()

    def _show(self) -> None:
        chosen = self._chosen()
        if len(chosen) < 2:
            self._lay_out(0)
            self._verdict.object = "Runs appear here."
            return
        left, right = chosen
        try:
            in_left, in_right, angles = side_by_side(left, right)
        except ValueError as problem:
            self._verdict.object = str(problem)
            self._lay_out(0)
            return
        self._verdict.object = "\n".join(
            [
                f"Mean angle between paired spectra: {np.mean(angles):.2f} degrees.",
                *self._sentences(chosen),
            ]
        )
        while len(self._plots) < len(angles):
            self._plots.append(
                (MapPlot("", 270, 250), MapPlot("", 270, 250), SpectrumPlot("", 560, 250))
            )
        for plots, a, b, angle in zip(self._plots, in_left, in_right, angles, strict=False):
            self._draw(plots, (left, int(a)), (right, int(b)), float(angle))
        self._lay_out(len(angles))

    def _lay_out(self, n: int) -> None:
        """Show so many rows; rows are made once, when they are filled, and hidden where they are not needed."""
        for plots in self._plots[len(self._rows) : n]:
            self._rows.append(pn.pane.Bokeh(row([plot.figure for plot in plots])))
        for j, plots in enumerate(self._plots):
            for plot in plots:
                plot.figure.visible = j < n

    def _sentences(self, runs: list[Run]) -> list[str]:
        key = {_BANDS: "bands", _ERRORS: "errors"}.get(self._doubt.value)
        return [f"{run.name}: {run.judged[key].sentence}" for run in runs if key in run.judged]

    def _draw(
        self,
        plots: tuple[MapPlot, MapPlot, SpectrumPlot],
        left: tuple[Run, int],
        right: tuple[Run, int],
        angle: float,
    ) -> None:
        spectra, bands, names = [], [], []
        for plot, (run, j) in zip(plots[:2], (left, right), strict=True):
            axes = run.signal.axes_manager.navigation_axes
            image = np.atleast_2d(run.result.maps.data[j])
            units = axes[0].units if isinstance(axes[0].units, str) else ""
            known = bool(units) and units != "<undefined>"
            plot.place(
                image.shape, float(abs(axes[0].scale)) if known else 1.0, units if known else ""
            )
            plot.show(image, f"{run.name.rsplit('-', 2)[0]}, component {j + 1}")
            spectrum = np.asarray(run.result.spectra.data[j], dtype=float)
            scale = max(float(np.abs(np.nan_to_num(spectrum)).max()), 1e-300)
            spectra.append(spectrum / scale)
            names.append(f"{run.name.rsplit('-', 2)[0]}")
            bands += self._band(run, j, spectrum, scale)
        axis = left[0].signal.axes_manager.signal_axes[0]
        units = axis.units if isinstance(axis.units, str) else ""
        label = f"{axis.name} ({units})" if units else str(axis.name)
        plots[
            2
        ].figure.title.text = f"Pair {left[1] + 1} and {right[1] + 1}: {angle:.2f} degrees apart"
        plots[2].show(np.asarray(axis.axis, dtype=float), spectra, names, label, bands)

    def _band(
        self, run: Run, j: int, spectrum: np.ndarray, scale: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return low and high of a spectrum, drawn with its largest value at one."""
        if self._doubt.value == _BANDS and "bands" in run.judged:
            bands = run.judged["bands"]
            total = float(np.nansum(spectrum)) / scale
            return [(bands.spectra_low[j] * total, bands.spectra_high[j] * total)]
        if self._doubt.value == _ERRORS and "errors" in run.judged:
            error = run.judged["errors"].spectra[j]
            return [((spectrum - error) / scale, (spectrum + error) / scale)]
        return []
