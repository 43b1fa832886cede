"""All runs: any two side by side, bands and error bars on demand; and what can be taken home of one."""

import asyncio
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn

from endmember.app.core.session import Run, side_by_side
from endmember.app.page.figures import PLAIN, SpectrumPlot, map_plot, wide, wrapped
from endmember.app.page.panel import Panel

#: What can be drawn of how sure a run is.
_JUDGED = {"bands": "ambiguity bands", "errors": "standard errors"}


def _listed(runs: Sequence[Run]) -> dict[str, Run]:
    """Return runs as a list offers them."""
    return {f"{run.name}: {run.label}": run for run in runs}


class RunsPanel(Panel):
    """Two runs, one pair of components a row."""

    title = "Runs"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._choice = [pn.widgets.Select(label=name, width=380) for name in ("Left", "Right")]
        self._doubt = pn.widgets.RadioButtonGroup(
            options={"nothing": "", **{words: what for what, words in _JUDGED.items()}},
            value="",
            width=350,
            margin=(26, 10, 5, 10),
        )
        self._verdict = pn.pane.Str("", sizing_mode="stretch_width", stylesheets=[PLAIN])
        self._rows: Any = pn.Column(sizing_mode="stretch_width")
        self._plots: list[tuple[list[Any], SpectrumPlot]] = []
        self._drawn: list[Run] = []
        self._kept = pn.widgets.Select(label="Kept before", width=260)
        reopen = pn.widgets.Button(
            label="Open again", width=110, margin=(26, 10, 5, 10), on_click=lambda _: self._reopen()
        )
        self._before = pn.Row(self._kept, reopen, visible=False)
        for choice in self._choice:
            choice.param.watch(lambda _: self._show(), "value")
        self._doubt.param.watch(lambda _: self._ask(), "value")
        self.layout = pn.Column(
            self._before,
            wrapped(*self._choice, self._doubt),
            self._verdict,
            self._rows,
            sizing_mode="stretch_width",
        )

    def runs_changed(self) -> None:
        """List the runs; the two newest are shown, and those kept before are offered."""
        runs, kept = self._page.session.runs, self._page.session.kept()
        self._kept.param.update(options=kept, value=kept[0] if kept else None)
        self._before.visible = bool(kept)
        newest = [runs[-2:][0], runs[-1]] if runs else [None, None]
        for choice, run in zip(self._choice, newest, strict=True):
            choice.param.update(options=_listed(runs), value=run)
        self._doubt.value = ""
        self._show()

    def _reopen(self) -> None:
        page, name = self._page, self._kept.value

        def done(run: Run) -> None:
            page.session.take(run)
            page.data_changed()
            page.tell("runs_changed")
            page.say(f"{name} is back, with its data.")

        if name:
            page.background(
                f"Opening {name} again ...", lambda ticket: page.session.reopen(name, ticket), done
            )

    def _chosen(self) -> list[Run]:
        return [choice.value for choice in self._choice if choice.value is not None]

    def _ask(self) -> None:
        """Work out bands or errors of the chosen runs, then draw them."""
        page, chosen, doubt = self._page, self._chosen(), self._doubt.value
        if not doubt or not chosen:
            self._show()
            return

        def work(ticket: Any) -> None:
            for run in chosen:
                page.session.judge(run, doubt, ticket)

        def done(_: Any) -> None:
            page.say(f"Drawn with {_JUDGED[doubt]}.")
            self._show()

        page.background(f"Working out {_JUDGED[doubt]} ...", work, done)

    def _show(self) -> None:
        """Draw the chosen runs, or the one that was chosen twice; the pictures are made anew for others."""
        chosen = self._chosen()
        runs, pairs, said = list(dict.fromkeys(chosen)), list[Any](), [
            "No runs yet: press Run on the full data in the Unmix panel. Every run is kept and listed here."
        ]  # fmt: skip
        if len(chosen) < 2:  # the other follows at once
            runs = []
        else:
            try:
                pairs = list(zip(*side_by_side(*chosen), strict=True))
                mean = f"Mean angle between paired spectra: {np.mean([one[2] for one in pairs]):.2f} degrees."
                said = [
                    mean
                    if len(runs) > 1
                    else "Two different runs, one left and one right, are compared component by component."
                ]
                said += [
                    f"{run.name}: {one.sentence}" for run in runs if (one := self._judged(run))
                ]
            except ValueError as problem:
                said = [str(problem)]
        self._verdict.object = "\n".join(said)
        others = runs != self._drawn
        if others:
            self._drawn = runs
            self._plots = [
                ([map_plot(run.image, 190, 200) for run in runs], SpectrumPlot("", 300, 290))
                for _ in pairs
            ]
        for plots, (*components, angle) in zip(self._plots, pairs, strict=False):
            self._draw(*plots, list(zip(runs, components, strict=False)), angle)
        if others:
            self._rows[:] = [
                wrapped(*[plot.pane for plot in maps], wide(spectra))
                for maps, spectra in self._plots
            ]

    def _draw(
        self, maps: list[Any], plot: SpectrumPlot, pair: list[tuple[Run, int]], angle: float
    ) -> None:
        """Draw one component of one run, or a pair."""
        spectra, bands, names = [], [], []
        for place, (run, j) in zip(maps, pair, strict=True):
            image, short = np.atleast_2d(run.result.maps.data[j]), "-".join(run.name.split("-")[:2])
            place.show(image, run.image, f"{short}, component {j + 1}", "Amount")
            spectrum = np.asarray(run.result.spectra.data[j], dtype=float)
            scale = max(float(np.abs(np.nan_to_num(spectrum)).max()), 1e-300)
            spectra.append(spectrum / scale)
            names.append(f"{short}, {j + 1}")
            bands += self._band(run, j, spectrum, scale)
        numbers = " and ".join(str(j + 1) for _, j in pair)
        plot.figure.title.text = (
            f"Pair {numbers}: {angle:.2f} degrees apart"
            if len(pair) > 1
            else f"Component {numbers}"
        )
        data = pair[0][0].image
        plot.show(data.energy, spectra, names, data.axis.label, "Intensity, largest 1", bands)

    def _judged(self, run: Run) -> Any:
        """Return bands or errors of a run, whichever are asked for; None where they are not known."""
        return run.fitted.judged.get(self._doubt.value)

    def _band(
        self, run: Run, j: int, spectrum: np.ndarray, scale: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return low and high of a spectrum, drawn with its largest value at one."""
        judged = self._judged(run)
        if judged is None:
            return []
        if self._doubt.value == "bands":
            total = float(np.nansum(spectrum)) / scale
            return [(judged.spectra_low[j] * total, judged.spectra_high[j] * total)]
        return [
            ((spectrum - judged.spectra[j]) / scale, (spectrum + judged.spectra[j]) / scale),
        ]


#: What can be taken home in one file: what the button says, and the name of the file.
_FILES = (
    ("Report", "report", "html"), ("Picture (pdf)", "picture", "pdf"), ("Picture (svg)", "picture", "svg"),
    ("Picture (png)", "picture", "png"), ("Maps (tif)", "maps", "tif"), ("Spectra (csv)", "spectra", "csv"),
    ("Everything (json)", "result", "json"),
)  # fmt: skip


class ExportPanel(Panel):
    """One run to take home; the script has them all."""

    title = "Export"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._run = pn.widgets.Select(label="Run", width=420)
        self._name = pn.widgets.TextInput(
            label="Folder, in the one that the workbench was started in", width=420
        )
        save = pn.widgets.Button(
            label="Save the result folder",
            color="primary",
            width=200,
            margin=(26, 10, 5, 10),
            on_click=lambda _: self._keep(),
        )
        downloads: list[Any] = [
            pn.widgets.FileDownload(
                callback=self._fetch(make), filename=name, label=label, color="default", width=200
            )
            for label, name, make in (
                ("Script", "workbench.py", lambda run: page.session.script().encode()),
                (
                    "Everything (zip)",
                    "result.zip",
                    lambda run: page.session.archive(run).read_bytes(),
                ),
                *(
                    (
                        label,
                        f"{name}.{end}",
                        lambda run, end=end: page.session.report(run, ending=end).read_bytes(),
                    )
                    for label, name, end in _FILES
                ),
            )
        ]
        self._ways = [save, *downloads]
        title = pn.pane.Str(
            "The script that does again what was clicked", stylesheets=[PLAIN], styles={"font-weight": "600"}
        )  # fmt: skip
        self._shown = pn.pane.Str(
            "", sizing_mode="stretch_width",
            styles={"background": "#f6f6f6", "padding": "0 14px", "border-radius": "4px", "overflow-x": "auto"},
        )  # fmt: skip
        self.layout = pn.Column(
            self._run, pn.Row(self._name, save), wrapped(*downloads), title, self._shown,
            sizing_mode="stretch_width",
        )  # fmt: skip

    def runs_changed(self) -> None:
        """List the runs and show the script."""
        session = self._page.session
        newest = session.runs[-1] if session.runs else None
        self._run.param.update(options=_listed(session.runs), value=newest)
        self._name.value = newest.name if newest else ""
        for way in self._ways:
            way.disabled = not session.runs
        self._shown.object = session.script() if session.runs else "There is no run yet."

    def _fetch(self, make: Callable[[Run], bytes]) -> Any:
        """Return what a click on a download calls; it makes the file off the event loop."""
        page = self._page

        async def callback() -> io.BytesIO:
            run = self._run.value
            page.say(f"Writing {run.name} ...")
            try:
                made = await asyncio.to_thread(make, run)
            except (ValueError, OSError, RuntimeError) as problem:
                page.complain(problem)
                return io.BytesIO(b"")
            page.say(f"Handed {run.name} to the browser.")
            return io.BytesIO(made)

        return callback

    def _keep(self) -> None:
        page, run, name = self._page, self._run.value, self._name.value or ""
        page.background(
            f"Saving {name} ...",
            lambda ticket: page.session.save(run, name, ticket=ticket),
            lambda folder: page.say(f"Saved in {folder}; em.open({str(folder)!r}) reads it back."),
        )
