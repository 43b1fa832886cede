"""What can be taken home: result folder, report, and the script that makes it all again."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import panel as pn

from endmember.studio.figures import PLAIN

if TYPE_CHECKING:
    from endmember.studio.page import Page
    from endmember.studio.session import Run


_CODE = {"background": "#f6f6f6", "padding": "0 14px", "border-radius": "4px", "overflow-x": "auto"}


class ExportPanel:
    """One run to take home; the script has them all."""

    title = "Export"

    def __init__(self, page: Page) -> None:
        self._page = page
        w = pn.widgets
        self._run = w.Select(label="Run", width=420)
        self._name = w.TextInput(
            label="Folder, in the one that the workbench was started in", width=420
        )
        self._save = w.Button(
            label="Save the result folder", color="primary", width=200, margin=(26, 10, 5, 10)
        )
        self._save.on_click(lambda _: self._keep())
        downloads = [
            w.FileDownload(
                callback=self._fetch(make), filename=name, label=label, color="default", width=200
            )
            for label, name, make in (
                ("Script", "workbench.py", self._script),
                ("Report", "report.html", lambda run: page.session.report(run).read_bytes()),
                (
                    "Everything (zip)",
                    "result.zip",
                    lambda run: page.session.archive(run).read_bytes(),
                ),
            )
        ]
        self._title = pn.pane.Str("", stylesheets=[PLAIN], styles={"font-weight": "600"})
        self._shown = pn.pane.Str("", sizing_mode="stretch_width", styles=_CODE)
        self.layout = pn.Column(
            self._run, pn.Row(self._name, self._save), pn.Row(*downloads), self._title, self._shown,
            sizing_mode="stretch_width",
        )  # fmt: skip

    def data_changed(self) -> None:
        """Leave the runs as they are."""

    def runs_changed(self) -> None:
        """List the runs and show the script."""
        session = self._page.session
        options = {f"{run.name}: {run.label}": run.name for run in session.runs}
        newest = session.runs[-1].name if session.runs else None
        self._run.param.update(options=options, value=newest)
        self._name.value = newest or ""
        self._title.object = (
            "The script that does again what was clicked"
            if session.runs
            else "There is no run yet."
        )
        self._shown.object = session.script() if session.runs else ""

    def _script(self, run: Run) -> bytes:
        return self._page.session.script().encode()

    def _fetch(self, make: Callable[[Run], bytes]) -> Any:
        """Return what a click on a download calls; it makes the file off the event loop."""
        page = self._page

        async def callback() -> io.BytesIO:
            if self._run.value is None:
                page.say("There is no run yet; press Run first.")
                return io.BytesIO(b"")
            run = page.session.find(self._run.value)
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
        page = self._page
        if self._run.value is None:
            page.say("There is no run yet; press Run first.")
            return
        run, name = page.session.find(self._run.value), self._name.value or ""
        page.background(
            f"Saving {name} ...",
            lambda ticket: page.session.save(run, name, ticket=ticket),
            lambda folder: page.say(f"Saved in {folder}; em.open({str(folder)!r}) reads it back."),
        )
