"""How soon the page answers with 64 x 64 x 512 and with 256 x 256 x 1024 values, and what ten users take.

Times are printed at the end, not judged: they depend on the machine. That the answers come, and from which data, is.
"""

import statistics
import time

import pytest
from desk import PATIENCE, Desk, Server

import endmember as em
from endmember.catalogue import PENALTIES

REGION, FIRST, ANSWER, SETTLED, TEN_USERS = 0.1, 0.2, 1.0, 8.0, 100
SPECTRUM, MAP = "Energy loss", "x (nm)"


@pytest.fixture(scope="module", params=[(64, 64, 512), (256, 256, 1024)], ids=str)
def size(request):
    """Rows, columns and channels."""
    return request.param


@pytest.fixture(scope="module")
def phantom(size):
    return em.synthetic.mixed_phases(size[:2], channels=size[2], k=4)


@pytest.fixture
def timed(measured, size):
    """Take a line of times for the end of the output: the middle one, and the slowest where there are several."""

    def note(what, times, target):
        what = f"{' x '.join(map(str, size))}: {what}"
        measured(
            f"{what}, median" if len(times) > 1 else what, statistics.median(times), target, "s"
        )
        if len(times) > 1:
            measured(f"{what}, slowest", max(times), target, "s")

    return note


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


def test_a_region_and_an_energy_window_follow_the_mouse(desk, timed, size):
    side = size[0]
    desk.reads(f"{side} x {side} pixels, {size[2]} channels")
    desk.drawing(SPECTRUM)
    ends = [(side * (0.2 + 0.04 * n), side * (0.3 + 0.035 * n)) for n in range(15)]
    timed("region", laps_of_drag(desk, MAP, SPECTRUM, (side / 20, side / 20), ends), REGION)
    desk.drawing(f"columns {round(side / 20)} to")
    ends = [(520.0 + 5 * n, 20.0) for n in range(15)]
    timed("window", laps_of_drag(desk, SPECTRUM, MAP, (500.0, 20.0), ends), REGION)
    desk.drawing("Sum over 50" if side == 64 else "Sum over 500")


def test_every_k_and_every_weight_are_answered_from_the_sketch(desk, timed):
    desk.panel("Unmix")
    desk.reads("Live, from a sketch (all pixels)")
    desk.watch(SPECTRUM, "keydown")
    answers = {}
    k = 3
    for step in [-1] + [1] * 13:
        desk.slide("Components k", step)
        k += step
        answers[k] = desk.answer("(all pixels)", f"k = {k},")
        timed(f"first picture, k = {k}", [desk.lap()], FIRST)
        assert len(desk.lines(SPECTRUM)) == k
    timed("all pixels after k", list(answers.values()), ANSWER)
    desk.slide("Components k", 4 - k)
    timed("settled, k = 4", [desk.answer("settled, the best of", "k = 4,")], SETTLED)
    answers = []
    for row in PENALTIES.values():
        if row.weights:
            desk.slide(row.words)
            answers.append(desk.answer("(all pixels)", row.short))
            timed(f"first picture, weight: {row.short}", [desk.lap()], FIRST)
    timed("all pixels after a weight", answers, ANSWER)


def test_ten_users_share_the_data_and_leave_nothing_behind(
    browser, context, server, folder, measured, size
):
    if size[0] < 256:
        pytest.skip("the large image says more")
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
