"""The workbench beside a notebook or a Python prompt."""

import asyncio
import queue
import threading
from pathlib import Path
from typing import Any

from endmember.app.server.running import Workbench

#: Where a notebook may be shown that has the page in a frame.
NOTEBOOKS = "'self' http://localhost:* http://127.0.0.1:* https: vscode-webview:"


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
    from endmember.app.server.server import make_server, make_store

    store = make_store()
    image = None if signal is None else store.keep(signal)
    made: queue.Queue[Workbench] = queue.Queue()

    def serve() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        # One user, in whichever cell or tab; a notebook may be shown by another server of this machine.
        server = make_server(
            root,
            store,
            (lambda session: session.use(image)) if image else None,
            frames=NOTEBOOKS,
            desk="notebook",
        )
        made.put(server)
        server.serve()

    threading.Thread(target=serve, daemon=True).start()
    return made.get(timeout=60)
