"""Who may come in: the right host name, the right token, and no page from elsewhere."""

import hmac
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, RequestHandler

#: What the page is made of; Panel would serve more, such as the files of any Python module.
_ROOMS = {"", "ws", "static", "favicon.ico"}


class _Answer(RequestHandler):
    """Answers what is not for the pages, and says no more than it has to."""

    def initialize(self, status: int, words: str = "") -> None:
        self.set_status(status)
        self._words = words

    def prepare(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._words or None)


class Gate(Router):
    """Lets a request through where host, token and, for a web socket, origin are right.

    Parameters
    ----------
    application : tornado.web.Application
    token : str
        First part of every path.
    hosts : set of str
        ``name:port`` that a browser may call this server by.
    """

    def __init__(self, application: Application, token: str, hosts: set[str]) -> None:
        self._application, self._token, self._hosts = application, token, hosts

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        reason = self.refusal(
            request.headers.get("Host", ""),
            request.path,
            request.headers.get("Upgrade", "").lower() == "websocket",
            request.headers.get("Origin"),
        )
        if reason or request.path.endswith(
            "/favicon.ico"
        ):  # browsers ask for an icon; there is none
            said = {"status": 403, "words": f"{reason}\n"} if reason else {"status": 204}
            return Application([(".*", _Answer, said)]).find_handler(request, **kwargs)
        stream = getattr(request.connection, "stream", None)
        if stream is not None and not stream.closed():
            stream.set_nodelay(True)  # otherwise every small update waits 40 ms for the one before
        return self._application.find_handler(request, **kwargs)

    def refusal(self, host: str, path: str, websocket: bool, origin: str | None) -> str:
        """Return why a request is refused; "" where it is welcome."""
        if host not in self._hosts:
            return "This server is not known by that name."
        _, token, room, *_ = [*path.split("/"), "", ""]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return "Open the whole address that 'endmember workbench' printed: it ends in a token."
        if room not in _ROOMS:
            return "There is nothing of that name."
        if websocket and origin not in {f"http://{name}" for name in self._hosts}:
            return "This page comes from elsewhere."
        return ""
