"""From a file to a script, in a real browser, as somebody does who opens the workbench for the first time."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
from desk import Desk

import endmember as em

SPECTRUM, MAP = "Energy loss", "x (nm)"


def angle(a, b):
    order = em.match_components(a, b)
    return np.max(em.spectral_angle(a[order], b))


def look(desk, phantom):
    """Move the region, then the energy window: spectrum and map are those of the data."""
    desk.panel("Data")
    drags = (
        ((4.0, 6.0), (12.0, 19.0), "columns 4 to 12, rows 6 to 19", slice(4, 13)),  # drawn
        ((8.0, 12.0), (18.0, 12.0), "columns 14 to 22, rows 6 to 19", slice(14, 23)),  # moved
    )
    for corner, end, title, columns in drags:
        desk.drag(MAP, corner, end)
        _, shown = desk.lines(title)["region"]
        expected = phantom.data[6:20, columns].mean(axis=(0, 1))
        np.testing.assert_allclose(shown, expected, rtol=1e-6, atol=1e-9)
    desk.drag(SPECTRUM, (455.5, 20.0), (470.5, 20.0))
    desk.drawing("Sum over 45")
    energy = np.array(desk.lines(SPECTRUM)["all pixels"][0])
    inside = (energy >= 455.5) & (energy <= 470.5)
    shape, values = desk.image("Sum over 45")
    assert shape == list(phantom.data.shape[:2])
    expected = phantom.data[..., inside].sum(-1).ravel()
    assert np.corrcoef(values, expected)[0, 1] > 0.999


def count(desk):
    """Ask how many components there are, and take the advice."""
    desk.panel("Number")
    desk.press("How many components?")
    desk.reads(re.compile(r"4 components.*can be defended"))
    desk.reads("parallel analysis")
    desk.press("Use the suggestion")


def unmix(desk):
    """Change k and a weight, watch the live answers, and run NMF and NMF-SO."""
    desk.panel("Unmix")
    desk.drawing("Component 4")
    desk.slide("Components k", -1)
    desk.reads_lines(SPECTRUM, 3)
    desk.slide("Components k", 1)
    desk.reads_lines(SPECTRUM, 4)
    desk.reads(re.compile("Live, from a sketch .all pixels"))
    desk.press("Run on the full data")
    desk.reads("run-1-nmf-4: NMF k = 4")
    desk.drawing("Residual")
    desk.drawing("Convergence")
    desk.choose("Method", re.compile("^NMF-SO$"))
    desk.reads(re.compile(r"soft orthogonality\):?\s*0\.01"))
    desk.slide("Little overlap (soft orthogonality)", 1)
    desk.reads(re.compile("Live, from a sketch .all pixels"))
    desk.press("Run on the full data")
    desk.reads(re.compile(r"run-2-nmf-4: NMF-SO k = 4.* orthogonal 0\.02"))


def compare(desk):
    """Look at both runs side by side, with ambiguity bands and with standard errors."""
    desk.panel("Runs")
    desk.reads("Mean angle between paired spectra")
    assert sorted(name[:5] for name in desk.lines("Pair 4 and")) == ["run-1", "run-2"]
    desk.bands("Pair 4 and", 0)
    desk.press("ambiguity bands")
    desk.reads("Drawn with ambiguity bands.")
    desk.bands("Pair 4 and", 2)
    desk.press("standard errors")
    desk.reads("Drawn with standard errors.")
    desk.press("nothing")
    desk.bands("Pair 4 and", 0)


def take_home(desk, tmp_path):
    """Keep the folder of a run and download the script and the report."""
    desk.panel("Export")
    desk.choose("Run", "run-2-nmf-4")
    desk.type("Folder, in the one that the workbench was started in", "kept")
    desk.press("Save the result folder")
    desk.reads("Saved in")
    report = desk.download("Report", tmp_path / "report.html")
    assert "<html" in report.read_text()
    return desk.download("Script", tmp_path / "script.py")


def test_from_a_file_to_a_script_that_gives_the_same_spectra(desk, folder, phantom, tmp_path):
    desk.reads("Open a file to begin.")
    desk.open("oxides.hspy")
    desk.reads("Mixed oxides: 32 x 40 pixels, 128 channels.")
    look(desk, phantom)
    count(desk)
    unmix(desk)
    compare(desk)
    script = take_home(desk, tmp_path)
    kept = em.open(folder / "kept").spectra.data
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True)
    again = em.open(tmp_path / "run-2-nmf-4").spectra.data
    assert angle(again, kept) < 0.01
    assert angle(kept, phantom.spectra) < 5


def test_a_step_is_tried_kept_and_taken_back(desk):
    desk.open("oxides.hspy")
    desk.reads("Mixed oxides")
    desk.panel("Prepare")
    desk.choose("Step", "Bin")
    desk.press("Try")
    desk.reads("Tried rebin(signal, pixels=2, channels=1)")
    desk.drawing("After: 16 x 20 pixels")
    desk.press("Keep")
    desk.reads("Mixed oxides: 16 x 20 pixels")
    desk.press("Undo the last")
    desk.reads("Mixed oxides: 32 x 40 pixels")
    desk.press("Redo")
    desk.reads("Mixed oxides: 16 x 20 pixels")


def test_a_dropped_file_is_opened_and_the_other_user_keeps_their_own(desk, browser, server, folder):
    other = Desk(browser.new_context(), server.url)
    other.drop(folder / "oxides.hspy")
    other.reads("Mixed oxides: 32 x 40 pixels")
    assert desk.page.get_by_text("Open a file to begin.").is_visible()


def test_a_long_run_can_be_cancelled(desk, server):
    desk.open("oxides.hspy")
    desk.reads("Mixed oxides")
    desk.panel("Unmix")
    desk.choose("Noise", "counts, exact")
    desk.type("Starts of a run", "100")
    workers = server.children
    for process in workers:  # a run that takes as long as it takes to cancel it
        os.kill(process, signal.SIGSTOP)
    desk.press("Run on the full data")
    desk.press("Cancel")
    desk.reads("Cancelled; nothing was changed.")
    for process in {*workers} & {*server.children}:
        os.kill(process, signal.SIGCONT)
    desk.panel("Runs")
    desk.reads("No runs yet")
