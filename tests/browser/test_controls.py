"""Every control has a name for whoever cannot see the page, and a key for whoever has no mouse."""

import re

import pytest

CONTROL = re.compile(
    r"- (button|checkbox|combobox|figure|slider|tab|textbox)\b(?! \"| ')", re.MULTILINE
)
STEPS = ("Crop energies", "Crop pixels", "Bin", "Align energies")


def unnamed(desk):
    """Return the lines of the accessibility tree with a control that has no name."""
    desk.page.wait_for_timeout(700)
    tree = desk.page.locator("body").aria_snapshot()
    return [line for line in tree.splitlines() if CONTROL.search(line.replace("- '", "- "))]


def test_every_control_of_every_panel_has_a_name(desk):
    assert not unnamed(desk)
    desk.open("oxides.hspy")
    desk.drawing("Mean spectrum")
    assert not unnamed(desk)
    desk.panel("Prepare")
    for step in STEPS:
        desk.choose("Step", step)
        assert not unnamed(desk)
    desk.panel("Number")
    assert not unnamed(desk)
    desk.panel("Unmix")
    desk.press("Run on the full data")
    desk.reads("Kept run-1-nmf-3")
    desk.drawing("Convergence")
    assert not unnamed(desk)
    for panel in ("Runs", "Export"):
        desk.panel(panel)
        assert not unnamed(desk)


@pytest.mark.parametrize("label", ["Components k", "Sparse maps"])
def test_a_slider_is_moved_by_keys_and_says_what_it_stands_at(desk, label):
    desk.open("oxides.hspy")
    desk.reads("Mixed oxides")
    desk.panel("Unmix")
    handle = desk.page.get_by_role("slider", name=label, exact=True)
    desk.slide(label, 2)
    shown = {"Components k": "5", "Sparse maps": "0.003"}[label]
    desk.page.wait_for_timeout(700)
    assert handle.get_attribute("aria-valuetext") == shown


def test_tabs_are_turned_by_keys(desk):
    desk.open("oxides.hspy")
    desk.drawing("Mean spectrum")
    desk.page.get_by_role("tab", name="Data").focus()
    for key, title in (
        ("ArrowRight", "Prepare"),
        ("ArrowRight", "Number"),
        ("ArrowLeft", "Prepare"),
    ):
        desk.page.keyboard.press(key)
        desk.page.get_by_role("tab", name=title, selected=True).wait_for()
    desk.drawing("Before: 32 x 40 pixels")
    desk.page.keyboard.press("ArrowLeft")
    desk.page.keyboard.press("ArrowLeft")
    desk.page.get_by_role("tab", name="Export", selected=True).wait_for()


def test_the_words_beside_a_box_tick_it(desk):
    desk.open("oxides.hspy")
    desk.drawing("Mean spectrum")
    desk.page.get_by_text("logarithmic intensities", exact=True).click()
    assert desk.page.get_by_role("checkbox", name="logarithmic intensities").is_checked()
    desk.panel("Unmix")
    desk.page.get_by_text("Maps sum to one", exact=True).click()
    assert desk.page.get_by_role("checkbox", name="Maps sum to one").is_checked()
