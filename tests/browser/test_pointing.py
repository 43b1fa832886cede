"""Point at a phase: regions, what is known of them, names and colours, and files to take home."""

import re
import subprocess
import sys

import numpy as np
import pytest

import endmember as em


@pytest.fixture(scope="module")
def folder(tmp_path_factory, phantom):
    """A folder with four oxides, the spectrum of one, and a diode."""
    folder = tmp_path_factory.mktemp("pointing") / "data"
    folder.mkdir()
    phantom.signal.save(folder / "oxides.hspy")
    pure = phantom.signal.inav[0, 0]
    pure.data = phantom.spectra[0]
    pure.save(folder / "oxide.msa")
    em.synthetic.diode(shape=(24, 24), channels=80).signal.save(folder / "diode.hspy")
    return folder


@pytest.fixture
def unmixed(desk):
    """The panel with four components."""
    desk.open("oxides.hspy")
    desk.reads("Mixed oxides")
    desk.panel("Unmix")
    desk.slide("Components k")
    desk.reads(re.compile("settled.*k = 4|k = 4.*settled"))
    return desk


MAPS, HERE = "All maps together", "Mean of data and model"


def test_a_box_a_loop_and_a_pixel_are_kept_named_and_removed(desk, phantom):
    desk.open("oxides.hspy")
    desk.drag("x (nm)", (4.0, 3.0), (11.0, 9.0))
    desk.drawing("columns 4 to 11, rows 3 to 9")
    desk.page.get_by_label("Name of the region").fill("corner")
    desk.press("Keep the region")
    desk.page.get_by_role("checkbox", name="corner").wait_for()
    frame = desk.begin_drag("x (nm)", (30.0, 20.0))
    desk.page.mouse.up()  # a click: one pixel
    desk.drawing("columns 30 to 30, rows 20 to 20")
    desk.press("Keep the region")
    desk.page.get_by_role("button", name="Lasso").first.click()
    desk.page.mouse.move(*place(frame, 20, 8))
    desk.page.mouse.down()
    for corner in ((30, 8), (30, 16), (20, 16)):
        desk.page.mouse.move(*place(frame, *corner), steps=4)
    desk.page.mouse.up()
    desk.drawing("columns 20 to 30, rows 8 to 16")
    lines = desk.lines("Mean spectrum")
    assert list(lines) == ["all pixels", "corner", "region 1", "region"]
    np.testing.assert_allclose(lines["corner"][1], phantom.data[3:10, 4:12].mean(axis=(0, 1)))
    np.testing.assert_allclose(lines["region 1"][1], phantom.data[20, 30])
    desk.page.get_by_role("checkbox", name="corner").click()
    desk.reads_lines("Mean spectrum", 3)
    desk.panel("Unmix")
    desk.reads("Live, from a sketch (all pixels)")
    desk.reads_lines(HERE, 2)


def place(frame, x, y):
    """Return where on the screen a point of a drawing lies."""
    return [
        places[0] + (value - ends[0]) / (ends[1] - ends[0]) * (places[1] - places[0])
        for value, ends, places in (
            (x, frame["x"], frame["across"]),
            (y, frame["y"], frame["down"]),
        )
    ]


def purest(phantom, j):
    """Return a box of 6 x 6 pixels where a phase is nearly alone."""
    share = phantom.maps[..., j] / phantom.maps.sum(axis=-1)
    rows, columns = (np.arange(size - 5) for size in share.shape)
    return max((share[y : y + 6, x : x + 6].min(), int(x), int(y)) for y in rows for x in columns)[
        1:
    ]


def test_a_region_becomes_a_component_in_the_answer_and_in_the_script(
    unmixed, phantom, folder, tmp_path, measured
):
    x, y = purest(phantom, 1)
    unmixed.drag(MAPS, (x, y), (x + 5.0, y + 5.0))
    unmixed.drawing(HERE)
    unmixed.reads_lines(HERE, 2)
    unmixed.choose("Component", "Component 2")
    unmixed.watch("Spectra", "click")
    unmixed.press("has the mean spectrum of this region")
    measured("a region becomes a component, seen", unmixed.lap(), 0.2, "s")
    unmixed.page.get_by_role("checkbox", name="component 2 is region 1").wait_for()
    unmixed.press("is alone in this region")
    unmixed.choose("Component", "Component 4")
    unmixed.choose("Reference", "oxide.msa")
    unmixed.press("has the spectrum of this file")
    unmixed.reads(re.compile("component 4 is oxide.msa.*settled"))
    mean = phantom.data[y : y + 6, x : x + 6].mean(axis=(0, 1))
    shown = unmixed.lines("Spectra")["Component 2"][1]
    assert em.spectral_angle(np.array([shown]), mean[None])[0] < 1e-3
    unmixed.press("Run on the full data")
    unmixed.reads("Kept run-1-nmf-4")
    unmixed.panel("Export")
    unmixed.download("Script", tmp_path / "script.py")
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    again, kept = (
        em.open(place / "run-1-nmf-4") for place in (tmp_path, folder / "endmember-runs")
    )
    np.testing.assert_array_equal(again.spectra.data, kept.spectra.data)
    np.testing.assert_array_equal(again.maps.data, kept.maps.data)
    table = unmixed.download("Spectra (csv)", tmp_path / "spectra.csv").read_text()
    np.testing.assert_allclose(
        np.loadtxt(table.splitlines(), delimiter=",", skiprows=1)[:, 1:].T, kept.spectra.data
    )
    assert unmixed.download("Picture (pdf)", tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_profiles_of_all_maps_follow_a_line_and_a_circle_holds_one_alone(unmixed):
    along = "Profiles along region"
    unmixed.press("line")
    unmixed.drag(MAPS, (33.0, 5.0), (6.0, 27.0))
    unmixed.drawing(along)
    unmixed.page.wait_for_timeout(1000)
    lines = unmixed.lines(along)
    assert list(lines) == [f"Component {j + 1}" for j in range(4)]
    position, profile = (np.array(part) for part in lines["Component 2"])
    np.testing.assert_allclose(position[-1], np.hypot(27, 22), atol=0.2)
    shape, values = unmixed.image("Component 2")
    component = np.reshape(values, shape)
    for share in (
        0.25,
        0.5,
        0.75,
    ):  # the strip of five pixels lies within the square around its middle
        x, y, at = 33 - 27 * share, 5 + 22 * share, round(share * (len(profile) - 1))
        around = component[int(y) - 2 : int(y) + 4, int(x) - 2 : int(x) + 4]
        assert around.min() <= profile[at] <= around.max()
    field = unmixed.page.get_by_role("textbox", name="Width of a line")
    field.fill("1")
    field.press("Enter")
    unmixed.page.wait_for_timeout(1000)
    assert np.abs(np.array(unmixed.lines(along)["Component 2"][1]) - profile).max() > 5
    unmixed.press("ellipse")
    unmixed.drag(MAPS, (14.0, 17.0), (21.0, 10.0))
    unmixed.page.wait_for_timeout(1000)
    unmixed.press("is alone in this region")
    unmixed.reads(re.compile("region 1 holds component 1 alone; (not )?settled"))
    rows, columns = np.indices(shape)
    away = np.hypot(rows - 13.5, columns - 17.5)
    other = np.reshape(unmixed.image("Component 2")[1], shape)
    assert not other[away < 3.4].any() and other[away > 3.6].any()


def test_what_is_known_is_taken_back_and_what_cannot_be_is_said(unmixed):
    unmixed.press("is absent in this region")
    unmixed.reads("no region is drawn yet")
    unmixed.page.get_by_label("Onset", exact=True).fill("500")
    unmixed.page.get_by_label("Onset", exact=True).press("Enter")
    unmixed.press("Nothing before this onset")
    unmixed.reads(re.compile("nothing before 500.*settled"))
    energy, values = unmixed.lines("Spectra")["Component 1"]
    assert not any(value for place, value in zip(energy, values, strict=True) if place < 500)
    unmixed.choose("Reference", "oxide.msa")
    unmixed.press("has the spectrum of this file")
    unmixed.reads("a spectrum that is known says otherwise than nothing before 500")
    unmixed.page.get_by_text("nothing before 500", exact=True).click()
    unmixed.reads(re.compile("component 1 is oxide.msa; .*settled"))


def test_a_slider_walks_between_the_ends_of_what_the_data_allow(desk):
    desk.open("diode.hspy")
    desk.panel("Unmix")
    desk.reads(re.compile("settled.*k = 3|k = 3.*settled"))
    ends = "From maps as pure to spectra as distinct as the data allow"
    desk.slide(ends)
    desk.reads("(0% of the way)")
    pure = spectra_and_least_share(desk)
    desk.page.get_by_role("slider", name=ends, exact=True).press("End")
    desk.reads("(100% of the way)")
    desk.reads(re.compile("makes up [1-9].*which is true, they do not say"))
    distinct = spectra_and_least_share(desk)
    assert distinct[0] > pure[0] + 3 and distinct[1] > pure[1] + 0.05
    desk.slide("Sparse maps", 2)
    desk.reads("set all penalties to 0")


def spectra_and_least_share(desk):
    """Return the least angle between two spectra that are drawn, and the least value of a map by its largest."""
    desk.page.wait_for_timeout(500)
    spectra = np.array([y for _, y in desk.lines("Spectra").values()])
    angles = [em.spectral_angle(spectra[i], spectra[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    maps = [np.array(desk.image(f"Component {j}")[1]) for j in (1, 2, 3)]
    return min(angles), min(one.min() / one.max() for one in maps)


def test_components_are_named_coloured_and_hidden_and_the_names_reach_the_files(unmixed, tmp_path):
    name = unmixed.page.get_by_label("Name", exact=True).nth(1)
    name.fill("rutile")
    name.press("Enter")
    unmixed.drawing("rutile")
    assert "rutile" in unmixed.lines("Spectra")
    unmixed.page.get_by_label("Colour", exact=True).nth(1).fill("#123456")
    unmixed.page.wait_for_timeout(1000)
    unmixed.page.get_by_role("checkbox", name="shown").nth(0).click()
    unmixed.reads_lines("Spectra", 3)
    assert list(unmixed.lines("Spectra"))[0] == "rutile"
    unmixed.slide("Components k", -1)
    unmixed.reads(re.compile("k = 3.*settled"))
    assert "rutile" in unmixed.lines("Spectra")
    unmixed.press("Run on the full data")
    unmixed.reads(re.compile("Kept run-\\d+-nmf-3"))
    unmixed.page.wait_for_timeout(1000)
    drawn = np.array(unmixed.lines("Spectra")["rutile"][1])
    unmixed.panel("Export")
    table = unmixed.download("Spectra (csv)", tmp_path / "spectra.csv").read_text().splitlines()
    column = np.loadtxt(table[1:], delimiter=",")[:, table[0].split(",").index("rutile")]
    assert em.spectral_angle(drawn[None], column[None])[0] < 1e-3
