"""The model: how many components, its controls, the live answer of the sketch, and runs on the full data."""

from typing import Any

import numpy as np
import panel as pn

from endmember.app.core.choices import METHODS, MOST_COMPONENTS, Choices
from endmember.app.core.live import Picture
from endmember.app.core.session import Run
from endmember.app.page.figures import PLAIN, CurvePlot, MapPlot, OverlayPlot, Panel, SpectrumPlot
from endmember.catalogue import LOSSES_IN_WORDS, PENALTIES, PenaltyRow
from endmember.show.page import palette

_LEFT = "table td, table th { text-align: left !important; }"


class NumberPanel(Panel):
    """The rank panel."""

    title = "Number"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._ask = pn.widgets.Button(
            label="How many components?",
            color="primary",
            width=220,
            on_click=lambda _: self._start(),
        )
        self._take = pn.widgets.Button(
            label="Use the suggestion",
            width=180,
            disabled=True,
            on_click=lambda _: self._page.deliver(self._use),
        )
        self._verdict = pn.pane.Str("", sizing_mode="stretch_width", stylesheets=[PLAIN])
        self._table = pn.pane.DataFrame(
            None, width=620, index=False, justify="left", stylesheets=[_LEFT]
        )
        self._curve = CurvePlot(
            "How far components rise above noise (green: the range that can be defended)",
            "component", "times what noise alone may reach", 480, 380,
        )  # fmt: skip
        self._found = pn.Row(
            self._table, pn.pane.Bokeh(self._curve.figure, sizing_mode="stretch_width"),
            sizing_mode="stretch_width", visible=False,
        )  # fmt: skip
        self._report: Any = None
        self.layout = pn.Column(
            pn.Row(self._ask, self._take), self._verdict, self._found, sizing_mode="stretch_width"
        )

    def data_changed(self) -> None:
        """Forget what was said of other data."""
        self._report, self._take.disabled, self._verdict.object = None, True, ""
        self._found.visible = False

    def _start(self) -> None:
        page = self._page
        page.background(
            "Asking every criterion ...",
            lambda ticket: page.session.rank(ticket),
            self._show,
        )

    def _show(self, report: Any) -> None:
        import pandas as pd

        self._report = report
        low, high = report.range
        self._verdict.object = "\n".join(
            [
                f"{report.suggested} components; "
                + ("no other number" if low == high else f"{low} to {high}")
                + " can be defended.",
                report.sentence,
                *report.warnings,
            ]
        )
        counts = ["" if vote.count is None else str(vote.count) for vote in report.table]
        self._table.object = pd.DataFrame(
            {
                "criterion": [vote.criterion for vote in report.table],
                "components": counts,
                "looks at": [vote.note for vote in report.table],
            }
        )
        shown = report.visibility[:20]
        self._curve.show(np.arange(1, len(shown) + 1), shown, (low - 0.4, high + 0.4))
        self._found.visible = True
        self._take.disabled = report.suggested < 1
        self._page.say(report.sentence)

    def _use(self) -> None:
        if self._report is not None:
            self._page.panel("Unmix").set_number(self._report.suggested)
            self._page.say(f"The Unmix panel now asks for {self._report.suggested} components.")


#: Maps beside each other.
COLUMNS = 3


def _control(row: PenaltyRow) -> Any:
    """Return a slider for the weight of a penalty, or a switch for one without a weight."""
    if not row.weights:
        return pn.widgets.Checkbox(label=row.words)
    return pn.widgets.DiscreteSlider(
        label=row.words, options=list(row.weights), value=0.0, width=280
    )


class ModelPanel(Panel):
    """Controls on the left, what comes of them on the right."""

    title = "Unmix"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._maps: list[MapPlot] = []
        w = pn.widgets
        self._method = w.Select(label="Method", options=list(METHODS), width=280)
        self._method.param.watch(lambda event: self._preset(event.new), "value")
        self._settings = {
            "k": w.IntSlider(
                label="Components k", start=1, end=MOST_COMPONENTS, value=3, width=280
            ),
            "loss": w.Select(label="Noise", options=list(LOSSES_IN_WORDS), width=280),
            "closure": w.Checkbox(label="Maps sum to one"),
        }
        self._penalties = {name: _control(row) for name, row in PENALTIES.items()}
        self._of_a_run = {
            "starts": w.IntInput(label="Starts of a run", value=10, start=1, end=100, width=130),
            "seed": w.IntInput(label="Seed", value=0, start=0, width=130),
        }
        for control in [*self._settings.values(), *self._penalties.values()]:
            control.param.watch(lambda _: self.refresh(), "value")
        self._state = pn.pane.Str("", sizing_mode="stretch_width", stylesheets=[PLAIN])
        self._grid: Any = pn.GridBox(ncols=COLUMNS)
        self._spectra = SpectrumPlot("Spectra", 480, 360)
        self._overlay = OverlayPlot("All maps together", 400, 360)
        self._after = pn.Column(visible=False, sizing_mode="stretch_width")
        run = pn.widgets.Button(
            label="Run on the full data", color="primary", width=280, on_click=lambda _: self._run()
        )
        sliders = [self._penalties[name] for name, row in PENALTIES.items() if row.weights]
        switches = [self._penalties[name] for name, row in PENALTIES.items() if not row.weights]
        left = pn.Column(
            self._method, self._settings["k"], self._settings["loss"], *sliders, self._settings["closure"], *switches,
            pn.Row(*self._of_a_run.values()), run, width=310,
        )  # fmt: skip
        top = pn.Row(
            pn.pane.Bokeh(self._overlay.figure),
            pn.pane.Bokeh(self._spectra.figure, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
        self.layout = pn.Row(
            left, pn.Column(self._state, top, self._grid, self._after, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )  # fmt: skip

    def _make_after(self) -> None:
        """Make the pictures of what a run leaves unexplained, once."""
        self._residual = MapPlot("Residual, root mean square", 340, 300, colours="Cividis256")
        self._misfit = SpectrumPlot("Mean of data, model and residual", 360, 300)
        self._course = CurvePlot(
            "Convergence", "sweep", "relative change of the objective", 260, 300
        )
        plots = (self._residual, self._misfit, self._course)
        self._after[:] = [
            pn.Row(
                pn.pane.Bokeh(plots[0].figure),
                *(pn.pane.Bokeh(plot.figure, sizing_mode="stretch_width") for plot in plots[1:]),
                sizing_mode="stretch_width",
            )
        ]

    def choices(self) -> Choices:
        """Return what the controls say."""
        settings = {**self._settings, **self._of_a_run}
        return Choices(
            penalties={name: control.value for name, control in self._penalties.items()},
            **{name: control.value for name, control in settings.items()},
        )

    def set_number(self, k: int) -> None:
        """Move the slider of k."""
        self._settings["k"].value = min(k, MOST_COMPONENTS)

    def data_changed(self) -> None:
        """Take the noise that suits the data and show a first answer."""
        self._settings["loss"].value = (
            "counts, weighted" if self._page.session.data.is_counts else "constant noise"
        )
        self._after.visible = False
        self.refresh()

    def _preset(self, method: str) -> None:
        for name, value in METHODS[method].items():
            self._penalties[name].value = value
        self.refresh()

    def refresh(self) -> None:
        """Ask the sketch for the answer to the choices; the newest wins."""
        live = self._page.session.live
        if live is None:
            return
        choices = self.choices()
        self._after.visible = False
        self._page.live.submit(
            lambda ticket: live.unmix(choices, ticket.show, ticket.check),
            self._show_picture, self._fail, self._show_picture,
        )  # fmt: skip

    def _fail(self, problem: Exception) -> None:
        self._state.object = " ".join(str(problem).split())

    def _show_picture(self, picture: Picture) -> None:
        settled = "settled" if picture.converged else "still moving: a run finishes it"
        extra = f"; {picture.left_out}" if picture.left_out else ""
        self._state.object = f"Live, from a sketch ({picture.stage}): {settled}, after {picture.seconds:.2f} s{extra}."
        self.draw(picture.maps, picture.spectra)

    def draw(self, maps: np.ndarray, spectra: np.ndarray) -> None:
        """Draw maps (*domain, k) and spectra (k, channels)."""
        data, k = self._page.session.data, len(spectra)
        names = [f"Component {j + 1}" for j in range(k)]
        self._spectra.show(data.energy, list(spectra), names, data.energy_label)
        images = maps if maps.ndim == 3 else maps[None]
        self._overlay.show(images, data)
        while len(self._maps) < k:
            self._maps.append(MapPlot("", 315, 265))
        for j, (plot, colour) in enumerate(zip(self._maps, palette(k), strict=False)):
            plot.show(images[..., j], data, names[j])
            plot.figure.title.text_color = colour
        # Every map has its place from when it is first drawn.
        self._grid.extend([pn.pane.Bokeh(plot.figure) for plot in self._maps[len(self._grid) :]])
        for j, pane in enumerate(self._grid):
            pane.visible = j < k

    def _run(self) -> None:
        page, choices = self._page, self.choices()
        try:
            choices.model()
        except ValueError as problem:
            page.complain(problem)
            return
        page.background(
            f"Running {choices.label} ...",
            lambda ticket: page.session.fit(choices, ticket),
            self._keep,
        )

    def _keep(self, run: Run) -> None:
        kept = self._page.session.keep(run)
        self._page.tell("runs_changed")
        model = kept.result.model
        end = "converged" if model.converged_ else "not converged"
        self._page.live.cancel()
        self._state.object = (
            f"{kept.name}: {kept.label}; full data, {end} after {model.n_iter_} sweeps, {kept.fitted.seconds:.2f} s, "
            f"optimality {model.optimality_:.1e}."
        )
        self._page.say(f"Kept {kept.name}: see Runs to compare, Export to take it home.")
        self.show_run(kept)

    def show_run(self, run: Run) -> None:
        """Draw a run with what it leaves unexplained."""
        result = run.result
        self.draw(np.moveaxis(result.maps.data, 0, -1), result.spectra.data)
        data, misfit = self._page.session.data, result.misfit()
        if not len(self._after):
            self._make_after()
        self._residual.show(misfit.map.reshape(data.shape[:2]), data)
        self._misfit.show(
            data.energy, [misfit.data_spectrum, misfit.model_spectrum, misfit.spectrum],
            ["data", "model", "residual"], data.energy_label,
        )  # fmt: skip
        course = np.asarray(result.model.objective_)
        change = np.abs(np.diff(course)) / np.maximum(np.abs(course[1:]), 1e-300)
        self._course.show(2 + np.flatnonzero(change > 0), change[change > 0])
        self._after.visible = True
