"""Take the pictures of the workbench: ``ENDMEMBER_BROWSER=/usr/bin/chromium python docs/screenshots.py``.

Needs what ``make test-browser`` installs; the picture of the notebook needs JupyterLab besides.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import endmember as em

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from desk import BROWSER_ARGUMENTS, Desk, Lab, Server

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 720}
MARGIN = 12
BOTTOM = """
() => {
  let bottom = 0;
  const walk = node => {
    const box = node.getBoundingClientRect?.();
    const leaf = node.matches?.("canvas, button, input, select, pre, td, .bk-clearfix");
    const seen = leaf && box.height && node.checkVisibility({visibilityProperty: true});
    if (seen) bottom = Math.max(bottom, box.bottom + window.scrollY);
    for (const child of [...(node.shadowRoot?.children ?? []), ...(node.children ?? [])]) walk(child);
  };
  walk(document.body);
  return bottom;
}
"""


def keep(page, name: str) -> None:
    """Keep a picture of a page down to the last thing on it."""
    page.mouse.move(2, 2)
    page.wait_for_timeout(500)
    file = IMAGES / f"workbench_{name}.png"
    page.screenshot(path=file, full_page=True)
    picture = Image.open(file).convert("RGB")
    height = min(picture.height, int(page.evaluate(BOTTOM)) + MARGIN)
    picture.crop((0, 0, picture.width, height)).quantize(256, Image.Quantize.MAXCOVERAGE).save(file)


def look(desk: Desk) -> None:
    """Show Data, Prepare and Number."""
    desk.reads("Mixed oxides: 48 x 64 pixels")
    desk.drag("Energy loss", (526.0, 20.0), (560.0, 20.0))
    desk.drag("x (nm)", (44.0, 3.0), (55.0, 16.0))
    desk.drawing("rows 3 to 16")
    keep(desk.page, "data")
    desk.panel("Prepare")
    desk.choose("Step", "Bin")
    desk.press("Try")
    desk.drawing("After: 24 x 32")
    keep(desk.page, "prepare")
    desk.panel("Number")
    desk.press("How many components?")
    desk.reads("parallel analysis")
    keep(desk.page, "number")
    desk.press("Use the suggestion")


def judge(desk: Desk) -> None:
    """Show Unmix, Runs and Export."""
    desk.panel("Unmix")
    desk.drawing("Component 4")
    desk.reads("Live, from a sketch (all pixels)")
    desk.press("Run on the full data")
    desk.reads("run-1-nmf-4")
    desk.drawing("Convergence")
    keep(desk.page, "unmix")
    desk.choose("Method", re.compile("^NMF-SO$"))
    desk.reads("Live, from a sketch (all pixels)")
    desk.press("Run on the full data")
    desk.reads("run-2-nmf-4")
    desk.panel("Runs")
    desk.press("ambiguity bands")
    desk.reads("Drawn with ambiguity bands.")
    keep(desk.page, "runs")
    desk.panel("Export")
    desk.reads("import endmember as em")
    keep(desk.page, "export")


def point(desk: Desk) -> None:
    """Show Unmix with a region that has become a component."""
    desk.panel("Unmix")
    desk.choose("Method", re.compile("^NMF$"))
    desk.reads(re.compile("NMF k = 4.*settled"))
    for number, name in enumerate(("Mn oxide", "Ti oxide", "Cr oxide")):
        field = desk.page.get_by_label("Name", exact=True).nth(number)
        field.fill(name)
        field.press("Enter")
        desk.drawing(name)
    desk.drag("All maps together", (46.0, 4.0), (54.0, 12.0))
    desk.drawing("Mean of data and model")
    desk.choose("Component", "Cr oxide")
    desk.press("has the mean spectrum of this region")
    desk.reads(re.compile("all pixels.*region 1"))
    desk.press("is alone in this region")
    desk.reads(re.compile("all pixels.*alone"))
    desk.page.wait_for_timeout(9000)  # all starts of a run have had their time
    desk.page.evaluate("scrollTo(0, 0)")
    keep(desk.page, "point")


def notebook(context, folder: Path) -> None:
    """Show the workbench in JupyterLab."""
    lab = Lab(folder, "import endmember as em\n\nem.workbench(em.synthetic.diode().signal)")
    try:
        page, workbench = lab.open(context)
        workbench.get_by_text("Silicon diode").first.wait_for()
        page.keyboard.press("Control+b")  # the list of files away
        if page.get_by_text("official Jupyter news").count():
            page.get_by_role("button", name="No", exact=True).click()
        keep(page, "notebook")
    finally:
        lab.stop()


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory(prefix="sample-") as scratch, sync_playwright() as started:
        folder = Path(scratch) / "data"
        folder.mkdir()
        os.chdir(folder)
        em.synthetic.mixed_phases((48, 64), channels=256, k=4).signal.save(folder / "oxides.hspy")
        program = os.environ.get("ENDMEMBER_BROWSER", "/usr/bin/chromium")
        chromium = started.chromium.launch(executable_path=program, args=BROWSER_ARGUMENTS)
        context = chromium.new_context(viewport=SIZE)
        server = Server(folder, "oxides.hspy")
        try:
            desk = Desk(context, server.url)
            look(desk)
            judge(desk)
            point(desk)
        finally:
            server.stop()
        if importlib.util.find_spec("jupyterlab"):
            notebook(context, folder)
        chromium.close()


if __name__ == "__main__":
    main()
