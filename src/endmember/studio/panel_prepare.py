"""What is done to the data before they are unmixed, with before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn

from endmember.studio.figures import PLAIN, MapPlot, SpectrumPlot
from endmember.studio.image import Image
from endmember.studio.steps import Step

if TYPE_CHECKING:
    from endmember.studio.page import Page

#: What the panel calls a step, and the step.
_KINDS = {
    "Crop energies": "crop_energy",
    "Crop pixels": "crop_pixels",
    "Bin": "rebin",
    "Remove spikes": "remove_spikes",
    "Align energies": "align",
    "Subtract background": "subtract_background",
}


#: How the energy shift of a pixel is found.
_METHODS = {
    "what suits the data": "auto",
    "the zero-loss peak": "zero_loss",
    "likeness to the mean spectrum": "correlation",
}
_ENERGIES = {
    "crop_energy": "Energies",
    "subtract_background": "Window before the edge",
    "align": "Energies that count",
}
_WORDS = {
    "crop_energy": "Keeps a window of energies.",
    "crop_pixels": "Keeps a part of the image.",
    "rebin": "Adds up neighbours: fewer, better spectra. Counts stay counts.",
    "remove_spikes": "Replaces X-ray hits and other outliers by what their neighbours say.",
    "align": "Finds how far every spectrum lies too high in energy and moves it back; channels that not "
    "every pixel has seen are cut off.",
    "subtract_background": "Fits a power law to a window before the edge and takes it off everywhere above.",
}


class PreparePanel:
    """Try a step, look at before and after, keep it or not."""

    title = "Prepare"

    def __init__(self, page: Page) -> None:
        self._page = page
        self._kind = pn.widgets.Select(label="Step", options=list(_KINDS), width=260)
        self._energies = pn.widgets.EditableRangeSlider(
            label="Energies", start=0, end=1, width=320, format="0.00"
        )
        self._rows = pn.widgets.IntRangeSlider(label="Rows", start=0, end=1, width=260)
        self._columns = pn.widgets.IntRangeSlider(label="Columns", start=0, end=1, width=260)
        self._pixels = pn.widgets.IntInput(
            label="Pixels to add up, each way", value=2, start=1, width=260
        )
        self._channels = pn.widgets.IntInput(
            label="Channels to add up", value=1, start=1, width=260
        )
        self._method = pn.widgets.Select(label="By", options=list(_METHODS), width=260)
        self._smooth = pn.widgets.IntInput(
            label="Median of the shifts over so many pixels", value=1, start=1, step=2, width=260
        )
        self._try = pn.widgets.Button(label="Try", width=80)
        self._keep = pn.widgets.Button(label="Keep", color="primary", width=80, disabled=True)
        self._undo = pn.widgets.Button(label="Undo the last", width=120, disabled=True)
        self._done = pn.widgets.StaticText(label="Steps", value="none")
        self._maps = {name: MapPlot(name, 440, 360) for name in ("Before", "After")}
        self._spectra = SpectrumPlot("Mean spectrum before and after", 720, 320)
        self._words = pn.pane.Str("", width=320, stylesheets=[PLAIN], styles={"color": "#666666"})
        self._tried: tuple[Step, Image] | None = None
        self._kind.param.watch(lambda _: self._offer(), "value")
        self._try.on_click(lambda _: self._start())
        self._keep.on_click(lambda _: self._accept())
        self._undo.on_click(lambda _: self._take_back())
        controls = pn.Column(
            self._kind, self._words, self._energies, self._rows, self._columns, self._pixels,
            self._channels, self._method, self._smooth,
            pn.Row(self._try, self._keep, self._undo), self._done, width=360,
        )  # fmt: skip
        maps = pn.Row(*[pn.pane.Bokeh(plot.figure) for plot in self._maps.values()])
        spectra = pn.pane.Bokeh(self._spectra.figure, sizing_mode="stretch_width")
        self.layout = pn.Row(
            controls,
            pn.Column(maps, spectra, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
        self._offer()

    def data_changed(self) -> None:
        """Show the data as they are now."""
        data = self._page.session.data
        ny, nx, _ = data.shape
        low, high = float(data.energy.min()), float(data.energy.max())
        # One after the other, the wider end first: a value is held between the ends that it finds.
        self._energies.end = max(high, self._energies.end)
        self._energies.value = (low, high)
        self._energies.param.update(start=low, end=high, step=(high - low) / 500)
        self._rows.param.update(start=0, end=ny, value=(0, ny))
        self._columns.param.update(start=0, end=nx, value=(0, nx))
        self._done.value = "; ".join(step.code for step in self._page.session.steps) or "none"
        self._tried, self._keep.disabled = None, True
        self._undo.disabled = not self._page.session.steps
        self._compare(data, None)

    def runs_changed(self) -> None:
        """Nothing here depends on runs."""

    def _offer(self) -> None:
        """Show the settings of the chosen step."""
        kind = _KINDS[self._kind.value]
        self._words.object = _WORDS[kind]
        self._energies.visible = kind in _ENERGIES
        self._energies.label = _ENERGIES.get(kind, "Energies")
        self._rows.visible = self._columns.visible = kind == "crop_pixels"
        self._pixels.visible = self._channels.visible = kind == "rebin"
        self._method.visible = self._smooth.visible = kind == "align"

    def _step(self) -> Step:
        kind = _KINDS[self._kind.value]
        low, high = (float(end) for end in self._energies.value)
        settings: dict[str, dict[str, Any]] = {
            "crop_energy": {"start": low, "stop": high},
            "crop_pixels": {"rows": list(self._rows.value), "columns": list(self._columns.value)},
            "rebin": {"pixels": self._pixels.value, "channels": self._channels.value},
            "subtract_background": {"window": (low, high)},
            "align": self._alignment(low, high),
        }
        return Step(kind, settings.get(kind, {}))

    def _alignment(self, low: float, high: float) -> dict[str, Any]:
        """Return the keywords of an alignment; what is as it would be anyway stays out of the script."""
        words: dict[str, Any] = {}
        if (method := _METHODS[self._method.value]) != "auto":
            words["method"] = method
        if (low, high) != (self._energies.start, self._energies.end):
            words["window"] = (low, high)
        if (self._smooth.value or 1) > 1:
            words["smooth"] = self._smooth.value
        return words

    def _start(self) -> None:
        if self._page.session.image is None:
            self._page.say("Open a file first.")
            return
        step, session = self._step(), self._page.session

        def done(image: Image) -> None:
            self._tried, self._keep.disabled = (step, image), False
            self._compare(session.data, image)
            self._page.say(f"Tried {step.code}: keep it, or try another.")

        self._page.background(
            f"Trying {step.code} ...", lambda ticket: session.preview(step, ticket), done
        )

    def _accept(self) -> None:
        if self._tried is not None:
            self._page.session.accept(*self._tried)
            self._page.data_changed()

    def _take_back(self) -> None:
        session = self._page.session

        def done(image: Image) -> None:
            session.undo(image)
            self._page.data_changed()

        self._page.background(
            "Taking the last step back ...", lambda ticket: session.without_last_step(ticket), done
        )

    def _compare(self, before: Image, after: Image | None) -> None:
        spectra, names = [(before.energy, before.mean_spectrum())], ["before"]
        self._draw_map("Before", before)
        self._draw_map("After", after or before)
        if after is not None:
            spectra.append((after.energy, after.mean_spectrum()))
            names.append("after")
        self._spectra.show_each(spectra, names, before.energy_label)

    def _draw_map(self, name: str, image: Image) -> None:
        ny, nx, channels = image.shape
        self._maps[name].place((ny, nx), *image.pixel)
        self._maps[name].show(image.map((0, channels)), f"{name}: {ny} x {nx} pixels")
