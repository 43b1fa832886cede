"""How many components: the criteria side by side, and the range that can be defended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn

from endmember.studio.figures import PLAIN, CurvePlot

if TYPE_CHECKING:
    from endmember.studio.page import Page


_LEFT = "table td, table th { text-align: left !important; }"


class NumberPanel:
    """The rank panel."""

    title = "Number"

    def __init__(self, page: Page) -> None:
        self._page = page
        self._ask = pn.widgets.Button(label="How many components?", color="primary", width=220)
        self._take = pn.widgets.Button(label="Use the suggestion", width=180, disabled=True)
        self._verdict = pn.pane.Str("", sizing_mode="stretch_width", stylesheets=[PLAIN])
        self._table = pn.pane.DataFrame(
            None, width=620, index=False, justify="left", stylesheets=[_LEFT]
        )
        self._curve: CurvePlot | None = None
        self._found = pn.Row(sizing_mode="stretch_width")
        self._report: Any = None
        self._ask.on_click(lambda _: self._start())
        self._take.on_click(lambda _: self._page.deliver(self._use))
        self.layout = pn.Column(
            pn.Row(self._ask, self._take), self._verdict, self._found, sizing_mode="stretch_width"
        )

    def data_changed(self) -> None:
        """Forget what was said of other data."""
        self._report, self._take.disabled, self._verdict.object = None, True, ""
        self._found.clear()

    def runs_changed(self) -> None:
        """Nothing here depends on runs."""

    def _start(self) -> None:
        if self._page.session.image is None:
            self._page.say("Open a file first.")
            return
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
        if self._curve is None:
            self._curve = CurvePlot(
                "How far components rise above noise (green: the range that can be defended)",
                "component", "times what noise alone may reach", 480, 380,
            )  # fmt: skip
        self._curve.show(np.arange(1, len(shown) + 1), shown, (low - 0.4, high + 0.4))
        self._found[:] = [
            self._table,
            pn.pane.Bokeh(self._curve.figure, sizing_mode="stretch_width"),
        ]
        self._take.disabled = report.suggested < 1
        self._page.say(report.sentence)

    def _use(self) -> None:
        if self._report is not None:
            self._page.panel("Unmix").set_number(self._report.suggested)
            self._page.say(f"The Unmix panel now asks for {self._report.suggested} components.")
