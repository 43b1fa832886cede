"""The workbench: what a session does, what it lets in, and that the exported script repeats it."""

from __future__ import annotations

import gc
import http.client
import runpy
import threading
import time
import zipfile
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest

import endmember as em
from endmember.app.core.choices import Choices
from endmember.app.core.live import Live, Sketches
from endmember.app.core.regions import grid_of
from endmember.app.core.session import Session, side_by_side
from endmember.app.core.steps import Step
from endmember.app.server.files import Upload, inside, listing
from endmember.app.server.shared import Store
from endmember.app.work.pool import WorkerLostError, Workers
from endmember.app.work.scheduler import Cancelled, Lane
from endmember.app.work.storage import store
from endmember.catalogue import PENALTIES, PenaltyRow
from endmember.errors import EndmemberError

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.fixture
def folder(tmp_path):
    """A folder with a small diode in it."""
    em.synthetic.diode(shape=(16, 18), channels=60).signal.save(tmp_path / "diode.hspy")
    return tmp_path


@pytest.fixture
def session(folder):
    session = Session(folder)
    session.use(session.read("diode.hspy"))
    yield session
    session.close()


def wait_for(lane):
    """Wait until a lane has delivered all that was asked of it."""
    idle = threading.Event()
    deadline = time.monotonic() + 30
    while lane.busy and time.monotonic() < deadline:
        idle.wait(0.01)
    assert not lane.busy
    # What is done may still be on its way to who asked: what is asked next comes after it.
    lane.submit(lambda ticket: None, lambda _: idle.set(), lambda _: None)
    assert idle.wait(30)


def do(session, step):
    session.settle((*session.steps, step))


def angle(a, b):
    order = em.match_components(a, b)
    return np.max(em.spectral_angle(a[order], b))


# Looking ------------------------------------------------------------------------------------------
def test_a_region_dragged_beyond_the_image_ends_at_its_edge(session):
    assert session.data.region((17.5, 99.0), (-5.0, 0.2)).box == ((0, 1), (17, 18))


def stretched(signal, x=(1.0, 0.0, "nm"), y=(1.0, 0.0, "nm")):
    for axis, (scale, offset, units) in zip(
        signal.axes_manager.navigation_axes, (x, y), strict=False
    ):
        axis.scale, axis.offset, axis.units = scale, offset, units
    return signal


@pytest.mark.parametrize("turned", [1, -1])
def test_the_sides_of_an_image_are_those_of_its_axes_after_cropping_too(turned, tmp_path):
    """A pixel is told by its middle; rows have a width and a beginning of their own, and may fall."""
    from endmember.signals.cropping import crop_pixels

    signal = em.synthetic.diode(shape=(6, 9), channels=40).signal
    signal = stretched(signal, (2.0, 100.0, "nm"), (turned * 4.0, 50.0, "nm"))
    cropped = crop_pixels(signal, rows=[1, 5], columns=[3, 9])
    across, down = store(cropped, tmp_path).sides
    np.testing.assert_allclose(across.edges, 100 + 2 * np.arange(2.5, 9))
    np.testing.assert_allclose(down.centres, 50 + turned * 4 * np.arange(1, 5))
    np.testing.assert_allclose(down.places(down.edges[1:4:2]), (1, 3))
    assert (across.label, down.label) == ("x (nm)", "y (nm)")


def test_lengths_are_told_in_the_unit_of_the_scale_bar(tmp_path):
    signal = stretched(
        em.synthetic.diode(shape=(6, 9), channels=40).signal, *[(1e-3, 0.0, "um")] * 2
    )
    across, down = store(signal, tmp_path).sides
    assert across.label == "x (nm)" and down.units == "nm"
    np.testing.assert_allclose(across.centres, np.arange(9.0), atol=1e-9)


def test_a_unit_of_length_is_as_long_across_as_down(tmp_path):
    pytest.importorskip("panel")
    from endmember.app.page.figures import MapPlot

    for shape, pitch in (((8, 64), 1.0), ((2, 300), 1.0), ((30, 20), 4.0), ((200, 5), 1.0)):
        signal = em.synthetic.mixed_phases(shape, channels=40, k=2).signal
        image, plot = (
            store(stretched(signal, y=(pitch, 0.0, "nm")), tmp_path),
            MapPlot("", 440, 330),
        )
        plot.show(image.map((0, 40)), image, "all", "Counts")
        figure = plot.figure
        across = abs(figure.x_range.end - figure.x_range.start) / figure.frame_width
        down = abs(figure.y_range.end - figure.y_range.start) / figure.frame_height
        assert across == pytest.approx(down, rel=0.02)
        assert abs(figure.x_range.end - figure.x_range.start) >= shape[1]
        assert figure.y_range.start > figure.y_range.end  # rows downwards


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (12,)])
def test_pixels_on_a_line_are_drawn_as_values_over_the_position(shape, tmp_path):
    pytest.importorskip("panel")
    import hyperspy.api as hs

    from endmember.app.page.figures import map_plot

    signal = hs.signals.Signal1D(np.random.default_rng(0).random((*shape, 30)))
    axis = max(signal.axes_manager.navigation_axes, key=lambda axis: axis.size)
    axis.name, axis.scale, axis.offset, axis.units = "position", 0.5, 3.0, "nm"
    image = store(signal, tmp_path)
    plot = map_plot(image)
    plot.show(image.map((0, 30)), image, "all", "Intensity")
    figure = plot.pane.object
    assert (figure.xaxis[0].axis_label, figure.yaxis[0].axis_label) == (
        "position (nm)",
        "Intensity",
    )
    drawn = plot._plot
    np.testing.assert_allclose(drawn._lines.data["x"][0], 3 + 0.5 * np.arange(12))
    np.testing.assert_allclose(drawn._lines.data["y"][0], signal.data.sum(-1).ravel())
    assert sorted(image.region((3.9, 5.1), (3.9, 5.1)).box) == [(0, 1), (2, 5)]


def test_an_energy_window_holds_the_channels_between_its_ends(session):
    energy = session.data.energy
    first, end = session.data.window((energy[20] + 0.01, energy[10] - 0.01))
    assert (first, end) == (10, 21)


def test_a_line_scan_is_an_image_of_one_row(tmp_path):
    import hyperspy.api as hs

    data = np.arange(30.0).reshape(5, 6)
    image = store(hs.signals.Signal1D(data), tmp_path)
    np.testing.assert_array_equal(image.spectrum((0, 1), (1, 3)), data[1:3].mean(axis=0))


def test_the_page_cannot_change_the_data(session):
    with pytest.raises(ValueError):
        session.data.cube[0, 0, 0] = 1.0


# What was pointed at -------------------------------------------------------------------------------
def test_a_loop_has_the_pixels_whose_middle_it_holds(session, tmp_path):
    loop = session.data.region([0.6, 9.4, 9.4], [1.0, 1.0, 8.0])  # pixels lie around whole numbers
    assert loop.mask[2, 8] and not loop.mask[6, 2] and loop.mask[5].sum() < loop.mask[2].sum()
    cube = session.data.cube
    np.testing.assert_allclose(
        session.data.spectrum(*loop.box, False, loop.corners), cube[loop.mask].mean(axis=0)
    )
    box = session.data.region((2.0, 5.0), (3.0, 4.0))
    assert box.code == "3:5, 2:6" and box.mask[3:5, 2:6].all() and box.mask.sum() == 8


def test_an_ellipse_and_a_line_have_the_pixels_that_their_formulas_say(session):
    rows, columns = np.indices(session.data.shape[:2])
    round_ = session.data.region((3.2, 13.4), (11.3, 2.1), "ellipse")
    away = np.hypot((columns - 8.3) / 5.1, (rows - 6.7) / 4.6)
    assert round_.mask[away < 0.97].all() and not round_.mask[away > 1.03].any()
    line = session.data.region((2.0, 12.0), (3.0, 8.0), "line", 4)
    way = np.array([10.0, 5.0]) / np.hypot(10, 5)
    along = (columns - 2) * way[0] + (rows - 3) * way[1]
    aside = np.abs((rows - 3) * way[0] - (columns - 2) * way[1])
    near = (along > 0.1) & (along < np.hypot(10, 5) - 0.1) & (aside < 1.9)
    far = (along < -0.1) | (along > np.hypot(10, 5) + 0.1) | (aside > 2.1)
    assert line.mask[near].all() and not line.mask[far].any() and line.width == 4
    for shape in ("ellipse", "line"):  # a click is a pixel, whatever is dragged otherwise
        assert session.data.region((4.1, 4.1), (6.2, 6.2), shape, 4).code == "6:7, 4:5"


@pytest.mark.parametrize("units", ["nm", "s"])
def test_a_profile_of_a_plane_is_its_slope_times_the_way(tmp_path, units):
    """Between pixels a plane is interpolated without an error; its mean across a line is that of the middle."""
    signal = em.synthetic.diode(shape=(20, 24), channels=40).signal
    image = store(stretched(signal, (2.0, 0.0, "nm"), (2.0, 0.0, units)), tmp_path)
    rows, columns = np.indices((20, 24))
    planes = np.stack([3.0 * columns + rows, 7.0 - rows], axis=-1)
    line = image.region((36.0, 8.0), (6.0, 30.0), "line", 3)  # of 14 columns and 12 rows
    position, profiles, label = image.along(line, planes)
    step = 2 if units == "nm" else 1
    assert label == f"Along the line ({'nm' if units == 'nm' else 'pixels'})"
    np.testing.assert_allclose(position[-1], step * np.hypot(14, 12), rtol=0.01)
    share = position / position[-1]
    np.testing.assert_allclose(profiles[0], 3 * (18 - 14 * share) + 3 + 12 * share, atol=0.3)
    np.testing.assert_allclose(profiles[1], 7 - (3 + 12 * share), atol=0.1)


def seen(session, x, y):
    region = session.data.region(x, y)
    return replace(region, mean=session.data.spectrum(*region.box, True, region.corners))


def test_what_is_known_holds_in_the_answer_in_the_first_picture_too(tmp_path):
    phantom = em.synthetic.mixed_phases((100, 110), channels=64, k=3)
    session = Session(tmp_path)
    session.use(phantom.signal)
    box, loop = (
        seen(session, (2.0, 40.0), (3.0, 30.0)),
        seen(session, [60, 99, 99, 60], [50, 50, 90, 90]),
    )
    known = (
        session.constraint("is", 2, box), session.constraint("only", 2, box),
        session.constraint("absent", 0, loop),
    )  # fmt: skip
    choices, shown = Choices(3, "counts, weighted", constraints=known, starts=2), []
    live = session.live
    shown.append(live.unmix(choices, shown.append, lambda: None, phantom.spectra))
    assert shown[0].maps.shape[0] < 100
    thin = grid_of((100, 110))
    for picture in shown:
        full = picture.maps.shape[:2] == (100, 110)
        inside, around = (one.mask if full else one.mask[thin] for one in (box, loop))
        np.testing.assert_allclose(picture.spectra[2], box.mean)
        assert not picture.maps[inside][:, :2].any() and not picture.maps[around][:, 0].any()
    onset = session.constraint("onset", energy=float(session.data.energy[9]))
    picture = live.unmix(replace(choices, constraints=(onset,)), shown.append, lambda: None)
    assert not picture.spectra[:, :9].any() and picture.spectra[:, 9:].any()
    with pytest.raises(EndmemberError, match="says otherwise than .*nothing before"):
        replace(choices, constraints=(*known, onset)).model()


def test_what_is_known_of_a_component_that_is_not_there_is_refused(session):
    known = session.constraint("is", 3, seen(session, (2.0, 4.0), (3.0, 5.0)))
    with pytest.raises(EndmemberError, match="component 4 is region, but there are 3: raise k"):
        Choices(3, constraints=(known,)).model()
    with pytest.raises(EndmemberError, match="no region is drawn yet"):
        session.constraint("only", 1)
    with pytest.raises(PermissionError, match="outside the folder"):
        session.constraint("file", 1, file="../secret.msa")


def test_a_region_becomes_a_component_where_the_folder_holds_no_file(session):
    region = seen(session, (2.0, 4.0), (3.0, 5.0))
    known = session.constraint("is", 1, region, file=None)  # what an empty list of files gives
    assert known == session.constraint("is", 1, region)
    with pytest.raises(EndmemberError, match="there is no file to take a spectrum from"):
        session.constraint("file", 1, region, file=None)


def test_the_script_says_what_is_known_and_gives_the_same_numbers(session, folder, monkeypatch):
    spectrum = session.data.signal.inav[3, 3]
    spectrum.save(folder / "pure.msa")
    session.regions.append(replace(seen(session, [2, 9, 9], [2, 2, 9]), name="edge"))
    known = (
        session.constraint("is", 0, seen(session, (10.0, 14.0), (3.0, 12.0))),
        session.constraint("absent", 1, session.regions[0]),
        session.constraint("file", 2, file="pure.msa"),
    )
    run = session.run(Choices(3, constraints=known, starts=2))
    assert "component 2 is absent in edge" in session.script() and "edge" in run.label
    (folder / "again").mkdir()
    monkeypatch.chdir(folder / "again")
    (folder / "again" / "script.py").write_text(session.script())
    again = runpy.run_path("script.py")["results"][run.name]
    np.testing.assert_array_equal(again.maps.data, run.result.maps.data)
    np.testing.assert_array_equal(again.spectra.data, run.result.spectra.data)


def test_regions_follow_the_data_and_end_with_their_pixels(session):
    session.regions.append(seen(session, (2.0, 4.0), (3.0, 5.0)))
    do(session, Step("crop_energy", {"start": 100.0, "stop": 120.0}))
    assert len(session.regions[0].mean) == session.data.shape[2]
    do(session, Step("rebin", {"pixels": 2}))
    assert not session.regions


# Live ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", ["constant noise", "counts, weighted"])
def test_the_live_answer_fits_as_well_as_a_full_fit(loss):
    phantom = em.synthetic.mixed_phases((40, 44), channels=96, k=3)
    choices, shown = Choices(3, loss), []
    picture = Live(phantom.signal, patience=100.0).unmix(choices, shown.append, lambda: None)
    full = choices.model().fit(phantom.signal)
    assert [one.stage for one in shown] == ["first", "few pixels", "all pixels"]
    left = np.linalg.norm(phantom.data - picture.maps @ picture.spectra)
    floor = np.linalg.norm(phantom.data - full.maps_ @ full.components_)
    assert picture.settled and left < 1.001 * floor
    # The first picture shows every pixel of an image as small as this one.
    assert np.linalg.norm(phantom.data - shown[0].maps @ shown[0].spectra) < 1.1 * floor


def test_settled_is_what_a_run_gives_and_says_where_others_fit_as_well():
    signal = em.synthetic.mixed_phases((12, 14), channels=64, k=3).signal
    for choices in (Choices(3), Choices(5)):
        picture = Live(signal, patience=100.0).unmix(choices, lambda one: None, lambda: None)
        run = choices.model().fit(signal)
        close = angle(picture.spectra, run.components_) < 5
        assert close if picture.settled else picture.doubts.startswith("Not unique: ")
        assert picture.settled == (choices.k == 3)
    hasty = Live(signal, patience=0.0).unmix(choices, lambda one: None, lambda: None)
    assert not hasty.settled


def test_a_live_answer_nobody_waits_for_ends():
    live = Live(em.synthetic.diode(shape=(16, 16), channels=60).signal)

    def over():
        raise Cancelled

    with pytest.raises(Cancelled):
        live.unmix(Choices(3), lambda picture: None, over)


def test_what_a_sketch_cannot_answer_is_said():
    live = Live(em.synthetic.mixed_phases((20, 20), channels=60, k=2).signal)
    picture = live.unmix(
        Choices(2, "counts, exact", penalties={"relevance": True}), lambda one: None, lambda: None
    )
    assert "not exact" in picture.left_out and "none is dropped" in picture.left_out
    picture = live.unmix(
        Choices(2, penalties={"smooth": "auto", "sparse": 0.01}), lambda one: None, lambda: None
    )
    assert "chooses the weight of: Smooth maps" in picture.left_out and not picture.settled


def test_all_answers_between_the_ends_fit_equally_well_and_spectra_become_distinct():
    phantom = em.synthetic.diode(shape=(30, 32), channels=80)
    live, data = Live(phantom.signal), phantom.signal.data
    answers = [
        live.unmix(Choices(3, way=way), lambda one: None, lambda: None)
        for way in np.linspace(0, 1, 6)
    ]
    plain = Choices(3).model().fit(data)
    left = [
        np.linalg.norm(data - one.maps @ one.spectra)
        for one in (*answers, SimpleNamespace(maps=plain.maps_, spectra=plain.components_))
    ]
    assert np.ptp(left[:-1]) < 1e-3 * left[-1] and max(left) < 1.01 * left[-1]
    least = [
        min(em.spectral_angle(one.spectra[i], one.spectra[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
        for one in answers
    ]
    assert (np.diff(least) > 0).all() and least[-1] > least[0] + 3
    zeros = [(one.maps == 0).mean() for one in answers]
    assert zeros[0] > 0.2 > 0.02 > zeros[-1]
    assert all((one.maps >= 0).all() and (one.spectra >= 0).all() for one in answers)
    np.testing.assert_allclose(np.linalg.norm(answers[3].spectra, axis=1), 1)
    with pytest.raises(EndmemberError, match="set all penalties to 0"):
        live.unmix(Choices(3, penalties={"sparse": 0.01}, way=0.5), print, lambda: None)


def test_a_sketch_is_made_once_for_all_who_look(monkeypatch):
    cube = em.synthetic.diode(shape=(12, 12), channels=60).data
    made = []

    def make(scaling):
        made.append(scaling)
        return em.compress(cube, 8, scaling=scaling)

    sketches = Sketches(make)
    first, second = (sketches.get("constant noise")[0] for _ in range(2))
    assert first is second and made == [None]
    sketches.get("counts, weighted")
    assert made == [None, "poisson"]


def test_a_sketch_that_cannot_be_made_says_why_and_may_be_tried_again():
    answers = iter([ValueError("no room"), em.compress(np.eye(12) + 1, 4)])

    def make(scaling):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    sketches = Sketches(make)
    with pytest.raises(ValueError, match="no room"):
        sketches.get("constant noise")
    assert sketches.get("constant noise")[0].rank == 4


# Data on disk -------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_what_is_stored_comes_back_as_it_was(tmp_path, dtype):
    signal = em.synthetic.mixed_phases((9, 70), channels=65, k=2).signal
    signal.change_dtype(dtype)
    image = store(signal, tmp_path)
    cube, axis = signal.data.astype(float), signal.axes_manager.signal_axes[0]
    np.testing.assert_array_equal(image.signal.data, signal.data)
    assert type(image.signal) is type(signal) and image.title == signal.metadata.General.title
    assert image.sides[0].units == "nm" and image.is_counts == (np.dtype(dtype).kind == "u")
    assert image.axis.label == f"{axis.name} ({axis.units})"
    np.testing.assert_array_equal(image.energy, axis.axis)
    np.testing.assert_allclose(image.map((3, 64)), cube[..., 3:64].sum(axis=-1))
    np.testing.assert_allclose(image.spectrum((1, 9), (5, 66)), cube[1:9, 5:66].mean(axis=(0, 1)))
    with pytest.raises(ValueError):
        image.signal.data[0, 0, 0] = 1


def test_only_where_the_data_lie_travels_between_processes(session):
    assert session.data.cube.any() and session.data.signal.data.any()
    assert len(ForkingPickler.dumps(session.data)) < session.data.cube.nbytes / 4


def test_data_that_stay_on_disk_give_the_same_answers(folder):
    """The preview stands for them while a box is dragged; all that counts is of the data."""
    small, large = Session(folder), Session(folder, store=Store(most=1000))
    for session in (small, large):
        session.use(session.read("diode.hspy"))
        do(session, Step("crop_pixels", {"rows": [0, 14], "columns": [1, 17]}))
        do(session, Step("rebin", {"channels": 2}))
    few, many = small.data, large.data
    assert many.is_preview and many.signal._lazy and not few.is_preview
    assert many.shape == few.shape
    box, window = ((2, 9), (3, 11)), (4, 17)
    np.testing.assert_allclose(many.spectrum(*box, exact=True), few.spectrum(*box))
    np.testing.assert_allclose(many.map(window, exact=True), few.map(window))
    choices = Choices(3, starts=2)
    runs = [session.run(choices) for session in (small, large)]
    assert angle(runs[0].result.spectra.data, runs[1].result.spectra.data) < 0.01
    shown = [
        Live(session.data.sketches, patience=100.0).unmix(choices, lambda one: None, lambda: None)
        for session in (small, large)
    ]
    np.testing.assert_allclose(shown[0].spectra, shown[1].spectra, atol=1e-6)
    assert large.script() == small.script()
    small.close()
    large.close()


@pytest.mark.parametrize("harm", ["gone", "cut"])
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
def test_a_file_that_vanishes_or_breaks_gives_a_sentence_instead_of_an_answer(
    tmp_path, ending, harm
):
    file = tmp_path / f"diode.{ending}"
    em.synthetic.diode(shape=(16, 18), channels=60).signal.save(file, chunks=(8, 9, 60))
    session = Session(tmp_path, store=Store(most=1000))
    session.use(session.read(file.name))
    for part in sorted([file, *file.rglob("*")], reverse=True):
        if part.is_file():
            part.unlink() if harm == "gone" else part.write_bytes(part.read_bytes()[:100])
        elif harm == "gone":
            part.rmdir()
    said = "vanished while" if harm == "gone" else "changed while"
    for ask in (
        lambda: session.data.spectrum((0, 9), (0, 9), exact=True),
        lambda: session.data.map((0, 9), exact=True),
        lambda: session.run(Choices(2, starts=1)),
    ):
        with pytest.raises(EndmemberError, match=said):
            ask()
    if (
        harm == "gone"
    ):  # HDF5 goes on with what this process has open; those of the workbench begin anew
        with pytest.raises(FileNotFoundError, match="does not exist"):
            session.read(file.name)
    session.close()


@pytest.mark.parametrize("most", [1000, None], ids=["on disk", "in memory"])
def test_a_preview_is_of_means_over_squares(tmp_path, monkeypatch, most):
    from endmember.app.work import storage

    monkeypatch.setattr(storage, "PREVIEW", 9 * 9 * 60 * 8)
    em.synthetic.diode(shape=(18, 18), channels=60).signal.save(tmp_path / "diode.hspy")
    shared = Store(most=most)
    image = shared.open(tmp_path / "diode.hspy")
    data = np.asarray(image.signal.data)
    assert data.shape == image.shape and image.is_preview and bool(image.stays) == bool(most)
    assert image.bin == 2 and image.cube.shape == (9, 9, 60)
    np.testing.assert_allclose(image.cube[1, 2], data[2:4, 4:6].mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(
        image.spectrum((4, 12), (2, 8)), image.spectrum((4, 12), (2, 8), exact=True), rtol=1e-6
    )


def test_users_of_one_file_share_its_data_until_the_last_has_gone(folder):
    shared = Store()
    one, other = Session(folder, store=shared), Session(folder, store=shared)
    one.use(one.read("diode.hspy"))
    other.use(other.read("diode.hspy"))
    assert one.data is other.data
    place = Path(one.data.folder)
    one.close()
    assert other.data.whole.mean.any() and place.exists()
    other.close()
    gc.collect()
    assert not place.exists()


# Processes ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def workers():
    workers = Workers(2)
    yield workers
    workers.close()


def test_a_process_gives_the_answer_that_this_one_gives(workers, folder):
    answers = []
    for where in (None, Store(workers)):
        session = Session(folder, store=where)
        session.use(session.read("diode.hspy"))
        do(session, Step("align", {"method": "correlation"}))
        run = session.run(Choices(2, penalties={"soft_orthogonal": 0.01}, starts=2))
        session.judge(run, "errors")
        answers.append((run.result, session.rank().suggested, session.script()))
        session.close()
    (here, rank, script), (there, its_rank, its_script) = answers
    np.testing.assert_allclose(here.spectra.data, there.spectra.data, rtol=1e-8)
    np.testing.assert_allclose(here.maps.data, there.maps.data, rtol=1e-8)
    np.testing.assert_allclose(here.misfit().map, there.misfit().map, rtol=1e-8)
    np.testing.assert_allclose(here.errors.spectra, there.errors.spectra, rtol=1e-6)
    assert (rank, script) == (its_rank, its_script)


def test_what_goes_wrong_in_a_process_is_said_here(workers, folder):
    session = Session(folder, store=Store(workers))
    (folder / "broken.hspy").write_bytes(b"not a file at all")
    with pytest.raises(em.UnreadableFileError):
        session.read("broken.hspy")
    session.use(session.read("diode.hspy"))
    with pytest.raises(ValueError, match="rows"):
        session.prepared((Step("crop_pixels", {"rows": [5, 99], "columns": [0, 3]}),))
    session.close()


def long_fit(session, lane):
    """Start a fit that does not end by itself, and return what it answers and an event of its first word."""
    answers, begun = [], threading.Event()
    solver = em.MultiplicativeUpdate()  # creeps for minutes
    model = em.NMF(4, loss=em.Poisson(), solver=solver, tol=0.0, max_iter=10**7, random_state=0)
    lane.submit(
        lambda ticket: session.store.workers.call(ticket, "fit", session.data, model),
        answers.append, answers.append, lambda words: begun.set(),
    )  # fmt: skip
    assert begun.wait(60)
    return answers


def test_a_cancelled_fit_ends_with_its_process_and_others_go_on(workers, folder):
    session, lane = Session(folder, store=Store(workers)), Lane()
    session.use(session.read("diode.hspy"))
    answers = long_fit(session, lane)
    (busy,) = workers._busy
    lane.cancel()
    assert busy.process.wait(10) != 0
    assert session.run(Choices(2, starts=1)).result.model.converged_
    assert answers == []
    lane.close()
    session.close()


def test_a_process_that_dies_becomes_a_message(workers, folder):
    session, lane = Session(folder, store=Store(workers)), Lane()
    session.use(session.read("diode.hspy"))
    answers = long_fit(session, lane)
    (busy,) = workers._busy
    busy.process.kill()
    wait_for(lane)
    assert isinstance(answers[0], WorkerLostError) and "signal 9" in str(answers[0])
    assert session.run(Choices(2, starts=1)).result.model.converged_
    lane.close()
    session.close()


def test_a_second_user_does_not_wait_for_the_fit_of_the_first(workers, folder):
    shared = Store(workers)
    one, other, lane = Session(folder, store=shared), Session(folder, store=shared), Lane()
    one.use(one.read("diode.hspy"))
    other.use(other.read("diode.hspy"))
    answers = long_fit(one, lane)
    assert other.run(Choices(2, starts=1)).result.model.converged_
    assert lane.busy and answers == [] and one.runs == []
    lane.close()
    one.close()
    other.close()


# Steps and runs -----------------------------------------------------------------------------------
def test_a_preview_changes_nothing_and_undo_takes_back(session):
    before = session.data.cube.copy()
    step = Step("rebin", {"pixels": 2})
    image = session.prepared((step,))
    assert session.steps == ()
    np.testing.assert_array_equal(session.data.cube, before)
    np.testing.assert_allclose(image.cube[0, 0], before[:2, :2].sum(axis=(0, 1)))
    session.settle((step,), image)
    assert session.data.shape == (8, 9, 60)
    session.settle(session.steps[:-1])
    np.testing.assert_array_equal(session.data.cube, before)


def test_a_step_that_was_taken_back_is_done_again_unless_another_has_come(session):
    bin_, crop = (
        Step("rebin", {"pixels": 2}),
        Step("crop_pixels", {"rows": [0, 8], "columns": [0, 9]}),
    )
    do(session, bin_)
    do(session, Step("rebin", {"channels": 2}))
    session.settle(session.steps[:-1])
    session.settle(session.steps[:-1])
    assert [step.parameters for step in session.undone] == [{"pixels": 2}, {"channels": 2}]
    do(session, session.undone[0])
    assert session.steps == (bin_,) and [s.parameters for s in session.undone] == [{"channels": 2}]
    session.settle(session.steps[:-1])
    do(session, crop)
    assert session.steps == (crop,) and session.undone == ()


def test_runs_outlive_another_file_and_each_script_knows_its_data(folder, tmp_path, monkeypatch):
    em.synthetic.mixed_phases((9, 9), channels=50, k=2).signal.save(folder / "oxides.hspy")
    session = Session(folder)
    session.use(session.read("diode.hspy"))
    session.run(Choices(2, starts=1))
    session.use(session.read("oxides.hspy"))
    session.run(Choices(2, starts=1))
    assert [run.image.shape for run in session.runs] == [(16, 18, 60), (9, 9, 50)]
    (tmp_path / "script.py").write_text(session.script())
    monkeypatch.chdir(tmp_path)
    again = runpy.run_path("script.py")["results"]
    for run in session.runs:
        assert angle(again[run.name].spectra.data, run.result.spectra.data) < 0.01
    session.close()


def test_a_run_is_on_disk_as_it_ends_and_comes_back_with_its_data(workers, folder):
    workspace = folder / "kept"
    one = Session(folder, store=Store(workers), workspace=workspace)
    one.use(one.read("diode.hspy"))
    do(one, Step("rebin", {"pixels": 2}))
    run = one.run(Choices(2, starts=1))
    one.judge(run, "errors")
    assert (
        one.kept() == []
        and angle(em.open(workspace / run.name).spectra.data, run.result.spectra.data) == 0
    )
    other = Session(folder, workspace=workspace)
    assert other.kept() == ["run-1-nmf-2"]
    back = other.reopen("run-1-nmf-2")
    other.take(back)
    assert other.steps == run.steps and back.label == run.label and other.script() == one.script()
    np.testing.assert_array_equal(other.data.cube, one.data.cube)
    np.testing.assert_allclose(other.judge(back, "errors").maps, one.judge(run, "errors").maps)
    assert other.run(Choices(2, starts=1)).name == "run-2-nmf-2" and other.kept() == []
    (folder / "diode.hspy").unlink()
    third = Session(folder, workspace=workspace)
    with pytest.raises(em.EndmemberError, match="run-1-nmf-2 is kept in .*em.open"):
        third.reopen("run-1-nmf-2")
    em.synthetic.diode(shape=(16, 18), channels=60, seed=5).signal.save(folder / "diode.hspy")
    with pytest.raises(em.EndmemberError, match="has changed since"):
        third.reopen("run-1-nmf-2")
    for session in (one, other, third):
        session.close()


def test_a_run_that_cannot_be_kept_is_not_lost(folder):
    (folder / "kept").write_text("a file where the folder should be")
    session = Session(folder, workspace=folder / "kept")
    session.use(session.read("diode.hspy"))
    run = session.run(Choices(2, starts=1))
    assert run.name == "run-1-nmf-2" and "kept" in run.fitted.unsaved
    session.close()


@pytest.mark.filterwarnings(
    "ignore:not converged:sklearn.exceptions.ConvergenceWarning"
)  # of 16 pixels
def test_the_script_gives_the_same_spectra(session, tmp_path, monkeypatch):
    session.run(Choices(3, starts=2))
    do(session, Step("crop_pixels", {"rows": [0, 12], "columns": [2, 18]}))
    do(session, Step("rebin", {"pixels": 2}))
    do(session, Step("align", {"method": "correlation", "smooth": 3}))
    do(session, Step("crop_energy", {"start": float(session.data.energy[4]), "stop": 120.0}))
    session.run(Choices(2, penalties={"soft_orthogonal": 0.01}, starts=2, seed=3))
    file = tmp_path / "script.py"
    file.write_text(session.script())
    monkeypatch.chdir(tmp_path)
    again = runpy.run_path(str(file), run_name="__main__")["results"]
    assert list(again) == [run.name for run in session.runs]
    for run in session.runs:
        assert angle(again[run.name].spectra.data, run.result.spectra.data) < 0.01
        assert angle(em.open(tmp_path / run.name).spectra.data, run.result.spectra.data) < 0.01


def test_the_archive_of_an_upload_brings_its_data(session, folder, tmp_path, monkeypatch):
    upload = session.receive("../strange/mine.hspy")
    upload.write((folder / "diode.hspy").read_bytes())
    session.use(session.read_upload(upload))
    run = session.run(Choices(2, starts=1))
    with zipfile.ZipFile(session.archive(run)) as whole:
        whole.extractall(tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    session.close()
    again = runpy.run_path("script.py")["results"][run.name]
    assert angle(again.spectra.data, em.open(run.name).spectra.data) < 0.01


def test_a_crop_on_the_command_line_is_in_the_script(folder):
    from endmember.cli.commands import _first

    session = Session(folder)
    _first(folder / "diode.hspy", None, [(100.0, 120.0)], session.store)(session)
    assert session.data.energy[0] >= 100 and session.data.energy[-1] < 120
    session.run(Choices(2, starts=1))
    assert "crop_energy(signal, start=100.0, stop=120.0)" in session.script()
    session.close()


def test_a_saved_run_is_reproduced_from_its_folder(session, folder):
    do(session, Step("crop_pixels", {"rows": [1, 13], "columns": [0, 16]}))
    do(session, Step("rebin", {"pixels": 2, "channels": 3}))
    run = session.run(Choices(2, starts=1))
    session.save(run, "kept")
    again = em.open(folder / "kept").reproduce()
    np.testing.assert_allclose(again.spectra.data, run.result.spectra.data, rtol=1e-10)


def test_runs_side_by_side_are_paired_whatever_their_order(session):
    first, second = session.run(Choices(3, starts=2)), session.run(Choices(2, starts=2))
    in_first, in_second, angles = side_by_side(first, second)
    spectra = first.result.spectra.data[in_first], second.result.spectra.data[in_second]
    np.testing.assert_allclose(em.spectral_angle(*spectra), angles)
    np.testing.assert_array_equal(in_first, side_by_side(second, first)[1])
    assert side_by_side(first, first)[2].max() == pytest.approx(0.0, abs=1e-6)


def test_bands_and_errors_are_those_of_assess(session):
    run = session.run(Choices(2, starts=2))
    expected = em.assess.ambiguity(run.result.model, run.image.signal)
    np.testing.assert_allclose(session.judge(run, "bands").spectra_high, expected.spectra_high)
    assert session.judge(run, "bands") is run.result.bands
    np.testing.assert_allclose(
        session.judge(run, "errors").maps,
        em.assess.uncertainty(run.result.model, run.image.signal).maps,
    )


# Files --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["../secret.hspy", "/etc/passwd", "link.hspy", "sub/../../secret.hspy", "a\0b"]
)
def test_nothing_outside_the_folder_is_read_or_written(folder, name):
    root = folder / "root"
    (root / "sub").mkdir(parents=True)
    (folder / "secret.hspy").write_bytes((folder / "diode.hspy").read_bytes())
    (root / "link.hspy").symlink_to(folder / "secret.hspy")
    (root / "away").symlink_to(folder)
    session = Session(root)
    with pytest.raises(PermissionError, match="outside"):
        session.read(name)
    assert listing(root) == (["sub"], [])
    with pytest.raises(PermissionError):
        inside(root, "away/diode.hspy")
    session.use(em.synthetic.diode(shape=(8, 8), channels=40).signal)
    with pytest.raises(PermissionError):
        session.save(session.run(Choices(1, starts=1)), name)
    session.close()


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("kind", ["link", "storage"])
def test_a_file_brings_in_nothing_from_outside(tmp_path, folder, kind, dropped):
    """Neither one that is opened nor one that is dropped on the page."""
    import h5py

    (root := tmp_path / "root").mkdir()
    place = root / "mine.hspy"
    place.write_bytes((folder / "diode.hspy").read_bytes())
    with h5py.File(place, "a") as file:
        name, group = next(iter(file["Experiments"].items()))
        if kind == "link":
            del file["Experiments"][name]
            there = f"/Experiments/{name}"
            file["Experiments"][name] = h5py.ExternalLink(str(folder / "diode.hspy"), there)
        else:
            shape, kept = group["data"].shape, dict(group["data"].attrs)
            del group["data"]
            size = int(np.prod(shape))
            outside = [(str(folder / "diode.hspy"), 0, size)]
            made = group.create_dataset("data", shape=shape, dtype="u1", external=outside)
            made.attrs.update(kept)
    session = Session(root)
    with pytest.raises(em.UnreadableFileError, match="another file"):
        if dropped:
            upload = session.receive("mine.hspy")
            upload.write(place.read_bytes())
            session.read_upload(upload)
        else:
            session.read("mine.hspy")
    session.close()


def test_an_upload_beyond_the_limit_is_refused_and_deleted(tmp_path):
    upload = Upload(tmp_path, "big.hspy", limit=100)
    upload.write(b"0" * 100)
    with pytest.raises(em.EndmemberError, match="more than"):
        upload.write(b"0")
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_is_no_data_is_refused(session):
    with pytest.raises(ValueError, match="no kind of file"):
        session.receive("evil.py")
    upload = session.receive("broken.hspy")
    upload.write(b"not a file at all")
    with pytest.raises(em.UnreadableFileError):
        session.read_upload(upload)
    assert session.data.title == "Silicon diode"


# Two users and the scheduler ----------------------------------------------------------------------
def test_two_sessions_share_nothing(session, folder):
    other = Session(folder)
    assert other.image is None and other.runs == []
    other.use(em.synthetic.mixed_phases((10, 12), channels=50, k=2).signal)
    other.run(Choices(2, starts=1))
    assert session.runs == [] and session.data.shape == (16, 18, 60)
    upload = session.receive("mine.hspy")
    other.close()
    assert upload.path.exists()


def test_the_newest_request_wins_and_the_others_never_answer():
    lane, answers, entered, finished = Lane(), [], threading.Event(), threading.Event()

    def slow(ticket):
        entered.set()
        while True:
            ticket.check()

    lane.submit(slow, answers.append, answers.append)
    assert entered.wait(10)
    for number in range(5):
        lane.submit(
            lambda ticket, n=number: n,
            lambda n: (answers.append(n), n == 4 and finished.set()),
            answers.append,
        )
    assert finished.wait(10)
    lane.close()
    assert answers[-1] == 4 and answers == sorted(answers) and len(answers) <= 5


def test_a_cancelled_lane_answers_nothing_and_lives_on():
    lane, answers, entered, finished = Lane(), [], threading.Event(), threading.Event()

    def slow(ticket):
        entered.set()
        while True:
            ticket.show("still here")

    lane.submit(slow, answers.append, answers.append, lambda word: None)
    assert entered.wait(10) and lane.busy
    lane.cancel()
    assert not lane.busy
    lane.submit(
        lambda ticket: 1 / 0,
        answers.append,
        lambda problem: (answers.append(problem), finished.set()),
    )
    assert finished.wait(10)
    assert len(answers) == 1 and isinstance(answers[0], ZeroDivisionError)
    lane.close()


def test_where_requests_queue_all_are_answered_and_the_first_alone_is_cancelled():
    lane, answers, entered, release = Lane(queue=True), [], threading.Event(), threading.Event()

    def wait(ticket):
        entered.set()
        while not release.wait(0.01):
            ticket.check()
        return 1

    lane.submit(wait, answers.append, answers.append)
    lane.submit(lambda ticket: 2, answers.append, answers.append)
    assert entered.wait(10) and answers == []
    release.set()
    wait_for(lane)
    release.clear()
    entered.clear()
    lane.submit(wait, answers.append, answers.append)
    lane.submit(lambda ticket: 3, answers.append, answers.append)
    assert entered.wait(10)
    lane.cancel(first=True)
    wait_for(lane)
    lane.close()
    assert answers == [1, 2, 3]


def test_one_users_long_work_does_not_hold_up_another():
    busy, other, entered, finished = Lane(), Lane(), threading.Event(), threading.Event()
    release = threading.Event()
    busy.submit(lambda ticket: (entered.set(), release.wait(20)), lambda _: None, lambda _: None)
    assert entered.wait(10)
    other.submit(lambda ticket: None, lambda _: finished.set(), lambda _: None)
    assert finished.wait(10) and busy.busy
    release.set()
    busy.close()
    other.close()


# The gate and the page ----------------------------------------------------------------------------
HOST, OTHER = "127.0.0.1:5006", "lab.example"


@pytest.mark.parametrize(
    ("host", "path", "websocket", "origin", "welcome"),
    [
        (HOST, "/token/", False, None, True),
        (HOST, "/token/ws", True, f"http://{HOST}", True),
        (HOST, "/token/ws", True, None, False),
        (HOST, "/token/ws", True, "http://evil.example", False),
        (HOST, "/token/ws", True, "http://127.0.0.1:5007", False),
        ("evil.example:5006", "/token/", False, None, False),
        ("127.0.0.1", "/token/", False, None, False),
        ("127.0.0.1:8000", "/token/", False, None, True),  # the end of a tunnel
        ("127.0.0.1:8000", "/token/ws", True, "http://127.0.0.1:8000", True),
        (HOST, "/token/ws", True, f"https://{HOST}", False),
        (OTHER, "/token/", False, None, True),
        (OTHER, "/token/ws", True, f"https://{OTHER}", True),
        (
            HOST,
            "/token/ws",
            True,
            f"https://{OTHER}",
            True,
        ),  # a proxy that keeps the name to itself
        (f"{OTHER}:81", "/token/", False, None, False),
        (HOST, "/", False, None, False),
        (HOST, "/tokem/", False, None, False),
        (HOST, "//token/", False, None, False),
        (HOST, "/token/static/js/bokeh.min.js", False, None, True),
        (HOST, "/token/components/os/path.py", False, None, False),
        (HOST, "/static/js/bokeh.min.js", False, None, False),
    ],
)
def test_the_gate_checks_host_token_and_origin(host, path, websocket, origin, welcome):
    pytest.importorskip("tornado")
    from endmember.app.server.gate import Gate

    gate = Gate(None, "token", {"127.0.0.1"}, f"https://{OTHER}/prefix")
    assert (gate.refusal(host, path, websocket, origin) == "") == welcome


def test_desks_wait_for_their_users_unless_nobody_sat_there_or_there_are_too_many():
    pytest.importorskip("panel")
    from bokeh.document import Document

    from endmember.app.server import desks

    class Desk:
        def __init__(self, name, connections, away):
            self.id, self.connection_count, self.document = name, connections, Document()
            self.milliseconds_since_last_unsubscribe, self.given_up = away, False

        def request_expiration(self):
            self.given_up = True

    used = [Desk(f"used-{n}", 1, 0) for n in range(desks.MOST + 2)]
    unused, fresh = Desk("unused", 0, desks.UNUSED + 1), Desk("fresh", 0, 10)
    tour = desks.Round(SimpleNamespace(get_sessions=lambda: [*used, unused, fresh]))
    tour()
    assert unused.given_up and not any(desk.given_up for desk in [*used, fresh])
    for hours, desk in enumerate(used):
        desk.connection_count, desk.milliseconds_since_last_unsubscribe = 0, 1000 + hours * 3600_000
    unused.given_up = False
    tour()
    assert [desk.given_up for desk in used] == [False] * (desks.MOST - 2) + [True] * 4


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_the_workbench_listens_where_it_is_told_to(tmp_path, address):
    pytest.importorskip("panel")
    import asyncio
    import socket

    from endmember.app.server.server import make_server

    try:
        socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        ).close()
    except OSError:
        pytest.skip(f"{address} is none of this machine")

    made = []

    def serve():
        asyncio.set_event_loop(asyncio.new_event_loop())
        made.append(make_server(tmp_path, Store(), address=address))
        made[0].serve()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    while not made:
        time.sleep(0.05)
    home = urlsplit(made[0].url)
    assert home.hostname == address
    connection = http.client.HTTPConnection(address, home.port, timeout=60)
    connection.request("GET", home.path)
    assert connection.getresponse().status == 200
    made[0].stop()
    thread.join(10)


def test_every_request_to_the_server_passes_the_gate(tmp_path):
    pytest.importorskip("panel")
    running = em.workbench(root=tmp_path)
    home = urlsplit(running.url)

    def ask(path, **headers):
        connection = http.client.HTTPConnection(home.netloc, timeout=60)
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status

    try:
        assert ask(home.path) == 200
        assert ask("/") == ask(home.path, Host="evil.example") == 403
        assert ask(f"{home.path}components/os/path.py") == 403
        assert ask(f"{home.path}favicon.ico") == 204
    finally:
        running.stop()


def test_a_change_that_comes_as_the_one_before_it_is_through_is_sent():
    """Where the browser takes its time, Panel would keep the second until there is a third."""
    pytest.importorskip("panel")
    import asyncio

    from bokeh.document import Document
    from panel.io.document import extra_socket_handlers, schedule_write_events

    from endmember.app.server.desks import send_what_was_left

    class Connection:
        _socket = protocol = property(lambda self: self)

        def create(self, kind, events):
            return events

    async def visit():
        document, connection, sent = Document(), Connection(), []
        on_its_way = asyncio.get_running_loop().create_future()

        def send(connection, msg):
            sent.extend(msg)
            return [on_its_way]

        extra_socket_handlers[Connection] = send
        on_its_way.add_done_callback(
            lambda _: schedule_write_events(document, [connection], ["second"])
        )
        schedule_write_events(document, [connection], ["first"])
        await asyncio.sleep(0.01)
        on_its_way.set_result(None)
        await asyncio.sleep(0.01)
        send_what_was_left(
            SimpleNamespace(get_sessions=lambda: [SimpleNamespace(document=document)])
        )
        await asyncio.sleep(0.01)
        del extra_socket_handlers[Connection]
        return sent

    assert asyncio.run(visit()) == ["first", "second"]


def test_importing_the_package_and_the_session_imports_no_panel():
    import subprocess
    import sys

    program = "import sys, endmember, endmember.app.core.session; print(*{'panel', 'bokeh'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        == "\n"
    )


def test_without_panel_the_command_says_what_to_install(capsys, monkeypatch, tmp_path):
    import importlib.util

    from endmember.cli import main

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "panel" else find(name, *a)
    )
    monkeypatch.chdir(tmp_path)
    assert main(["workbench"]) == 2
    assert "pip install panel bokeh" in capsys.readouterr().err


def test_the_page_shows_what_the_session_holds(session):
    pytest.importorskip("panel")
    from endmember.app.page.page import Page

    page = Page(session)
    page.data_changed()
    data, model = page.panel("Data"), page.panel("Unmix")
    data.point((2.0, 9.0), (3.0, 8.0))
    wait_for(page.drag)
    shown = data._plot._lines.data["y"]
    np.testing.assert_allclose(shown[1], session.data.cube[3:9, 2:10].mean(axis=(0, 1)), rtol=1e-10)
    wait_for(page.live)
    choices, before = model.choices(), model._spectra._lines.data
    model._keep(session.fit(choices), choices)
    after, spectra = model._spectra._lines.data, session.runs[0].result.spectra.data
    for colour, name, drawn in zip(after["colour"], after["name"], after["y"], strict=True):
        np.testing.assert_allclose(drawn, spectra[int(name.split()[-1]) - 1])
        likeness = before["y"][before["colour"].index(colour)]
        assert em.spectral_angle(drawn, likeness) < 5
    page.complain(ValueError("<script>alert(1)</script>"))
    assert "<script>" not in page.message.value
    page.close()


def test_a_name_stays_with_what_resembles_it_and_goes_to_nothing_else(session):
    pytest.importorskip("panel")
    from endmember.app.page.page import Page

    page = Page(session)
    page.data_changed()
    model, spectra = page.panel("Unmix"), np.eye(4, 60) + 0.01
    wait_for(page.live)
    maps = np.ones((*session.data.shape[:2], 2))
    model.draw(maps, spectra[:2], None, "")
    look = next(n for n, one in model._known if em.spectral_angle(one, spectra[0]) < 1)
    model._cards[look][0][1].value = "oxide"
    for shown in ([1, 0], [2, 1], [3, 2], [1, 0]):
        model.draw(maps, spectra[shown], None, "")
        lines = model._spectra._lines.data
        drawn = dict(zip(lines["name"], lines["y"], strict=True))
        assert ("oxide" in drawn) == (0 in shown)
        if 0 in shown:
            assert em.spectral_angle(drawn["oxide"], spectra[0]) < 1
    page.close()


@pytest.fixture
def page(tmp_path):
    """A page without a browser, and how to wait for its work."""
    pytest.importorskip("panel")
    from endmember.app.page.page import Page

    page = Page(Session(tmp_path))

    def finish(done):
        deadline = time.monotonic() + 60
        while not done() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert done(), page.message.value

    page.finish = finish
    yield page
    for lane in (page.drag, page.live, page.jobs):
        idle = threading.Event()
        lane.submit(lambda ticket: None, lambda _, idle=idle: idle.set(), lambda _: None)
        assert idle.wait(60)
    page.close()


def test_what_a_step_finds_or_warns_of_is_said_on_the_page(page):
    import hyperspy.api as hs

    rng, energy = np.random.default_rng(0), np.arange(300.0)
    shifts = rng.integers(-4, 5, (6, 6, 1))
    cube = rng.poisson(1000 * np.exp(-((energy - 150 - shifts) ** 2) / 20) + 20)
    cube[2, 3, 40] = 900
    page.session.use(hs.signals.Signal1D(cube))
    page.data_changed()
    panel = page.panel("Prepare")
    for kind, words in {
        "Align energies": "which not every pixel has seen, were cropped",
        "Remove spikes": "spikes: 3 values in 1 of 36 spectra were replaced, in pixel 2, 3 (channel 39)",
    }.items():
        panel._tried, panel._kind.value = None, kind
        panel._start()
        page.finish(lambda: panel._tried)
        assert words in page.message.value


@pytest.mark.parametrize("steps", [-2.0, np.linspace(1, 3, 40)])
def test_uneven_and_falling_energies_are_shown(page, tmp_path, steps):
    from hyperspy.axes import DataAxis

    signal = em.synthetic.diode(shape=(8, 9), channels=40).signal
    signal.change_dtype(float)
    energy = 500 + np.cumsum(np.broadcast_to(steps, 40))
    if np.ndim(steps):
        signal.axes_manager[-1].convert_to_non_uniform_axis()
        signal.axes_manager[-1].axis = energy
    else:
        signal.axes_manager[-1].offset, signal.axes_manager[-1].scale = energy[0], steps
    assert isinstance(signal.axes_manager[-1], DataAxis) == bool(np.ndim(steps))
    signal.save(tmp_path / "mine.hspy")
    page.session.use(page.session.read("mine.hspy"))
    page.data_changed()
    np.testing.assert_allclose(page.session.data.energy, energy)
    panel = page.panel("Data")
    panel._window_moved((energy[10], energy[20]))
    page.finish(lambda: panel._window == (10, 21))
    run = page.session.run(Choices(2, starts=1))
    np.testing.assert_allclose(run.result.spectra.axes_manager[-1].axis, energy)


def test_a_file_of_several_signals_asks_which(page, tmp_path):
    import h5py

    first = em.synthetic.diode(shape=(8, 9), channels=40).signal
    second = em.synthetic.mixed_phases((6, 5), channels=50, k=2).signal
    first.save(tmp_path / "two.hspy")
    second.save(tmp_path / "other.hspy")
    with h5py.File(tmp_path / "other.hspy") as one, h5py.File(tmp_path / "two.hspy", "a") as both:
        both.copy(one["Experiments/Mixed oxides"], "Experiments/Mixed oxides")
    page._list("")
    page._file.value = "two.hspy"
    page._open()
    page.finish(lambda: page._signal.visible)
    assert page.session.image is None
    (chosen,) = [number for words, number in page._signal.options.items() if "oxides" in words]
    page._signal.value = chosen
    page.finish(lambda: page.session.image is not None)
    assert page.session.data.shape == (6, 5, 50)
    page.finish(lambda: "left aside" in page.message.value)
    assert str(tmp_path) not in page.message.value and not page._signal.visible


def test_two_runs_stand_side_by_side_and_one_alone(page):
    page.session.use(em.synthetic.mixed_phases((8, 8), channels=40, k=2).signal)
    page.data_changed()
    panel = page.panel("Runs")
    assert "No runs yet" in panel._verdict.object
    page.tabs.active = 4
    for k, pictures in ((2, [2, 2]), (3, [3, 3])):
        page.session.run(Choices(k, starts=1))
        page.tell("runs_changed")
        page.panel("Runs")
        assert [len(row) for row in panel._rows] == pictures
    assert "Mean angle" in panel._verdict.object
    panel._choice[0].value = panel._choice[1].value
    assert "Two different runs" in panel._verdict.object
    assert [len(row) for row in panel._rows] == [2, 2, 2]


def test_all_that_hyperspy_reads_is_offered(tmp_path):
    from rsciio import IO_PLUGINS

    endings = {ending for plugin in IO_PLUGINS for ending in plugin["file_extensions"]}
    for ending in endings:
        (tmp_path / f"file.{ending}").touch()
    assert set(listing(tmp_path)[1]) == {f"file.{ending}" for ending in endings}


def test_the_example_is_looked_at(page):
    assert page._welcome.visible
    page._try()
    page.finish(lambda: page.session.image is not None and not page._welcome.visible)
    assert page.session.data.title == "Mixed oxides"


def test_a_row_of_the_catalogue_is_a_control_of_the_page(session, monkeypatch):
    pytest.importorskip("panel")
    from panel.widgets import DiscreteSlider

    from endmember.app.page.page import Page

    row = PenaltyRow("TotalVariation", "maps", "Weight of flat maps.", "Flat maps", "flat")
    monkeypatch.setitem(PENALTIES, "total_variation", row)
    page = Page(session)
    page.data_changed()
    model = page.panel("Unmix")
    (slider,) = [one for one in model.layout.select(DiscreteSlider) if one.label == "Flat maps"]
    slider.value = 0.1
    choices = model.choices()
    assert choices.label.endswith("flat 0.1") and "TotalVariation" in repr(choices.model().maps)
    page.close()
