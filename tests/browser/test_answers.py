"""How soon the page answers with a cube of 256 x 256 pixels and 1024 channels, and what ten users take.

Times are printed at the end, not judged: they depend on the machine. That the answers come, and from which data, is.
"""

import statistics
import time

import pytest
from desk import PATIENCE, Desk, Server

import endmember as em
from endmember.catalogue import PENALTIES

REGION, FIRST, ANSWER, TEN_USERS = 0.1, 0.2, 1.0, 100
SPECTRUM, MAP = "Energy loss", "x (nm)"


@pytest.fixture(scope="module")
def phantom():
    return em.synthetic.mixed_phases((256, 256), channels=1024, k=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, phantom):
    """A folder with the cube, and one with a small file to drop."""
    folder = tmp_path_factory.mktemp("answers") / "data"
    folder.mkdir()
    phantom.signal.save(folder / "oxides.hspy", compression=None)
    em.synthetic.diode(shape=(8, 8), channels=40).signal.save(folder / "diode.hspy")
    return folder


@pytest.fixture(scope="module")
def server(browser, folder):
    """A workbench that begins with the cube."""
    server = Server(folder, "oxides.hspy")
    yield server
    server.stop()


def laps_of_drag(desk, words, watched, start, steps):
    """Drag in single moves and return how long each took to be seen."""
    frame = desk.begin_drag(words, start)
    desk.watch(watched, "pointermove")
    laps = []
    for step in steps:
        desk.drag_on(frame, step)
        laps.append(desk.lap())
    desk.page.mouse.up()
    return laps


def test_a_region_and_an_energy_window_follow_the_mouse(desk, measured):
    desk.reads("256 x 256 pixels, 1024 channels")
    desk.drawing(SPECTRUM)
    laps = laps_of_drag(
        desk, MAP, SPECTRUM, (10, 10), [(40 + 10 * n, 60 + 9 * n) for n in range(15)]
    )
    desk.drawing("columns 10 to 180, rows 10 to 186")
    measured("region of interest, median of 15 moves", statistics.median(laps), REGION, "s")
    measured("region of interest, slowest of 15 moves", max(laps), REGION, "s")
    laps = laps_of_drag(
        desk, SPECTRUM, MAP, (500.0, 20.0), [(520.0 + 5 * n, 20.0) for n in range(15)]
    )
    desk.drawing("Sum over 500")
    measured("energy window, median of 15 moves", statistics.median(laps), REGION, "s")
    measured("energy window, slowest of 15 moves", max(laps), REGION, "s")


def test_a_change_of_k_and_of_a_weight_is_answered_from_the_sketch(desk, measured):
    desk.panel("Unmix")
    desk.reads("Live, from a sketch (all pixels)")
    desk.watch(SPECTRUM, "keydown")
    changes = {
        "k": [("Components k", 1)] * 4 + [("Components k", -1)] * 2,
        "a weight": [("Little overlap (soft orthogonality)", 1), ("Sparse maps", 2), ("Smooth maps", 1)],
    }  # fmt: skip
    named = {row.words: row.short for row in PENALTIES.values()}
    k = 3
    for what, slides in changes.items():
        firsts, answers = [], []
        for label, steps in slides:
            desk.slide(label, steps)
            k += steps * (what == "k")
            # The last of the answers to the choices before may come on the heels of the change.
            answers.append(desk.answer("(all pixels)", named.get(label, f"k = {k},")))
            firsts.append(desk.lap())
            assert len(desk.lines(SPECTRUM)) == k
        measured(
            f"first picture after a change of {what}, median", statistics.median(firsts), FIRST, "s"
        )
        measured(f"first picture after a change of {what}, slowest", max(firsts), FIRST, "s")
        measured(
            f"answer after a change of {what}, median", statistics.median(answers), ANSWER, "s"
        )
        measured(f"answer after a change of {what}, slowest", max(answers), ANSWER, "s")


def test_ten_users_share_the_data_and_leave_nothing_behind(
    browser, context, server, folder, measured
):
    first = Desk(context, server.url)
    first.drop(folder / "diode.hspy")
    first.reads("Silicon diode: 8 x 8 pixels")
    assert [file.name for file in server.scratch.rglob("diode*")] == ["diode.hspy"]
    first.page.close()
    before = server.megabytes
    users = [Desk(browser.new_context(), server.url) for _ in range(10)]
    began = time.monotonic()
    users[0].panel("Unmix")
    users[0].reads("Live, from a sketch (all pixels)")
    alone = time.monotonic() - began
    for desk in users:
        desk.wait_up_to(max(PATIENCE, 3 * len(users) * 1000 * alone))
        desk.panel("Unmix")
    for desk in users:
        desk.reads("Live, from a sketch (all pixels)")
        desk.drawing("Component 3")
        desk.reads("Mixed oxides: 256 x 256 pixels")
    measured("memory of ten users beyond the data", server.megabytes - before, TEN_USERS, "MB")
    for desk in users:
        desk.page.context.close()
    server.stop()
    assert not list(server.scratch.iterdir())
