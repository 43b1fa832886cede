"""Who may come in: the right host name, the right token, and no page from elsewhere; and what a browser is told."""

import hmac
import re
import secrets
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, OutputTransform, RequestHandler

#: What the page is made of; Panel would serve more, such as the files of any Python module.
_ROOMS = {"", "ws", "static", "favicon.ico"}
#: The header by which Bokeh knows a desk again, and the cookie that brings it.
_DESK, _COOKIE = "Bokeh-Session-Id", "endmember"
#: Seconds that a browser remembers its desk.
REMEMBERED = 7 * 24 * 3600
#: What a page may load and run, and who may show it in a frame. Bokeh styles its parts where they stand, and
#: Panel writes the value beside a slider by code that it sends as text.
_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
)

_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class _Answer(RequestHandler):
    """Answers what is not for the pages, and says no more than it has to."""

    def initialize(self, status: int, words: str = "", visit: int = 0) -> None:
        self.set_status(status)
        self.set_header("Visit", str(visit))
        self._words = words

    def prepare(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._words or None)


class Headers(OutputTransform):
    """Puts on every answer what protects the page in the browser; ``frames`` may show it in a frame."""

    frames = "'self'"

    def __init__(self, request: HTTPServerRequest) -> None:
        self._desk = request.headers.get(_DESK)

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        nonce = secrets.token_urlsafe(16)
        if self._desk and headers.get("Content-Type", "").startswith("text/html"):
            # The page holds no text of a file: all its scripts are its own.
            chunk = chunk.replace(b"<script", f'<script nonce="{nonce}"'.encode())
            cookie = f"{_COOKIE}={self._desk}; HttpOnly; SameSite=Lax; Max-Age={REMEMBERED}"
            headers.update({"Content-Length": str(len(chunk)), "Set-Cookie": cookie})
        policy = _POLICY.format(nonce=nonce, frames=self.frames)
        # The last says the same to old browsers, and cannot say anything else.
        only = {"X-Frame-Options": "SAMEORIGIN"} if self.frames == "'self'" else {}
        headers.update({**_SAFE, **only, "Content-Security-Policy": policy})
        return status_code, headers, chunk


class Gate(Router):
    """Lets a request through where host, token and, for a web socket, origin are right.

    Parameters
    ----------
    application : tornado.web.Application
    token : str
        First part of every path.
    names : set of str
        What a browser may call this server, whatever the port: a tunnel may end at any.
    public : str
        The address at which a proxy shows this server; its path may or may not come with the requests.
    desk : str
        The desk at which everybody sits; every browser has one of its own unless given.
    """

    def __init__(
        self, application: Any, token: str, names: set[str], public: str = "", desk: str = ""
    ) -> None:
        self._application, self._token, self._names, self._desk = application, token, names, desk
        self._visits = Counter[str]()
        proxy = urlsplit(public)
        self._host, self._prefix = proxy.netloc, proxy.path.rstrip("/")
        self._origin = f"{proxy.scheme}://{proxy.netloc}"

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        if self._prefix and request.path.startswith(f"{self._prefix}/"):
            request.path = request.path.removeprefix(self._prefix)
        reason = self.refusal(
            request.headers.get("Host", ""),
            request.path,
            request.headers.get("Upgrade", "").lower() == "websocket",
            request.headers.get("Origin"),
        )
        cookie = request.cookies.get(_COOKIE)
        known = cookie and re.fullmatch(r"[\w-]{32}", cookie.value)
        desk = self._desk or (known[0] if known else "")
        if reason or request.path.endswith("/favicon.ico"):
            # There is no icon. The page asks for it to learn whether the server is there, and it the newest.
            here: dict[str, Any] = {"status": 204, "visit": self._visits[desk]}
            said = {"status": 403, "words": f"{reason}\n"} if reason else here
            answer = Application(
                [(".*", _Answer, said)], transforms=self._application.transforms, log_function=lambda handler: None
            )  # fmt: skip
            return answer.find_handler(request, **kwargs)
        if request.host.startswith("["):  # Panel takes the first colon for that of the port
            request.host = f"localhost:{request.host.rpartition(':')[2]}"
        stream = getattr(request.connection, "stream", None)
        if stream is not None and not stream.closed():
            stream.set_nodelay(True)  # otherwise every small update waits 40 ms for the one before
        if not request.path.removeprefix(f"/{self._token}").strip("/"):
            request.headers[_DESK] = desk = desk or secrets.token_urlsafe(24)
            self._visits[desk] += 1
            self._leave(desk)
        return self._application.find_handler(request, **kwargs)

    def _leave(self, desk: str) -> None:
        """End the connection of the page that a desk was seen in: Bokeh tells of new parts but once."""
        for session in self._application.get_sessions("/"):
            for connection in list(session._subscribed_connections if session.id == desk else ()):
                connection._socket.close()

    def refusal(self, host: str, path: str, websocket: bool, origin: str | None) -> str:
        """Return why a request is refused; "" where it is welcome."""
        name, _, port = host.rpartition(":")
        _, token, room, *_ = [*path.split("/"), "", ""]
        own_name = host == (self._host or None) or (name in self._names and port.isdecimal())
        own_token = hmac.compare_digest(token.encode(), self._token.encode())
        own_page = not websocket or origin in (f"http://{host}", self._origin)
        demands = {
            "This server is not known by that name.": own_name,
            "Open the whole address that 'endmember workbench' printed: it ends in a token.": own_token,
            "There is nothing of that name.": room in _ROOMS,
            "This page comes from elsewhere.": own_page,
        }
        return next((reason for reason, met in demands.items() if not met), "")
