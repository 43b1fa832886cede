"""A workbench that runs, as those see it who opened it."""

import asyncio
import contextlib
import signal
import threading
from typing import Any

#: Seconds that saying goodbye to the pages may take.
GOODBYE = 2.0
#: The title of a page whose server has ended.
ENDED = "Endmember has ended"


class Workbench:
    """A running workbench; in Jupyter it shows itself.

    Attributes
    ----------
    url : str
        Where to look, with the token.
    """

    def __init__(self, server: Any, url: str, store: Any) -> None:
        self._server, self.url, self._store = server, url, store
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Workbench: {self.url}>"

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.url}" width="100%" height="900" style="border:0"></iframe>'

    def serve(self) -> None:
        """Serve until it is interrupted, by a signal that asks to end or by :meth:`stop`."""
        self._thread = threading.current_thread()
        self._server.start()
        if self._thread is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP; nohup ignores it
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, lambda *_: self._server.io_loop.add_callback(self._end))
        try:
            self._server.io_loop.start()
        finally:
            self._store.close()

    async def _end(self) -> None:
        """Say goodbye to the pages, and stop."""
        with contextlib.suppress(Exception):  # whoever does not hear it finds out
            await asyncio.wait_for(self._say_goodbye(), GOODBYE)
        self._server.stop()
        self._server.io_loop.stop()

    async def _say_goodbye(self) -> None:
        for session in self._server.get_sessions():
            await session.with_document_locked(setattr, session.document, "title", ENDED)

    def stop(self) -> None:
        """Stop serving, and end all work."""
        self._server.io_loop.add_callback(self._end)
        if self._thread is not None:
            self._thread.join(timeout=5)
