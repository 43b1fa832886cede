"""A workbench that runs, as those see it who opened it."""

import threading
from typing import Any


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
        """Serve until it is interrupted."""
        self._thread = threading.current_thread()
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
