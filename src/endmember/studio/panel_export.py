"""What can be taken home: result folder, report, and the script that makes it all again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import panel as pn

if TYPE_CHECKING:
    from endmember.studio.page import Page


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
        self._save = w.Button(label="Save the result folder", color="primary", width=200)
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
        self._shown = pn.pane.Str("", width=1000)
        self.layout = pn.Column(
            self._run,
            pn.Row(self._name, pn.Column(self._save, align="end")),
            pn.Row(*downloads),
            self._shown,
        )

    def data_changed(self) -> None:
        """Leave the runs as they are."""

    def runs_changed(self) -> None:
        """List the runs and show the script."""
        session = self._page.session
        options = {f"{run.name}: {run.label}": run.name for run in session.runs}
        newest = session.runs[-1].name if session.runs else None
        self._run.param.update(options=options, value=newest)
        self._name.value = newest or ""
        self._shown.object = session.script() if session.runs else ""

    def _script(self, run: Any) -> bytes:
        return self._page.session.script().encode()

    def _fetch(self, make: Any) -> Any:
        def callback() -> io.BytesIO | None:
            if self._run.value is None:
                self._page.say("There is no run yet; press Run first.")
                return io.BytesIO(b"")
            return io.BytesIO(make(self._page.session.find(self._run.value)))

        return callback

    def _keep(self) -> None:
        page = self._page
        if self._run.value is None:
            page.say("There is no run yet; press Run first.")
            return
        run, name = page.session.find(self._run.value), self._name.value
        page.background(
            f"Saving {name} ...",
            lambda ticket: page.session.save(run, name),
            lambda folder: page.say(f"Saved in {folder}; em.open({str(folder)!r}) reads it back."),
        )
