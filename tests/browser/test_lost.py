"""What is lost on the way: the connection, the page, the server, a process in the middle of its work. No run is."""

import os
import re
import signal
import socket
import time
from urllib.parse import urlsplit

import pytest
from desk import Desk, Server, Tunnel

import endmember as em

SPECTRUM = "Energy loss"


@pytest.fixture
def folder(tmp_path, phantom):
    """A folder of its own for every test, with two files."""
    folder = tmp_path / "data"
    folder.mkdir()
    phantom.signal.save(folder / "oxides.hspy")
    em.synthetic.diode(shape=(8, 8), channels=40).signal.save(folder / "diode.hspy")
    return folder


@pytest.fixture
def server(browser, folder):
    server = Server(folder)
    yield server
    if server.alive:
        server.stop()


@pytest.fixture
def here(context, server):
    """A page that may complain in the console that the server is out of reach."""
    return Desk(context, server.url)


def at(tunnel, server):
    """The address of a server at the other end of a tunnel."""
    return server.url.replace(f":{urlsplit(server.url).port}/", f":{tunnel.port}/")


def run_once(desk, name="run-1-nmf-3"):
    """Open the oxides and run NMF."""
    desk.open("oxides.hspy")
    desk.reads("Mixed oxides: 32 x 40 pixels")
    desk.panel("Unmix")
    desk.press("Run on the full data")
    desk.reads(f"Kept {name}")


def start_long_run(desk):
    """Start a run of many starts, and wait until it is on its way."""
    desk.choose("Noise", "counts, exact")
    desk.type("Starts of a run", "100")
    desk.press("Run on the full data")
    desk.reads(re.compile("sweep [0-9]"))


def shows_the_run(desk):
    desk.panel("Runs")
    desk.reads("Two different runs")
    desk.drawing("Component 3")


# The connection and the page ----------------------------------------------------------------------
def test_a_lost_connection_is_said_and_the_page_comes_back_to_its_desk(context, server):
    tunnel = Tunnel(urlsplit(server.url).port)  # as of ssh -L: any port of this machine
    desk = Desk(context, at(tunnel, server))
    run_once(desk)
    for _ in range(2):
        tunnel.cut()
        desk.warns("cannot be reached; this page tries again by itself")
        tunnel.mend()
        desk.page.locator("#lost").wait_for(state="hidden")
        desk.reads("Kept run-1-nmf-3")
    shows_the_run(desk)
    desk.panel("Unmix")
    desk.slide("Components k", 1)
    desk.reads_lines(SPECTRUM, 4)


def test_work_goes_on_while_the_connection_is_lost(context, server, folder):
    tunnel = Tunnel(urlsplit(server.url).port)
    desk = Desk(context, at(tunnel, server))
    run_once(desk)
    desk.type("Starts of a run", "40")
    desk.press("Run on the full data")
    tunnel.cut()
    desk.warns("cannot be reached")
    for _ in range(300):
        if (folder / "endmember-runs" / "run-2-nmf-3" / "unmixing.json").exists():
            break
        time.sleep(0.1)
    tunnel.mend()
    desk.reads("Kept run-2-nmf-3")


def test_reload_back_and_another_tab_find_the_desk_again(context, here, server):
    run_once(here)
    here.page.reload()
    here.reads("Kept run-1-nmf-3")
    here.page.goto("about:blank")
    here.page.go_back()
    shows_the_run(here)
    other = Desk(context, server.url)
    shows_the_run(other)
    here.warns("open in another tab")
    other.panel("Unmix")
    other.slide("Components k", 2)
    other.reads_lines(SPECTRUM, 5)


@pytest.mark.parametrize("strip", ["/user/me/lab", ""], ids=["stripped", "left as it is"])
def test_a_proxy_may_show_the_page_under_a_prefix(context, browser, folder, strip):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    tunnel = Tunnel(port, strip)
    public = f"http://127.0.0.1:{tunnel.port}/user/me/lab"
    server = Server(folder, "--port", str(port), "--public-url", public)
    try:
        assert server.url.startswith(f"{public}/")
        desk = Desk(context, server.url)
        run_once(desk)
        desk.page.reload()
        shows_the_run(desk)
        assert not desk.complaints
    finally:
        server.stop()


# The server ---------------------------------------------------------------------------------------
def test_a_server_that_has_ended_is_said_and_the_next_offers_its_runs(
    here, server, context, folder
):
    run_once(here)
    here.panel("Runs")
    here.press("standard errors")
    here.reads("Drawn with standard errors.")
    server.stop()
    here.warns("The workbench has ended. Start it again")
    again = Server(folder)
    try:
        desk = Desk(context, again.url)
        desk.reads("Runs that were kept before are offered in Runs.")
        desk.panel("Runs")
        desk.choose("Kept before", "run-1-nmf-3")
        desk.press("Open again")
        desk.reads("run-1-nmf-3 is back, with its data.")
        desk.drawing("Component 3")
        desk.press("standard errors")
        desk.bands("Component 3", 1)
        run_once(desk, "run-2-nmf-3")
        desk.panel("Export")
        desk.reads("results['run-1-nmf-3']")
    finally:
        again.stop()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_server_that_is_killed_leaves_its_runs_and_no_copy_of_the_data(here, server, folder, how):
    run_once(here)
    start_long_run(here)
    assert list(server.scratch.rglob("cube.npy"))
    server.process.send_signal(getattr(signal, how))
    server.process.wait(30)
    here.warns("ended")
    for _ in range(100):
        if not list(server.scratch.iterdir()):
            break
        time.sleep(0.1)
    assert not list(server.scratch.iterdir())
    kept = em.open(folder / "endmember-runs" / "run-1-nmf-3")
    assert kept.model.n_components_ == 3


def test_what_no_process_was_left_to_delete_goes_at_the_next_start(here, server, folder):
    here.open("oxides.hspy")
    here.reads("Mixed oxides")
    family = [server.process.pid, *server.children]
    for process in family:
        os.kill(process, signal.SIGSTOP)
    for process in family[::-1]:
        os.kill(process, signal.SIGKILL)
    server.process.wait(30)
    assert list(server.scratch.rglob("cube.npy"))
    again = Server(folder)
    try:
        assert not list(again.scratch.rglob("cube.npy"))
    finally:
        again.stop()


# The work -----------------------------------------------------------------------------------------
def test_a_second_job_waits_for_the_first_and_both_are_done(here, server, folder):
    run_once(here)
    here.type("Starts of a run", "20")
    workers = server.children
    for process in workers:  # as if the first job took as long as it takes to ask for the second
        os.kill(process, signal.SIGSTOP)
    here.press("Run on the full data")
    here.panel("Export")
    here.type("Folder, in the one that the workbench was started in", "kept")
    here.press("Save the result folder")
    here.reads("Waiting for the work before: Saving kept")
    for process in workers:
        os.kill(process, signal.SIGCONT)
    here.reads(re.compile("Saved in .*kept"))
    assert em.open(folder / "kept").model.n_components_ == 3
    here.panel("Runs")
    here.reads("Mean angle between paired spectra")


def test_another_file_keeps_the_runs_of_the_first(here):
    run_once(here)
    here.open("diode.hspy")
    here.reads("Silicon diode: 8 x 8 pixels")
    here.panel("Unmix")
    here.press("Run on the full data")
    here.reads("Kept run-2-nmf-3")
    here.panel("Export")
    here.reads(re.compile(r"oxides\.hspy.*run-1-nmf-3.*diode\.hspy.*run-2-nmf-3", re.DOTALL))
    here.panel("Runs")
    here.choose("Right", "run-1-nmf-3")
    here.choose("Left", "run-1-nmf-3")
    here.drawing("Component 3")


@pytest.mark.parametrize("job", ["run", "number", "bands", "step", "save"])
def test_a_process_that_dies_in_the_middle_leaves_a_sentence_and_every_run(
    here, server, folder, job
):
    run_once(here)
    start = {
        "run": lambda: (here.type("Starts of a run", "100"), here.press("Run on the full data")),
        "number": lambda: (here.panel("Number"), here.press("How many components?")),
        "bands": lambda: (here.panel("Runs"), here.press("ambiguity bands")),
        "step": lambda: (here.panel("Prepare"), here.choose("Step", "Bin"), here.press("Try")),
        "save": lambda: (here.panel("Export"), here.press("Save the result folder")),
    }
    for process in server.children:
        os.kill(process, signal.SIGSTOP)
    start[job]()
    here.page.wait_for_timeout(500)
    for process in server.children:
        os.kill(process, signal.SIGKILL)
    here.reads("the process that did this has ended (signal 9)")
    assert here.page.get_by_role("button", name="Cancel").is_hidden()
    shows_the_run(here)
    here.panel("Prepare")
    here.choose("Step", "Bin")
    here.press("Try")
    here.reads("Tried rebin")


def test_a_file_that_vanishes_while_it_is_looked_at_takes_no_run_along(here, folder):
    run_once(here)
    (folder / "oxides.hspy").unlink()
    (folder / "diode.hspy").write_bytes(b"")
    here.type("Starts of a run", "2")
    here.press("Run on the full data")
    here.reads("Kept run-2-nmf-3")
    here.press("Open")
    here.reads("oxides.hspy does not exist; ")
    here.panel("Runs")
    here.reads("Mean angle between paired spectra")
