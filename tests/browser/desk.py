"""What the browser tests have in common: a server to be tried, a real browser, and a user's hands.

Widgets are found by what they say, drawings by their axes or titles: a test knows the page as its user does.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Sandboxed machines offer no namespaces and no graphics; nothing else than this machine has a name.
BROWSER_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE = 60_000  # milliseconds until something counts as never coming
_FIND = """
(wanted) => {
  const seen = [], roots = Bokeh.index.roots ?? Object.values(Bokeh.index);
  const walk = view => { seen.push(view); (view.child_views ?? []).forEach(walk); };
  [...roots].forEach(walk);
  const said = view => [view.model.title?.text, ...view.model.below.map(axis => axis.axis_label)];
  const shown = view => view.frame && view.model.visible && view.el.checkVisibility({visibilityProperty: true});
  const found = seen.filter(view => shown(view) && said(view).some(words => String(words ?? "").includes(wanted)));
  window.drawings = found;
  return found.length;
}
"""
_FRAME = """
(which) => {
  const view = window.drawings[which], frame = view.frame;
  view.el.scrollIntoView({block: "nearest"});
  const box = view.canvas_view.el.getBoundingClientRect();
  const ends = (scale, range) => [scale.compute(range.start), scale.compute(range.end)];
  return {x: [frame.x_range.start, frame.x_range.end], y: [frame.y_range.start, frame.y_range.end],
          across: ends(frame.x_scale, frame.x_range).map(s => s + box.left),
          down: ends(frame.y_scale, frame.y_range).map(s => s + box.top)};
}
"""
_LINES = """
(which) => {
  const source = window.drawings[which].model.renderers.map(one => one.data_source)
      .find(one => one.data.name !== undefined);
  return Array.from(source.data.name).map((name, j) =>
      [name, Array.from(source.data.x[j]), Array.from(source.data.y[j])]);
}
"""
_IMAGE = """
(which) => {
  const data = window.drawings[which].model.renderers.map(one => one.data_source.data)
      .find(one => one.image !== undefined);
  const image = data.image[0];
  return {shape: Array.from(image.shape), values: Array.from(image)};
}
"""


_BANDS = """
(which) => window.drawings[which].model.renderers.map(one => one.data_source.data)
    .find(data => data.colour !== undefined && data.name === undefined).x.length
"""
_WATCH = """
([which, event]) => {
  const sources = window.drawings[which].model.renderers.map(one => one.data_source);
  const source = sources.find(one => one.data.image !== undefined)
      || sources.find(one => one.data.name !== undefined);
  const words = [...Bokeh.documents[0]._all_models.values()].filter(model => typeof model.text === "string");
  const known = () => new Map(words.map(model => [model, model.text]));
  const now = {began: null, data: source.data, texts: known(), seen: [], said: []};
  window.watch = now;
  addEventListener(event, () => Object.assign(now, {began: performance.now(), seen: [], said: []}), {capture: true});
  const look = () => {
    const passed = (performance.now() - now.began) / 1000;
    if (source.data !== now.data && now.began !== null) now.seen.push(passed);
    for (const model of words) if (model.text !== now.texts.get(model)) now.said.push([passed, model.text]);
    now.data = source.data;
    now.texts = known();
    if (window.watch === now) requestAnimationFrame(look);
  };
  look();
}
"""


class Server:
    """``endmember workbench`` in a process of its own, as its user starts it.

    Parameters
    ----------
    folder : Path
        Where it is started.
    *arguments : str
        What else is on its command line.

    Attributes
    ----------
    url : str
    scratch : Path
        Where it keeps what it does not keep for long.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        program = [
            sys.executable,
            "-c",
            "import sys; from endmember.cli import main; sys.exit(main())",
        ]
        self._log = folder.parent / f"{folder.name}-server.log"
        self.scratch = folder.parent / f"{folder.name}-scratch"
        self.scratch.mkdir(exist_ok=True)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*program, "workbench", *arguments], cwd=folder, env={**os.environ, "TMPDIR": str(self.scratch)},
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self.url = ""
        for line in self.process.stdout:
            if found := re.search(r"http://\S+", line):
                self.url = found.group(0)
                break
        if not self.url:
            raise RuntimeError(f"the workbench did not start:\n{self.complaints}")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    @property
    def children(self) -> list[int]:
        """The processes that it has started."""
        return list(_family(self.process.pid))[1:]

    @property
    def complaints(self) -> str:
        """What the server wrote to its log."""
        return self._log.read_text()

    @property
    def megabytes(self) -> float:
        """Memory of the server and of its workers; pages that they share are counted once."""
        return sum(_megabytes(process) for process in _family(self.process.pid))

    def forget_peak(self) -> float:
        """Begin to watch the largest memory anew, and return the memory now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak

    @property
    def peak(self) -> float:
        """Largest memory of the server itself, in megabytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text).group(1)) / 1024

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.terminate()
        self.process.wait(30)


class Tunnel:
    """Another port of this machine that leads to that of a server, and can be cut, as a network can.

    Parameters
    ----------
    there : int
        The port of the server.
    strip : str
        What is taken off the front of every path, as some proxies do.
    """

    def __init__(self, there: int, strip: str = "") -> None:
        self._there, self._strip = there, strip.encode()
        self._ends: list[socket.socket] = []
        self._cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            here, _ = self._listener.accept()
            if self._cut:
                here.close()
                continue
            with suppress(OSError):
                there = socket.create_connection(("127.0.0.1", self._there))
                self._ends += [here, there]
                for way in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, start: socket.socket, end: socket.socket) -> None:
        with suppress(OSError):
            while piece := start.recv(2**16):
                end.sendall(piece.replace(b"GET " + self._strip, b"GET ") if self._strip else piece)
        for one in (start, end):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End all connections, and let none through."""
        self._cut = True
        for one in self._ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections through again."""
        self._cut = False


class Lab:
    """JupyterLab with one notebook.

    Parameters
    ----------
    folder : Path
    *cells : str
        What stands in the notebook.
    """

    def __init__(self, folder: Path, *cells: str) -> None:
        home, log = str(folder / ".home"), folder / ".log"
        quiet = {"JUPYTER_CONFIG_DIR": home, "JUPYTER_DATA_DIR": home, "PYTHONWARNINGS": "ignore"}
        made = [
            {"cell_type": "code", "id": str(n), "source": text, "metadata": {}, "outputs": [], "execution_count": None}
            for n, text in enumerate(cells)
        ]  # fmt: skip
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book = {
            "cells": made,
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (folder / "look.ipynb").write_text(json.dumps(book))
        token = secrets.token_urlsafe()
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
                 f"--IdentityProvider.token={token}"],
                cwd=folder, stdout=output, stderr=output,
                env={**os.environ, **quiet},
            )  # fmt: skip
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())):
            if self.process.poll() is not None:
                raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")
            time.sleep(0.1)
        self.url = f"{found.group(0)}lab/tree/look.ipynb?token={token}"

    def open(self, context):
        """Open the notebook and run its first cell; returns the page and the workbench in it."""
        page = context.new_page()
        page.set_default_timeout(3 * PATIENCE)
        page.goto(self.url)
        page.get_by_text(re.compile("Python 3.* [|] Idle")).first.wait_for()
        self.run(page, 0)
        return page, page.frame_locator(".jp-OutputArea iframe")

    @staticmethod
    def run(page, cell: int) -> None:
        """Run a cell."""
        page.locator(".jp-CodeCell .cm-content").nth(cell).click()
        page.keyboard.press("Shift+Enter")

    def stop(self) -> None:
        """End JupyterLab and its kernel."""
        self.process.terminate()
        self.process.wait(30)


def _family(process: int) -> Iterator[int]:
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _megabytes(process: int) -> float:
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE).group(1)) / 1024


class Desk:
    """One open page and what its user does with it.

    Parameters
    ----------
    context : playwright.sync_api.BrowserContext
    url : str

    Attributes
    ----------
    page : playwright.sync_api.Page
    requests : list of str
        Every address that the page asked for.
    complaints : list of str
        Every warning and error in the browser's console.
    """

    def __init__(self, context, url: str) -> None:
        self.page = context.new_page()
        self.wait_up_to(PATIENCE)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.goto(url)
        self.page.get_by_role("button", name="Open", exact=True).wait_for()

    def wait_up_to(self, patience: float) -> None:
        """Take what has not come after so many milliseconds for something that never comes."""
        self.patience = patience
        self.page.set_default_timeout(patience)

    def _note(self, message) -> None:
        if message.type in ("warning", "error"):
            self.complaints.append(f"{message.type}: {message.text}")

    def warns(self, words: str) -> None:
        """Wait until the page says that the server is out of reach."""
        self.page.locator("#lost", has_text=words).wait_for()

    # Widgets --------------------------------------------------------------------------------
    def reads(self, words: str | re.Pattern) -> None:
        """Wait until the page says something."""
        self.page.locator("div", has_text=words).last.wait_for()

    def panel(self, title: str) -> None:
        """Turn to a panel."""
        self.page.locator(".bk-tab", has_text=re.compile(f"^{title}$")).click()

    def press(self, label: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=label, exact=True).click()

    def choose(self, label: str, option: str | re.Pattern) -> None:
        """Choose from a list, an option that is or contains the given words."""
        box = self.page.get_by_label(label, exact=True)
        text = box.locator("option", has_text=option).first.text_content()
        box.select_option(label=text)

    def type(self, label: str, text: str) -> None:
        """Type into a field."""
        box = self.page.get_by_label(label, exact=True)
        box.fill(text)
        box.press("Enter")

    def slide(self, label: str, steps: int = 1) -> None:
        """Move a slider by so many steps."""
        handle = self.page.get_by_role("slider", name=label, exact=True)
        for _ in range(abs(steps)):
            handle.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def open(self, file: str) -> None:
        """Open a file of the folder."""
        self.choose("File", file)
        self.press("Open")

    def drop(self, file: Path) -> None:
        """Drop a file on the page."""
        self.page.locator("input[type=file]").set_input_files(str(file))

    def download(self, label: str, file: Path) -> Path:
        """Press a button that downloads, and keep what comes."""
        with self.page.expect_download() as coming:
            self.page.get_by_text(label, exact=True).click()
        coming.value.save_as(file)
        return file

    # Drawings -------------------------------------------------------------------------------
    def drawing(self, words: str, which: int = 0) -> int:
        """Return the place of a drawing whose title or axis contains some words, waiting until it is there."""
        self._wait(f"({_FIND})({words!r}) > {which}")
        return which

    def drag(self, words: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse on a drawing, between two points (x, y) in the units of its axes."""
        self.drag_on(self.begin_drag(words, start), end, steps=6)
        self.page.mouse.up()

    def begin_drag(self, words: str, start: tuple[float, float]) -> dict:
        """Press the mouse on a drawing, and return where its axes lie on the screen."""
        frame = None
        while frame != (now := self.page.evaluate(_FRAME, self.drawing(words))):
            frame = now
            self.page.wait_for_timeout(500)  # the map becomes as high as the window lets it
        self.page.mouse.move(*_place(start, frame))
        self.page.mouse.down()
        return frame

    def drag_on(self, frame: dict, end: tuple[float, float], steps: int = 1) -> None:
        """Move the pressed mouse to another point."""
        self.page.mouse.move(*_place(end, frame), steps=steps)

    def watch(self, words: str, event: str) -> None:
        """Take the time from every event of that kind until a drawing shows other data."""
        self.page.evaluate(_WATCH, [self.drawing(words), event])

    def lap(self) -> float:
        """Return the seconds until the first change after the last event; waits for it."""
        self._wait("window.watch.seen.length > 0")
        return self.page.evaluate("window.watch.seen[0]")

    def answer(self, *words: str) -> float:
        """Return the seconds until the page said all of these after the last event; waits for it."""
        found = (
            f"window.watch.said.find(one => {list(words)!r}.every(part => one[1].includes(part)))"
        )
        self._wait(f"{found} !== undefined")
        return self.page.evaluate(f"{found}[0]")

    def lines(self, words: str, which: int = 0) -> dict[str, tuple[list[float], list[float]]]:
        """Return the lines that a drawing shows, by their names in the legend."""
        lines = self.page.evaluate(_LINES, self.drawing(words, which))
        return {name: (x, y) for name, x, y in lines}

    def reads_lines(self, words: str, number: int) -> None:
        """Wait until a drawing shows so many lines."""
        self._until(f"({_LINES})({self.drawing(words)}).length === {number}", words)

    def bands(self, words: str, number: int) -> None:
        """Wait until a drawing shows so many bands."""
        self._until(f"({_BANDS})({self.drawing(words)}) === {number}", words)

    def _until(self, condition: str, words: str) -> None:
        self._wait(f"(({_FIND})({words!r}), {condition})")

    def _wait(self, condition: str) -> None:
        """Wait until a condition holds, asked from here: the page lets nobody evaluate a text in it."""
        end = time.monotonic() + self.patience / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"it never came to be that {condition}"
            self.page.wait_for_timeout(20)

    def image(self, words: str, which: int = 0) -> tuple[list[int], list[float]]:
        """Return shape and values of the map that a drawing shows."""
        image = self.page.evaluate(_IMAGE, self.drawing(words, which))
        return image["shape"], image["values"]


def _place(point: tuple[float, float], frame: dict) -> tuple[float, float]:
    """Return where on the screen a point of a drawing lies."""
    sides = zip(point, (frame["x"], frame["y"]), (frame["across"], frame["down"]), strict=True)
    return tuple(
        places[0] + (value - ends[0]) / (ends[1] - ends[0]) * (places[1] - places[0])
        for value, ends, places in sides
    )
