"""Serve the workbench: on this machine, behind a token, to the page that it made itself."""

import contextlib
import ctypes
import logging
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bokeh.server.server import Server
from bokeh.settings import settings
from panel.io.server import get_server
from panel.io.state import state
from tornado.ioloop import PeriodicCallback

from endmember.app.core.session import Session
from endmember.app.page.page import Page
from endmember.app.server.desks import WAITS, Round, furnish
from endmember.app.server.files import UPLOAD_LIMIT
from endmember.app.server.gate import REMEMBERED, Gate, Headers
from endmember.app.server.running import Workbench
from endmember.app.server.shared import Store, clear_stale
from endmember.app.work.pool import Workers

#: Largest message that a browser may send, in bytes; uploads come in smaller pieces.
MESSAGE_LIMIT = 16 * 2**20
#: Heaps that all threads share.
HEAPS = 2
#: The folder in which runs are kept.
RUNS = "endmember-runs"
#: Milliseconds between two rounds to all desks.
EVERY = 1000
_ARENA_MAX = -8  # as glibc numbers the options of mallopt


def make_server(
    root: str | Path,
    store: Store,
    first: Callable[[Any], None] | None = None,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    limit: int = UPLOAD_LIMIT,
    public: str = "",
    frames: str = "'self'",
    desk: str = "",
    workspace: Path | None = None,
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
    public : str
        The address at which a proxy shows this server, up to the token.
    frames : str
        Who may show the page in a frame, as in a Content-Security-Policy.
    desk : str
        Where everybody sits; every browser has a desk of its own unless given.
    workspace : Path, optional
        Where runs are kept as they end; ``endmember-runs`` in ``root`` unless given.
    """
    settings.resources = "server"  # nothing comes from elsewhere, whatever Panel would choose

    def application() -> Any:
        session = Session(root, limit, store, workspace or Path(root).resolve() / RUNS)
        page = Page(session)
        furnish(state.curdoc)
        if first is not None:
            first(session)
            page.data_changed()
        return page.layout

    token, names = secrets.token_urlsafe(24), _names(address)
    server: Server = get_server(
        application, address=address, port=port, start=False, show=False, title="Endmember",
        prefix=f"/{token}", websocket_max_message_size=MESSAGE_LIMIT, include_headers=[], include_cookies=[],
        unused_session_lifetime_milliseconds=WAITS, check_unused_sessions_milliseconds=5_000,
        session_token_expiration=REMEMBERED,
    )  # fmt: skip
    server._tornado._websocket_origins = {"*"}  # the gate knows better, whatever the port
    server._tornado.add_transform(type("Headers", (Headers,), {"frames": frames}))
    server._http.request_callback = Gate(server._tornado, token, names, public, desk)
    for name in ("tornado.access", "tornado.application", "tornado.general"):
        logging.getLogger(name).addFilter(_without(token))
    PeriodicCallback(Round(server), EVERY).start()
    shown = f"[{address}]" if ":" in address else address
    return Workbench(
        server, f"{public.rstrip('/') or f'http://{shown}:{server.port}'}/{token}/", store
    )


def _names(address: str) -> set[str]:
    """Return what browsers may call this machine where it listens on an address."""
    names = {address}
    if address in ("127.0.0.1", "::1", "0.0.0.0", "::"):
        names |= {"127.0.0.1", "localhost", "::1"}
    if address in ("0.0.0.0", "::"):
        own = socket.gethostname()
        names |= {own, socket.getfqdn(), *(str(one[4][0]) for one in socket.getaddrinfo(own, None))}
    return {f"[{name}]" if ":" in name else name for name in names}


def _without(token: str) -> Callable[[logging.LogRecord], bool]:
    """Return a filter that keeps the token out of the log."""

    def hide(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().replace(token, "..."), ()
        return True

    return hide


def share_memory() -> None:
    """Have all threads of this process share what they freed, where its C library can be told.

    Otherwise every user's thread keeps a heap of its own: with 256 x 256 x 1024 spectra some 20 MB.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, HEAPS)


def make_store() -> Store:
    """Return what all sessions share, with a process that gets ready for their long work."""
    clear_stale()
    store = Store()
    store.workers = workers = Workers(room=store.room)
    workers.start()
    return store
