"""Serve the workbench: on this machine, behind a token, to the page that it made itself."""

import contextlib
import ctypes
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bokeh.server.server import Server
from bokeh.settings import settings
from panel.io.document import schedule_write_events
from panel.io.server import get_server
from tornado.ioloop import PeriodicCallback

from endmember.app.core.session import Session
from endmember.app.page.page import Page
from endmember.app.server.files import UPLOAD_LIMIT
from endmember.app.server.gate import Gate
from endmember.app.server.running import Workbench
from endmember.app.server.shared import Store
from endmember.app.work.pool import Workers

#: Largest message that a browser may send, in bytes; uploads come in smaller pieces.
MESSAGE_LIMIT = 16 * 2**20
#: Heaps that all threads share.
HEAPS = 2
#: Milliseconds between two rounds for what was left unsent.
ROUND = 1000
_ARENA_MAX = -8  # as glibc numbers the options of mallopt


def make_server(
    root: str | Path,
    store: Store,
    first: Callable[[Any], None] | None = None,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    limit: int = UPLOAD_LIMIT,
) -> Workbench:
    """Return a server that is not running yet.

    Parameters
    ----------
    root : str or Path
        The folder that may be read and written in.
    store : Store
        What all sessions share.
    first : callable, optional
        Called with every new session, to open what it starts with.
    address : str
        The address of this machine to listen on; any but 127.0.0.1 can be reached by others, who need the token.
    port : int
        0 takes a free one.
    limit : int
        Bytes that an upload may have.
    """
    settings.resources = "server"  # nothing comes from elsewhere, whatever Panel would choose

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
    PeriodicCallback(lambda: send_what_was_left(server), ROUND).start()
    return Workbench(server, f"http://{address}:{port}/{token}/", store)


def send_what_was_left(server: Server) -> None:
    """Send the changes that Panel has kept back without another to take them along.

    It keeps one that comes while those before it are on their way. Where it comes in the moment in which they are
    through, it waits for the next change, which never comes if it was the last: an answer that nobody sees.
    """
    for session in server.get_sessions():
        schedule_write_events(session.document, [], [])


def share_memory() -> None:
    """Have all threads of this process share what they freed, where its C library can be told.

    Otherwise every user's thread keeps a heap of its own: with 256 x 256 x 1024 spectra some 20 MB.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, HEAPS)


def make_store() -> Store:
    """Return what all sessions share, with a process that gets ready for their long work."""
    workers = Workers()
    workers.start()
    return Store(workers)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
