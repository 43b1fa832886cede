"""The page of one user: a header to open data, a line that says what goes on, and the panels."""

import functools
import html
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import panel as pn
from panel.io import unlocked
from panel.io.resources import get_dist_path

from endmember.app.core.session import Session
from endmember.app.page.data import DataPanel, PreparePanel
from endmember.app.page.figures import PLAIN, wrapped
from endmember.app.page.model import ModelPanel, NumberPanel
from endmember.app.page.runs import ExportPanel, RunsPanel
from endmember.app.server.files import PIECE, Upload, listing
from endmember.app.work.scheduler import Lane, Remark, Ticket
from endmember.errors import EndmemberError
from endmember.signals.files.source import SeveralSignalsError
from endmember.synthetic import mixed_phases

logger = logging.getLogger("endmember")
_UP = ".. (up)"
_WELCOME = """\
A spectrum image holds a spectrum at every pixel; unmixing finds the few that it is made of, and a map of each.
Open a file of this folder above, drop one there, or try the example: four oxides, of which the truth is known.
Then go through the tabs from left to right: look, prepare, count, unmix, compare, and take a script home."""
#: The panels by the titles of their tabs, in the order of the work.
PANELS: dict[str, Any] = {
    panel.title: panel
    for panel in (DataPanel, PreparePanel, NumberPanel, ModelPanel, RunsPanel, ExportPanel)
}


class Page:
    """Everything that one user sees.

    Parameters
    ----------
    session : Session
        That user's own.
    """

    def __init__(self, session: Session) -> None:
        pn.extension("filedropper")
        pn.config.exception_handler = (
            self.complain
        )  # whatever goes wrong on a click is said on the page
        self.session = session
        self._document = pn.state.curdoc
        if self._document is not None:
            # Panel says so only once the page is drawn; what is made before would ask a server elsewhere.
            self._document.template_variables["dist_url"] = get_dist_path()
        self._coming: deque[Callable[[], None]] = deque()
        self.drag, self.live = Lane(self.deliver), Lane(self.deliver)
        self.jobs = Lane(self.deliver, queue=True)
        self.message = pn.widgets.StaticText(
            value="Open a file to begin."
            + (" Runs that were kept before are offered in Runs." if session.kept() else ""),
            sizing_mode="stretch_width",
            margin=(5, 10),
        )
        self.cancel = pn.widgets.Button(
            label="Cancel", color="danger", visible=False, width=90, margin=(0, 10),
            on_click=lambda _: self._cancel_job(),
        )  # fmt: skip
        self._panels: dict[str, Any] = {}
        self._is_line = False
        self._remarks: dict[str, None] = {}  # each once, in their order
        self._unseen: dict[str, set[str]] = {}
        self._places = {title: pn.Column(sizing_mode="stretch_width") for title in PANELS}
        self.tabs = pn.Tabs(*self._places.items(), sizing_mode="stretch_width")
        self.tabs.param.watch(lambda _: self.deliver(self._show_panel), "active")
        example = pn.widgets.Button(
            label="Open the example", color="primary", width=160, on_click=lambda _: self._try()
        )
        words = pn.pane.Str(_WELCOME, stylesheets=[PLAIN], sizing_mode="stretch_width")
        self._welcome = pn.Column(words, example, sizing_mode="stretch_width")
        self.layout = pn.Column(
            self._header(), pn.Row(self.message, self.cancel, min_height=36, sizing_mode="stretch_width"),
            self._welcome, self.tabs, sizing_mode="stretch_width",
        )  # fmt: skip
        if self._document is not None and self._document.session_context is not None:
            pn.state.on_session_destroyed(lambda _: self.close())

    def close(self) -> None:
        """End this user's work and forget the data."""
        for lane in (self.drag, self.live, self.jobs):
            lane.close()
        self.session.close()

    # Panels ---------------------------------------------------------------------------------
    def panel(self, title: str) -> Any:
        """Return the panel of that title; it is made when it is first wanted, which saves its pictures until then."""
        if title not in self._panels:
            self._panels[title] = PANELS[title](self)
            self._unseen[title] = {"data_changed", "regions_changed", "runs_changed"}
        for change in sorted(self._unseen[title]):
            self._unseen[title].discard(change)
            getattr(self._panels[title], change, lambda: None)()
        if not self._places[title]:
            # Filled before it is sent: a change on its heels could overtake it.
            self._places[title][:] = [self._panels[title].layout]
        return self._panels[title]

    def _show_panel(self) -> None:
        shown = list(PANELS)[self.tabs.active]
        for title, place in self._places.items():
            place.visible = title == shown  # the others would keep their room on the page
        if self.session.image is not None or shown == RunsPanel.title:
            self.panel(shown)

    def tell(self, change: str) -> None:
        """Tell the panel that is seen of a change, such as "data_changed"; the others once they are seen."""
        for unseen in self._unseen.values():
            unseen.add(change)
        self._show_panel()

    def deliver(self, call: Callable[[], None]) -> None:
        """Call something on the event loop of this user's page, in the order of the requests."""
        self._coming.append(call)  # of two callbacks either may come first
        if self._document is None or self._document.session_context is None:
            self._deliver_next()
        else:
            self._document.add_next_tick_callback(self._deliver_next)

    def _deliver_next(self) -> None:
        """Carry out the oldest call.

        Panel and Bokeh send changes by ways of their own, on which one overtakes the other: all take that of Panel.
        """
        with unlocked(policy="collect"):
            try:
                self._coming.popleft()()
            except Exception as problem:  # a picture that cannot be drawn leaves the page alive
                level = logging.DEBUG if isinstance(problem, EndmemberError) else logging.ERROR
                logger.log(level, "the workbench could not show an answer", exc_info=True)
                self.complain(problem)
            self.cancel.visible = self.jobs.busy

    # What goes on ---------------------------------------------------------------------------
    def say(self, sentence: str) -> None:
        """Show a sentence and what the last work has noticed, as text whatever it holds."""
        self.message.value = "<br>".join(map(html.escape, [sentence, *self._remarks]))

    def complain(self, problem: Exception) -> None:
        """Show why something could not be done; of a file that holds several signals, offer them."""
        if isinstance(problem, SeveralSignalsError):
            self.say("The file holds several spectrum images: choose one.")
            self._signal.param.update(
                options={"...": None, **problem.choices}, value=None, visible=True
            )
            return
        said = str(problem) or type(problem).__name__
        if isinstance(problem, OSError) and problem.strerror:  # the system itself said so
            said = f"{problem.filename}: {problem.strerror}"
        said = html.escape(self._without_folders(" ".join(said.split())))
        self.message.value = f'<span style="color:#b00020">{said}</span>'

    def _without_folders(self, said: str) -> str:
        """Return words with files called by their names, which say enough."""
        for folder in (self.session.root, self.session.uploads):
            said = said.replace(f"{folder}/", "")
        return said

    def background(
        self, sentence: str, work: Callable[[Ticket], Any], done: Callable[[Any], None]
    ) -> None:
        """Do long work off the event loop, after what was asked before, with a way to cancel it."""

        def begin(ticket: Ticket) -> Any:
            ticket.show(sentence)
            return work(ticket)

        remarks: dict[str, None] = {}

        def show(words: str) -> None:
            self._remarks = remarks
            if isinstance(words, Remark):
                remarks[self._without_folders(words)] = None
            else:
                self.say(words)

        self.say(f"{'Waiting for the work before: ' if self.jobs.busy else ''}{sentence}")
        self.cancel.visible = True
        self.jobs.submit(begin, done, self.complain, show)

    def _cancel_job(self) -> None:
        self.jobs.cancel(first=True)
        self.cancel.visible = self.jobs.busy
        self.say("Cancelled; nothing was changed.")

    # Data -----------------------------------------------------------------------------------
    def _try(self) -> None:
        """Look at a phantom."""
        self.read(
            "Making the example ...",
            lambda ticket, signal: self.session.store.keep(
                mixed_phases((48, 64), channels=256, k=4).signal
            ),
        )

    def data_changed(self) -> None:
        """Tell the panels that other data are looked at."""
        data = self.session.data
        self._welcome.visible = False
        ny, nx, channels = data.shape
        if data.is_line != self._is_line:  # lines are drawn in other pictures
            self._is_line, self._panels, self._unseen = data.is_line, {}, {}
            for place in self._places.values():
                place.clear()
        stay = "They stay on disk: while" if data.stays else "While"
        more = f" {stay} you drag, means of {data.bin} x {data.bin} pixels stand for them."
        self.say(
            f"{data.title or 'Data'}: {ny} x {nx} pixels, {channels} channels.{more * data.is_preview}"
        )
        self.tell("data_changed")

    def _header(self) -> pn.viewable.Viewable:
        self._place = ""
        self._folder = pn.widgets.Select(label="Folder", width=140)
        self._file = pn.widgets.Select(label="File", width=220)
        opened = pn.widgets.Button(
            label="Open", color="primary", width=90, margin=(26, 10, 5, 10),
            on_click=lambda _: self._open(),
        )  # fmt: skip
        self._folder.param.watch(lambda event: self._enter(event.new), "value")
        self._signal = pn.widgets.Select(label="Signal of the file", width=380, visible=False)
        self._signal.param.watch(
            lambda event: None if event.new is None else self._again(event.new), "value"
        )
        self._dropper = _Dropper(
            self, max_file_size=f"{max(1, self.session.limit // 2**20)}MB", chunk_size=PIECE,
            height=52, width=270, margin=(14, 10, 0, 10),
        )  # fmt: skip
        self._list("")
        return wrapped(
            pn.pane.HTML('<span style="font-size:22px;font-weight:600">Endmember</span>', margin=(24, 20, 0, 10)),
            self._folder, self._file, opened, self._dropper, self._signal,
        )  # fmt: skip

    def _list(self, place: str) -> None:
        """Offer what lies in a folder; an OSError leaves everything as it was."""
        folders, files = listing(self.session.root, place)
        self._place = place
        up = [_UP] if place else []
        here = f"./{place}" if place else "./"
        self._folder.param.update(options=[here, *up, *folders], value=here)
        self._file.param.update(options=files, value=files[0] if files else None)

    def _enter(self, chosen: str) -> None:
        if chosen is None or chosen.startswith("./"):
            return
        above = self._place.rpartition("/")[0]
        try:
            self._list(above if chosen == _UP else f"{self._place}/{chosen}".lstrip("/"))
        except OSError as problem:
            self.complain(problem)
            self._list(self._place)

    def _open(self) -> None:
        if not self._file.value:
            self.say("There is no file here that can be read; choose another folder, or drop one.")
            return
        name = f"{self._place}/{self._file.value}".lstrip("/")
        self.read(
            f"Reading {name} ...", lambda ticket, signal: self.session.read(name, signal, ticket)
        )

    def read(
        self, sentence: str, work: Callable[[Ticket, int | None], Any], signal: int | None = None
    ) -> None:
        """Read data in the background and look at them; where a file holds several, ask which."""

        def done(image: Any) -> None:
            self.session.use(image)
            self.data_changed()
            self.tell("runs_changed")

        self._again = functools.partial(self.read, sentence, work)
        self._signal.visible = False
        self.live.cancel()
        self.background(sentence, lambda ticket: work(ticket, signal), done)


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
                    lambda ticket, signal: self._page.session.read_upload(upload, signal, ticket),
                )
        except (ValueError, OSError) as problem:
            self._upload = None
            self._page.complain(problem)
