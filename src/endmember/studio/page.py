"""The page of one user: a header to open data, a line that says what goes on, and the panels."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Any

import panel as pn

from endmember.studio.files import Upload, UploadTooLargeError, listing
from endmember.studio.panel_data import DataPanel
from endmember.studio.panel_export import ExportPanel
from endmember.studio.panel_model import ModelPanel
from endmember.studio.panel_number import NumberPanel
from endmember.studio.panel_prepare import PreparePanel
from endmember.studio.panel_runs import RunsPanel
from endmember.studio.scheduler import Lane, Ticket
from endmember.studio.server import PIECE
from endmember.studio.session import Session

#: Seconds between two words about progress.
SAY_EVERY = 0.2
_UP = ".. (up)"


class Page:
    """Everything that one user sees.

    Parameters
    ----------
    session : Session
        That user's own.
    """

    def __init__(self, session: Session) -> None:
        pn.extension("filedropper")
        self.session = session
        self._document = pn.state.curdoc
        self.live, self.jobs = Lane(self.deliver), Lane(self.deliver)
        self.message = pn.widgets.StaticText(
            value="Open a file to begin.", sizing_mode="stretch_width"
        )
        self.cancel = pn.widgets.Button(label="Cancel", color="danger", visible=False, width=90)
        self.cancel.on_click(lambda _: self._cancel_job())
        self.model, self.runs = ModelPanel(self), RunsPanel(self)
        self.panels: list[Any] = [
            DataPanel(self), PreparePanel(self), NumberPanel(self), self.model, self.runs, ExportPanel(self)
        ]  # fmt: skip
        self.tabs = pn.Tabs(*[(panel.title, panel.layout) for panel in self.panels], dynamic=True)
        self.layout = pn.Column(
            self._header(),
            pn.Row(self.message, self.cancel),
            self.tabs,
            sizing_mode="stretch_width",
        )
        if self._document is not None and self._document.session_context is not None:
            pn.state.on_session_destroyed(lambda _: self.close())

    def close(self) -> None:
        """End this user's work and forget the data."""
        self.live.close()
        self.jobs.close()
        self.session.close()

    def deliver(self, call: Callable[[], None]) -> None:
        """Call something on the event loop of this user's page."""
        if self._document is None or self._document.session_context is None:
            call()
        else:
            self._document.add_next_tick_callback(call)

    # What goes on ---------------------------------------------------------------------------
    def say(self, sentence: str) -> None:
        """Show a sentence, as text whatever it holds."""
        self.message.value = html.escape(sentence)

    def complain(self, problem: Exception) -> None:
        """Show why something could not be done."""
        self.cancel.visible = False
        said = " ".join(str(problem).split()) or type(problem).__name__
        self.message.value = f'<span style="color:#b00020">{html.escape(said)}</span>'

    def background(
        self, sentence: str, work: Callable[[Ticket], Any], done: Callable[[Any], None]
    ) -> None:
        """Do long work off the event loop, with a word on its progress and a way to cancel it."""

        def finish(answer: Any) -> None:
            self.cancel.visible = False
            try:
                done(answer)
            except (ValueError, OSError) as problem:
                self.complain(problem)

        self.say(sentence)
        self.cancel.visible = True
        self.jobs.submit(work, finish, self.complain, self.say)

    def progress(self, ticket: Ticket) -> Callable[[Any], bool]:
        """Return the callback of a fit that says how it goes on and ends where it was cancelled."""
        last = [0.0]

        def callback(progress: Any) -> bool:
            ticket.check()
            now = time.monotonic()
            if now - last[0] > SAY_EVERY:
                last[0] = now
                left = progress.seconds_left
                known = left is not None and not progress.stage.startswith("start")
                words = f", about {left:.0f} s left in this stage" if known else ""
                ticket.show(f"{progress.stage}: sweep {progress.sweep}{words}")
            return False

        return callback

    def _cancel_job(self) -> None:
        self.jobs.cancel()
        self.cancel.visible = False
        self.say("Cancelled; nothing was changed.")

    # Data -----------------------------------------------------------------------------------
    def begin(self, first: Callable[[], None]) -> None:
        """Open what a new page starts with."""
        try:
            first()
        except (ValueError, OSError) as problem:
            self.complain(problem)
            return
        self.data_changed()

    def data_changed(self) -> None:
        """Tell every panel that other data are looked at."""
        ny, nx, channels = self.session.data.shape
        title = self.session.data.title or "Data"
        self.say(f"{title}: {ny} x {nx} pixels, {channels} channels.")
        for panel in self.panels:
            panel.data_changed()

    def runs_changed(self) -> None:
        """Tell the panels that list runs."""
        for panel in self.panels:
            panel.runs_changed()

    def _header(self) -> pn.viewable.Viewable:
        self._folder, self._place = pn.widgets.Select(label="Folder", width=160), ""
        self._file = pn.widgets.Select(label="File", width=260)
        opened = pn.widgets.Button(label="Open", color="primary", width=80, margin=(24, 10, 5, 10))
        self._folder.param.watch(lambda event: self._enter(event.new), "value")
        opened.on_click(lambda _: self._open())
        megabytes = max(1, self.session.limit // 2**20)
        self._dropper = _Dropper(
            self, max_file_size=f"{megabytes}MB", chunk_size=PIECE, height=80, width=320
        )
        self._list()
        return pn.Row(
            pn.pane.Markdown("## Endmember", width=140),
            self._folder,
            self._file,
            opened,
            self._dropper,
        )

    def _list(self) -> None:
        folders, files = listing(self.session.root, self._place)
        up = [_UP] if self._place else []
        here = f"./{self._place}" if self._place else "./"
        self._folder.param.update(options=[here, *up, *folders], value=here)
        self._file.param.update(options=files, value=files[0] if files else None)

    def _enter(self, chosen: str) -> None:
        if chosen is None or chosen.startswith("./"):
            return
        if chosen == _UP:
            self._place = "/".join(self._place.split("/")[:-1])
        else:
            self._place = f"{self._place}/{chosen}".lstrip("/")
        try:
            self._list()
        except OSError as problem:
            self.complain(problem)

    def _open(self) -> None:
        if not self._file.value:
            self.say("There is no file here that can be read; choose another folder, or drop one.")
            return
        name = f"{self._place}/{self._file.value}".lstrip("/")
        self.read(f"Reading {name} ...", lambda ticket: self.session.read(name))

    def read(self, sentence: str, work: Callable[[Ticket], Any]) -> None:
        """Read data in the background and look at them."""

        def done(image: Any) -> None:
            self.session.use(image)
            self.data_changed()
            self.runs_changed()

        self.live.cancel()
        self.background(sentence, work, done)


class _Dropper(pn.widgets.FileDropper):
    """A place to drop a file, which goes to disk piece by piece and never beyond the limit."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self._upload: Upload | None = None

    def _process_event(self, event: Any) -> None:
        data = event.data
        if event.event_name == "delete_event":
            return
        try:
            if data["chunk"] == 1:
                self._upload = self._page.session.receive(str(data["name"]))
            if self._upload is None:
                return
            piece = data["data"]
            self._upload.write(piece.encode() if isinstance(piece, str) else bytes(piece))
            if data["chunk"] == data["total_chunks"]:
                upload, self._upload = self._upload, None
                self._page.read(
                    f"Reading {upload.path.name} ...",
                    lambda ticket: self._page.session.read_upload(upload),
                )
        except (UploadTooLargeError, ValueError, OSError) as problem:
            self._upload = None
            self._page.complain(problem)
