"""A server, a browser and a page for the browser tests, which need ``make test-browser``."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest
from desk import BROWSER_ARGUMENTS, Desk, Server

import endmember as em

MEASURED: list[str] = []


def pytest_terminal_summary(terminalreporter):
    if MEASURED:
        terminalreporter.section("measured in the browser")
        for line in MEASURED:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep a picture of the page where a test fails."""
    report = yield
    desk = getattr(item, "funcargs", {}).get("desk")
    if report.failed and call.when == "call" and desk is not None:
        picture = item.funcargs["tmp_path"] / "page.png"
        desk.page.screenshot(path=picture, full_page=True)
        report.sections.append(("the page", f"is shown in {picture}"))
        report.sections.append(("the console", "\n".join(desk.complaints)))
    return report


@pytest.fixture(scope="session")
def measured():
    """Take a line for the end of the test's output: what, how much, and what it should be."""

    def note(what, value, target, unit):
        verdict = "met" if value <= target else "missed"
        MEASURED.append(f"{what:<52} {value:9.3f} {unit} of {target:g}: {verdict}")

    return note


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    program = os.environ.get("ENDMEMBER_BROWSER")
    if not program:
        pytest.skip("no browser: 'make test-browser' installs one, or name it in ENDMEMBER_BROWSER")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright: call 'make test-browser'"
    )
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=BROWSER_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    """A fresh profile of the browser."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture(scope="module")
def phantom():
    """Four mixed oxides."""
    return em.synthetic.mixed_phases((32, 40), channels=128, k=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, phantom):
    """The folder that the workbench is started in."""
    folder = tmp_path_factory.mktemp("workbench") / "data"
    folder.mkdir()
    phantom.signal.save(folder / "oxides.hspy")
    return folder


@pytest.fixture(scope="module")
def server(browser, folder):
    """A workbench in that folder."""
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture
def desk(context, server, tmp_path):
    """A page that is open, and was quiet and alone with its server when it is closed."""
    desk = Desk(context, server.url)
    yield desk
    home = urlsplit(server.url).netloc
    own = (f"http://{home}/", f"ws://{home}/", f"blob:http://{home}/", "data:")
    away = [url for url in desk.requests if not url.startswith(own)]
    assert not away, f"requests that left the machine: {away}"
    assert not desk.complaints, f"the console said: {desk.complaints}"
    assert server.alive
