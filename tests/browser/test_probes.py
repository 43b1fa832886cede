"""Unwelcome visitors of a live server: every one is refused, and the server lives on."""

import asyncio
import http.client
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from desk import Desk, Server

import endmember as em


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with good data, bad data, hostile names and ways out; a secret lies beside it."""
    outside = tmp_path_factory.mktemp("probes")
    folder = outside / "data"
    (folder / "below").mkdir(parents=True)
    signal = em.synthetic.diode(shape=(8, 8), channels=40).signal
    signal.save(folder / "diode.hspy")
    secret = signal.deepcopy()
    secret.metadata.General.title = "Secret"
    secret.save(outside / "secret.hspy")
    (folder / "link.hspy").symlink_to(outside / "secret.hspy")
    (folder / "away").symlink_to(outside)
    (folder / "broken.hspy").write_bytes(b"this is no file of HDF5")
    signal.metadata.General.title = HOSTILE
    for axis in signal.axes_manager._axes:
        axis.name, axis.units = f"{HOSTILE} $$\\href{{javascript:window.hit=1}}{{x}}$$", HOSTILE
    signal.save(folder / "hostile.hspy")
    signal.save(folder / "<img src=x onerror=window.hit=1>.hspy")
    return folder


@pytest.fixture(scope="module")
def server(browser, folder):
    """A workbench that takes uploads up to 24 MB."""
    server = Server(folder, "--upload-limit", "24")
    yield server
    server.stop()


HOSTILE = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"


# Requests -----------------------------------------------------------------------------------------
def ask(server, path, **headers):
    """Return status and body of a request that is sent as it is written."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_request_by_another_host_name_is_refused(server):
    path = urlsplit(server.url).path
    assert ask(server, path)[0] == 200
    port = urlsplit(server.url).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil:{port}", ""):
        status, body = ask(server, path, Host=host)
        assert status in (400, 403) and b"Endmember" not in body


def test_a_request_without_the_right_token_is_refused(server):
    token = urlsplit(server.url).path.strip("/")
    for path in (
        "/",
        "/wrong/",
        f"/{token[:-1]}/",
        f"/{token}x/",
        f"//{token}/",
        "/static/js/bokeh.min.js",
        "/ws",
    ):
        status, body = ask(server, path)
        assert status == 403 and b"it ends in a token" in body and token.encode() not in body
    assert ask(server, f"/?token={token}")[0] == 403


@pytest.mark.parametrize("room", ["", "static/", "static/extensions/panel/", "components/"])
@pytest.mark.parametrize(
    "way", ["../" * 9 + "etc/passwd", "%2e%2e/" * 9 + "etc/passwd", "/etc/passwd", "..%2f" * 9 + "etc/passwd"]
)  # fmt: skip
def test_no_path_leads_to_a_file_of_the_machine(server, room, way):
    status, body = ask(server, urlsplit(server.url).path + room + way)
    assert status in (400, 403, 404) and b"root:" not in body


def test_every_answer_protects_the_page_in_the_browser(server):
    path, nonces = urlsplit(server.url).path, set()
    for room, host in (
        ("", None),
        ("", None),
        ("static/js/bokeh.min.js", None),
        ("", "evil.example"),
    ):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
        connection.request("GET", path + room, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        said, body = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        assert said["x-frame-options"] == "SAMEORIGIN" and said["referrer-policy"] == "no-referrer"
        assert said["x-content-type-options"] == "nosniff"
        policy = said["content-security-policy"]
        assert "frame-ancestors 'self'" in policy and "script-src 'self' 'nonce-" in policy
        nonce = re.search(r"'nonce-([\w-]+)'", policy).group(1)
        assert nonce not in nonces
        nonces.add(nonce)
        if b"<html" in body:
            assert body.count(b"<script") == body.count(f'<script nonce="{nonce}"'.encode()) > 3
            assert "httponly" in said["set-cookie"].lower() and "SameSite=Lax" in said["set-cookie"]


def test_the_token_stays_out_of_the_log(server):
    path = urlsplit(server.url).path
    assert ask(server, f"{path}static/js/none.js")[0] == 404
    assert ask(server, f"{path}none")[0] == ask(server, path, Host="evil.example")[0] == 403
    assert "none.js" in server.complaints and path.strip("/") not in server.complaints


def test_the_browser_is_not_called_with_the_token(browser, folder, tmp_path, monkeypatch):
    called = tmp_path / "called"
    for name in ("xdg-open", "sensible-browser"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    server = Server(folder, "--show")
    try:
        for _ in range(100):
            if called.exists() and called.read_text():
                break
            time.sleep(0.1)
        page = Path(called.read_text().strip())
        assert urlsplit(server.url).path.strip("/") not in called.read_text()
        assert server.url in page.read_text() and page.parent.stat().st_mode & 0o77 == 0
    finally:
        server.stop()


# Web sockets --------------------------------------------------------------------------------------
def session_token(server):
    """Return what the page of a new session hands to its socket."""
    _, body = ask(server, urlsplit(server.url).path)
    return re.search(rb'"token":\s*"([\w.-]+)"', body).group(1).decode()


async def socket(server, origin, path="ws", token=None):
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    url = server.url.replace("http://", "ws://") + path
    headers = {} if origin is None else {"Origin": origin}
    protocols = ["bokeh", token or session_token(server)]
    return await websocket_connect(HTTPRequest(url, headers=headers), subprotocols=protocols)


def run(visit):
    """Run a coroutine beside the event loop that drives the browser."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, visit).result()


def home(server):
    return f"http://{urlsplit(server.url).netloc}"


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "https://{netloc}"]
)  # fmt: skip
def test_a_socket_of_a_page_from_elsewhere_is_refused(server, origin):
    from tornado.httpclient import HTTPClientError

    origin = origin and origin.replace("{netloc}", urlsplit(server.url).netloc)
    with pytest.raises(HTTPClientError, match="403"):
        run(socket(server, origin))


def test_a_socket_without_the_token_of_a_session_is_closed(server):
    async def visit():
        connection = await socket(server, home(server), token="e30.no-signature")
        return await asyncio.wait_for(connection.read_message(), 20)

    assert run(visit()) is None and server.alive


def test_300_malformed_frames_leave_the_server_alive(server):
    rng = np.random.default_rng(0)
    beginnings = [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"msgid": 1, "msgtype": "PATCH-DOC"}',
        '{"msgtype": 7}',
    ]

    def frame(number):
        if number % 2:
            return bytes(rng.integers(0, 256, rng.integers(0, 2000), dtype=np.uint8))
        return beginnings[rng.integers(len(beginnings))] + "".join(
            map(chr, rng.integers(1, 0xD7FF, rng.integers(0, 50)))
        )

    from tornado.websocket import WebSocketClosedError

    async def visit():
        sent, connection, token = 0, await socket(server, home(server)), session_token(server)
        while sent < 300:
            part = frame(sent)
            try:
                await connection.write_message(part, binary=isinstance(part, bytes))
                sent += 1
                await asyncio.sleep(0)
            except WebSocketClosedError:
                connection = await socket(server, home(server), token=token)
        connection.close()
        return sent

    assert run(visit()) == 300
    assert server.alive and ask(server, urlsplit(server.url).path)[0] == 200


def test_a_message_beyond_the_limit_closes_the_socket(server):
    from tornado.websocket import WebSocketClosedError

    async def visit():
        connection = await socket(server, home(server))
        assert await asyncio.wait_for(connection.read_message(), 20) is not None
        with suppress(WebSocketClosedError):
            await connection.write_message(b"0" * (17 * 2**20), binary=True)
        while await asyncio.wait_for(connection.read_message(), 20) is not None:
            pass  # what was on its way

    run(visit())
    assert server.alive and ask(server, urlsplit(server.url).path)[0] == 200


# The page -----------------------------------------------------------------------------------------
FORGE = """
([title, value]) => {
  const models = [...Bokeh.documents[0]._all_models.values()];
  const select = models.find(model => model.title === title && model.options !== undefined);
  select.options = [value];
  select.value = value;
}
"""


def test_a_forged_name_opens_nothing_outside(desk, browser, server):
    desk.page.evaluate(FORGE, ["File", "diode.hspy"])
    desk.press("Open")
    desk.reads("Silicon diode: 8 x 8 pixels")
    for name in ("../secret.hspy", "/etc/passwd", "link.hspy", "away/secret.hspy"):
        for label in ("File", "Folder"):
            desk.page.evaluate(FORGE, [label, name])
            desk.press("Open")
    desk.page.wait_for_timeout(1000)
    assert desk.page.get_by_text(re.compile("^Secret: 8 x 8")).count() == 0
    other = Desk(browser.new_context(), server.url)
    other.open("diode.hspy")
    other.reads("Silicon diode: 8 x 8 pixels")


def test_a_result_cannot_be_saved_outside(desk, folder):
    desk.open("diode.hspy")
    desk.reads("8 x 8 pixels")
    desk.panel("Unmix")
    desk.press("Run on the full data")
    desk.reads("run-1-nmf-3")
    desk.panel("Export")
    before = sorted(folder.parent.iterdir())
    for name in ("../away", "/tmp/away-from-the-workbench", "away/kept"):
        desk.type("Folder, in the one that the workbench was started in", name)
        desk.press("Save the result folder")
        desk.reads(f"'{name}' is outside the folder")
    assert sorted(folder.parent.iterdir()) == before


def test_texts_of_a_file_are_shown_as_texts(desk):
    desk.choose("File", "<img src=x")
    desk.open("hostile.hspy")
    desk.reads(HOSTILE)
    for panel in ("Prepare", "Number", "Unmix", "Runs", "Export", "Data"):
        desk.panel(panel)
    desk.panel("Unmix")
    desk.drawing("Component 3")
    assert desk.page.evaluate("window.hit") is None
    assert desk.page.locator("img[src=x]").count() == 0


def test_a_bad_file_gives_a_message_and_the_page_goes_on(desk, server, folder):
    for bring in (lambda: desk.open("broken.hspy"), lambda: desk.drop(folder / "broken.hspy")):
        bring()
        desk.reads(re.compile(r"^broken\.hspy \(HyperSpy HDF5\) cannot be read: "))
        desk.open("diode.hspy")
        desk.reads("8 x 8 pixels")


# Uploads ------------------------------------------------------------------------------------------
UNLIMITED = """
() => {
  const models = [...Bokeh.documents[0]._all_models.values()];
  models.find(model => model.max_file_size !== undefined).max_file_size = null;
}
"""


def kept(server):
    return [file.name for file in server.scratch.rglob("*") if file.is_file()]


def test_an_oversized_upload_is_refused_by_the_page(desk, server, tmp_path):
    (tmp_path / "large.hspy").write_bytes(bytes(25 * 2**20))
    desk.drop(tmp_path / "large.hspy")
    desk.reads("File is too large")
    assert "large.hspy" not in kept(server)


def test_an_oversized_upload_of_a_forged_page_is_refused_by_the_server(desk, server, tmp_path):
    (tmp_path / "forged.hspy").write_bytes(bytes(60 * 2**20))
    desk.page.evaluate(UNLIMITED)
    desk.drop(tmp_path / "forged.hspy")
    desk.reads("forged.hspy has more than 24 MB")
    assert "forged.hspy" not in kept(server)
    desk.open("diode.hspy")
    desk.reads("8 x 8 pixels")
    assert "forged.hspy" not in kept(server)


def test_an_upload_goes_to_disk_piece_by_piece(desk, server, tmp_path, measured):
    (tmp_path / "filler.hspy").write_bytes(bytes(22 * 10**6))
    before = server.forget_peak()
    desk.drop(tmp_path / "filler.hspy")
    desk.reads(re.compile(r"^filler\.hspy .*cannot be read"))
    taken = server.peak - before
    measured("memory while 22 MB are dropped", taken, 22, "MB")
    assert taken < 22
