"""The data: look at them, drag a region for its spectrum, an energy window for its map; prepare them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn

from endmember.app.core.image import Image, Step
from endmember.app.core.regions import Region
from endmember.app.page.figures import (
    ABOVE,
    BELOW,
    PLAIN,
    SpectrumPlot,
    Tick,
    cleared,
    map_plot,
    wide,
    wrapped,
)
from endmember.app.page.panel import Panel


class DataPanel(Panel):
    """A map and a spectrum that follow each other."""

    title = "Data"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._map = map_plot(page.session.data, 410, 410, self.point)
        self._log = Tick("logarithmic intensities", margin=(32, 10, 0, 10))
        self._plot = self._new_plot()
        self._all = pn.widgets.Button(
            label="All pixels, all energies",
            width=180,
            margin=(26, 10, 5, 10),
            on_click=lambda _: self._reset(),
        )
        self._log.param.watch(lambda _: self._scale_changed(), "value")
        self._spectra = wide(self._plot, height="max(500px, calc(100vh - 230px))")
        self._window: tuple[int, int] = (0, 1)
        self._name = pn.widgets.TextInput(label="Name of the region", width=150)
        keep = pn.widgets.Button(
            label="Keep the region",
            width=140,
            margin=(26, 10, 5, 5),
            on_click=lambda _: page.deliver(
                lambda: self.keep(" ".join(self._name.value_input.split()))
            ),
        )
        self._kept = pn.widgets.CheckBoxGroup(inline=True, margin=(0, 10))
        self._kept.param.watch(lambda e: page.deliver(lambda: self._leave(e.old, e.new)), "value")
        hint = pn.pane.Str(
            "Drag a box, an ellipse or a line on the map, draw a loop with the lasso, or click on a pixel: the "
            "spectrum of that region. Drag on the spectrum: the map of those energies. Boxes can be moved and resized.",
            margin=(24, 20, 0, 20), styles={"color": "#666666"}, stylesheets=[PLAIN], sizing_mode="stretch_width",
        )  # fmt: skip
        self.layout = pn.Column(
            pn.Row(self._all, self.shapes(), self._name, keep, self._log, hint, sizing_mode="stretch_width"),
            self._kept,
            wrapped(self._map.pane, self._spectra),
            sizing_mode="stretch_width",
        )  # fmt: skip

    def _new_plot(self) -> SpectrumPlot:
        plot = SpectrumPlot("", 400, 500, drag=self._window_moved, log=self._log.on)
        plot.figure.on_change("outer_height", lambda name, old, new: self._fit(new))
        return plot

    def _fit(self, height: int | None) -> None:
        """Draw the map as high as the spectra, which are as high as the window lets them."""
        most = ((height or 500) - ABOVE - BELOW,) * 2
        if most != self._map.most:
            self._map.most = most
            self._draw_map(self._values)

    def data_changed(self) -> None:
        """Show all pixels and all energies."""
        data = self._page.session.data
        self._region, self._window = None, (0, data.shape[2])
        self._draw_map(data.map(self._window))
        self.regions_changed()

    def regions_changed(self) -> None:
        """Draw the regions that are kept, each with a way to be rid of it."""
        regions = self._page.session.regions
        self._kept.param.update(options={one.name: one for one in regions}, value=[*regions])
        self._draw_spectrum()

    def _leave(self, old: list[Region], new: list[Region]) -> None:
        """Forget the regions that are not ticked any more."""
        regions = self._page.session.regions
        left = [one for one in regions if one in new or one not in old]
        if left != regions:
            regions[:] = left
            self._page.tell("regions_changed")

    def _reset(self) -> None:
        for plot in (self._map, self._plot):
            cleared(plot.box)
        self.data_changed()

    def _window_moved(self, energies: Sequence[float], final: bool = True) -> None:
        data = self._page.session.data
        self.ask(
            data.window(energies),
            lambda *where, **how: (where, data.map(*where, **how)),
            self._show_window,
            final,
        )

    def pointed(self, region: Region | None) -> None:
        """Draw the mean spectrum of a region."""
        self._region = region
        self._draw_spectrum()

    def _show_window(self, answer: Any) -> None:
        (self._window,), values = answer
        self._draw_map(values)

    def _scale_changed(self) -> None:
        self._plot = self._new_plot()  # it is made for one scale
        self._draw_spectrum()
        self._spectra.object = self._plot.figure
        self._draw_map(self._values)

    def _draw_spectrum(self) -> None:
        data = self._page.session.data
        places, title = [data.whole, *self._page.session.regions], "Mean spectrum"
        if self._region is not None:
            (y0, y1), (x0, x1) = self._region.box
            places.append(self._region)
            title = f"Mean spectrum of columns {x0} to {x1 - 1}, rows {y0} to {y1 - 1}"
        self._plot.show(
            data.energy, [one.mean for one in places], [one.name for one in places], data.axis.label, data.quantity,
            colours=[one.colour for one in places],
        )  # fmt: skip
        self._plot.figure.title.text = title
        self._map.mark(places[1:], data)

    def _draw_map(self, values: np.ndarray) -> None:
        data, self._values = self._page.session.data, values
        quantity, (first, end) = data.quantity, self._window
        title = f"Sum over {data.energy[first]:.5g} to {data.energy[end - 1]:.5g} {data.axis.units or ''}".rstrip()
        if self._log.on:
            values, quantity = (
                np.log10(np.where(values > 0, values, np.nan)),
                f"log₁₀ of {quantity}",
            )
        self._map.show(values, data, title, quantity)


#: How the panel offers a step: its name, what it says of it, the settings it shows, and what their energies are.
_KINDS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "Crop energies": ("crop_energy", "Keeps a window of energies.", ("energies",), "Energies"),
    "Crop pixels": ("crop_pixels", "Keeps a part of the image.", ("rows", "columns"), ""),
    "Bin": (
        "rebin",
        "Adds up neighbours: fewer, better spectra. Counts stay counts.",
        ("pixels", "channels"),
        "",
    ),
    "Remove spikes": (
        "remove_spikes",
        "Replaces X-ray hits and other outliers by what their neighbours say.",
        (),
        "",
    ),
    "Align energies": (
        "align",
        "Finds how far every spectrum lies too high in energy and moves it back; channels that not "
        "every pixel has seen are cut off.",
        ("energies", "method", "smooth"),
        "Energies that count",
    ),
    "Subtract background": (
        "subtract_background",
        "Fits a power law to a window before the edge and takes it off everywhere above.",
        ("energies",),
        "Window before the edge",
    ),
}
#: How the energy shift of a pixel is found.
_METHODS = {
    "what suits the data": "auto",
    "the zero-loss peak": "zero_loss",
    "likeness to the mean spectrum": "correlation",
}


class PreparePanel(Panel):
    """Try a step, look at before and after, keep it or not."""

    title = "Prepare"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._kind = pn.widgets.Select(label="Step", options=list(_KINDS), width=260)
        self._settings: dict[str, Any] = {
            "energies": pn.widgets.EditableRangeSlider(
                label="Energies", start=0, end=1, width=290, format="0.00"
            ),
            "rows": pn.widgets.IntRangeSlider(label="Rows", start=0, end=1, width=260),
            "columns": pn.widgets.IntRangeSlider(label="Columns", start=0, end=1, width=260),
            "pixels": pn.widgets.IntInput(
                label="Pixels to add up, each way", value=2, start=1, width=260
            ),
            "channels": pn.widgets.IntInput(
                label="Channels to add up", value=1, start=1, width=260
            ),
            "method": pn.widgets.Select(label="By", options=list(_METHODS), width=260),
            "smooth": pn.widgets.IntInput(
                label="Median of the shifts over so many pixels", value=1, start=1, step=2, width=260
            ),
        }  # fmt: skip
        self._keep = pn.widgets.Button(
            label="Keep", color="primary", width=80, disabled=True,
            on_click=lambda _: self._settle(*self._tried),
        )  # fmt: skip
        self._undo = pn.widgets.Button(
            label="Undo the last", width=120, disabled=True,
            on_click=lambda _: self._ask(
                "Taking the last step back ...", page.session.steps[:-1], self._settle
            ),
        )  # fmt: skip
        self._redo = pn.widgets.Button(
            label="Redo", width=60, disabled=True,
            on_click=lambda _: self._ask(
                f"Doing {page.session.undone[0].code} again ...",
                (*page.session.steps, page.session.undone[0]), self._settle,
            ),
        )  # fmt: skip
        self._done = pn.widgets.StaticText(label="Steps", value="none")
        self._maps = {name: map_plot(page.session.data, 330, 300) for name in ("Before", "After")}
        self._spectra = SpectrumPlot("Mean spectrum before and after", 420, 320)
        self._words = pn.pane.Str("", width=290, stylesheets=[PLAIN], styles={"color": "#666666"})
        self._tried: Any = None
        self._kind.param.watch(lambda _: self._offer(), "value")
        attempt = pn.widgets.Button(label="Try", width=80, on_click=lambda _: self._start())
        controls = pn.Column(
            self._kind, self._words, *self._settings.values(), pn.Row(attempt, self._keep),
            pn.Row(self._undo, self._redo), self._done, width=310,
        )  # fmt: skip
        pictures = pn.Column(
            wrapped(*[plot.pane for plot in self._maps.values()]), wide(self._spectra),
            sizing_mode="stretch_width",
        )  # fmt: skip
        self.layout = pn.Row(controls, pictures, sizing_mode="stretch_width")
        self._offer()

    def data_changed(self) -> None:
        """Show the data as they are now."""
        data = self._page.session.data
        ny, nx, _ = data.shape
        low, high = float(data.energy.min()), float(data.energy.max())
        # One after the other, the wider end first: a value is held between the ends that it finds.
        energies = self._settings["energies"]
        energies.end = max(high, energies.end)
        energies.value = (low, high)
        energies.param.update(start=low, end=high, step=(high - low) / 500)
        self._settings["rows"].param.update(start=0, end=ny, value=(0, ny))
        self._settings["columns"].param.update(start=0, end=nx, value=(0, nx))
        self._done.value = "; ".join(step.code for step in self._page.session.steps) or "none"
        self._tried, self._keep.disabled = None, True
        self._undo.disabled = not self._page.session.steps
        self._redo.disabled = not self._page.session.undone
        self._compare(data, None)

    def _offer(self) -> None:
        """Show the settings of the chosen step."""
        _, self._words.object, shown, self._settings["energies"].label = _KINDS[self._kind.value]
        for name, setting in self._settings.items():
            setting.visible = name in shown

    def _step(self) -> Step:
        step = _KINDS[self._kind.value][0]
        given = {name: setting.value for name, setting in self._settings.items()}
        low, high = (float(end) for end in given["energies"])
        parameters: dict[str, dict[str, Any]] = {
            "crop_energy": {"start": low, "stop": high},
            "crop_pixels": {"rows": list(given["rows"]), "columns": list(given["columns"])},
            "rebin": {"pixels": given["pixels"], "channels": given["channels"]},
            "subtract_background": {"window": (low, high)},
            "align": {
                "method": _METHODS[given["method"]],
                "window": (low, high),
                "smooth": given["smooth"] or 1,
            },
        }
        # What is as it would be anyway stays out of the script.
        ends = (self._settings["energies"].start, self._settings["energies"].end)
        plain = {"method": "auto", "window": ends, "smooth": 1} if step == "align" else {}
        wanted = parameters.get(step, {})
        return Step(
            step, {name: set_to for name, set_to in wanted.items() if set_to != plain.get(name)}
        )

    def _start(self) -> None:
        step, session = self._step(), self._page.session

        def done(steps: tuple[Step, ...], image: Image) -> None:
            self._page.say(f"Tried {step.code}: keep it, or try another.")
            self._compare(session.data, image)
            self._tried, self._keep.disabled = (steps, image), False

        self._ask(f"Trying {step.code} ...", (*session.steps, step), done)

    def _ask(
        self,
        sentence: str,
        steps: tuple[Step, ...],
        done: Callable[[tuple[Step, ...], Image], None],
    ) -> None:
        """Work out what steps make of the data; what comes of them is not for other data."""
        page, data = self._page, self._page.session.image

        def unless_changed(answer: Image) -> None:
            if page.session.image is data:
                done(steps, answer)
            else:
                page.say("The data have changed meanwhile, and nothing was done: ask again.")

        page.background(
            sentence, lambda ticket: page.session.prepared(steps, ticket), unless_changed
        )

    def _settle(self, steps: tuple[Step, ...], image: Image) -> None:
        self._page.session.settle(steps, image)
        self._page.data_changed()

    def _compare(self, before: Image, after: Image | None) -> None:
        for name, image in (("Before", before), ("After", after or before)):
            ny, nx, channels = image.shape
            title = f"{name}: {ny} x {nx} pixels"
            self._maps[name].show(image.map((0, channels)), image, title, image.quantity)
        images = [before] if after is None else [before, after]
        self._spectra.show(
            [image.energy for image in images], [image.whole.mean for image in images],
            ["before", "after"][: len(images)], before.axis.label, before.quantity,
        )  # fmt: skip
