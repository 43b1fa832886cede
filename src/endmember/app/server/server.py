"""Serve the workbench: on this machine, behind a token, to the page that it made itself."""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endmember.app.server.files import UPLOAD_LIMIT

if TYPE_CHECKING:
    from endmember.app.server.shared import Store

#: Largest message that a browser may send, in bytes; uploads come in smaller pieces.
MESSAGE_LIMIT = 16 * 2**20
#: Heaps that all threads share.
HEAPS = 2
_ARENA_MAX = -8  # as glibc numbers the options of mallopt
#: Pieces of an upload, in bytes.
PIECE = 4 * 2**20


class Workbench:
    """A running workbench; in Jupyter it shows itself.

    Attributes
    ----------
    url : str
        Where to look, with the token.
    """

    def __init__(
        self, server: Any, url: str, store: Any, thread: threading.Thread | None = None
    ) -> None:
        self._server, self.url, self._store, self._thread = server, url, store, thread

    def __repr__(self) -> str:
        return f"<Workbench: {self.url}>"

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.url}" width="100%" height="900" style="border:0"></iframe>'

    def serve(self) -> None:
        """Serve until it is interrupted."""
        self._server.start()
        try:
            self._server.io_loop.start()
        finally:
            self._store.close()

    def stop(self) -> None:
        """Stop serving, and end all work."""
        self._server.io_loop.add_callback(self._server.stop)
        self._server.io_loop.add_callback(self._server.io_loop.stop)
        if self._thread is not None:
            self._thread.join(timeout=5)


def make_server(
    root: str | Path,
    first: Callable[[Any], None] | None = None,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    limit: int = UPLOAD_LIMIT,
    store: Store | None = None,
) -> Workbench:
    """Return a server that is not running yet.

    Parameters
    ----------
    root : str or Path
        The folder that may be read and written in.
    first : callable, optional
        Called with every new session, to open what it starts with.
    address : str
        The address of this machine to listen on; any but 127.0.0.1 can be reached by others, who need the token.
    port : int
        0 takes a free one.
    limit : int
        Bytes that an upload may have.
    store : Store, optional
        What all sessions share; one with processes of its own unless given.
    """
    from bokeh.server.server import Server
    from bokeh.settings import settings
    from panel.io.server import get_server

    from endmember.app.core.session import Session
    from endmember.app.page.page import Page
    from endmember.app.server.gate import Gate

    settings.resources = "server"  # nothing comes from elsewhere, whatever Panel would choose
    store = store or make_store()

    def application() -> Any:
        session = Session(root, limit, store)
        page = Page(session)
        if first is not None:
            page.begin(lambda: first(session))
        return page.layout

    token, port = secrets.token_urlsafe(24), port or _free_port(address)
    names = {address, "127.0.0.1", "localhost"} if address == "127.0.0.1" else {address}
    hosts = {f"{name}:{port}" for name in names}
    server: Server = get_server(
        application, address=address, port=port, start=False, show=False, title="Endmember",
        websocket_origin=sorted(hosts), prefix=f"/{token}", websocket_max_message_size=MESSAGE_LIMIT,
        unused_session_lifetime_milliseconds=15_000, check_unused_sessions_milliseconds=5_000,
    )  # fmt: skip
    server._http.request_callback = Gate(server._tornado, token, hosts)
    return Workbench(server, f"http://{address}:{port}/{token}/", store)


def share_memory() -> None:
    """Have all threads of this process share what they freed, where its C library can be told.

    Otherwise every user's thread keeps a heap of its own: with 256 x 256 x 1024 spectra some 20 MB.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, HEAPS)


def make_store() -> Store:
    """Return what all sessions share, with a process that gets ready for their long work."""
    from endmember.app.server.shared import Store
    from endmember.app.work.pool import Workers

    workers = Workers()
    workers.start()
    return Store(workers)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def workbench(signal: Any = None, *, root: str | Path = ".") -> Workbench:
    """Open the workbench beside a notebook or a Python prompt.

    Parameters
    ----------
    signal : HyperSpy signal, optional
        What to start with; otherwise a file is chosen on the page. Never changed.
    root : str or Path
        The folder that the page may read and write in.

    Returns
    -------
    Workbench
        Shows itself in Jupyter; elsewhere open its ``url``. It serves this machine alone, from a thread of
        its own, until ``stop()`` or the end of Python.

    Raises
    ------
    ImportError
        If Panel is missing.

    Examples
    --------
    >>> import endmember as em
    >>> em.workbench(em.synthetic.diode().signal)  # doctest: +SKIP
    <Workbench: http://127.0.0.1:40123/…/>
    """
    try:
        import panel  # noqa: F401
    except ImportError as missing:
        raise ImportError(
            "the workbench needs Panel and Bokeh: pip install panel bokeh"
        ) from missing
    import asyncio

    ready: list[Workbench] = []
    started = threading.Event()

    store = make_store()
    image = None if signal is None else store.keep(signal)
    first = None if signal is None else (lambda session: session.use(image))

    def serve() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        ready.append(make_server(root, first, store=store))
        started.set()
        ready[0].serve()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started.wait(60)
    ready[0]._thread = thread
    return ready[0]
