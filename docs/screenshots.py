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

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import endmember as em

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from desk import BROWSER_ARGUMENTS, Desk, Lab, Server

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 720}
MARGIN = 12
REGION = (46.0, 5.0), (53.0, 12.0)  # where the oxide of chromium is alone: (x, y) of two corners
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
    desk.drag("Energy loss", (573.0, 20.0), (588.0, 20.0))
    desk.drag("x (nm)", *REGION)
    desk.drawing("columns 46 to 53, rows 5 to 12")
    desk.page.get_by_label("Name of the region").fill("chromium")
    desk.press("Keep the region")
    desk.page.get_by_role("checkbox", name="chromium").wait_for()
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


def brightest(desk: Desk) -> int:
    """Return the number of the component that is brightest in the region, counted from 1."""
    (x0, y0), (x1, y1) = REGION
    inside = []
    for n in range(1, 5):
        shape, values = desk.image(f"Component {n}")
        amounts = np.reshape(values, shape)
        inside.append(amounts[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1].mean())
    return 1 + int(np.argmax(inside))


def point(desk: Desk) -> None:
    """Show Unmix with a region that has become a component, and components with names and colours."""
    desk.panel("Unmix")
    desk.drawing("Component 4")
    desk.reads("Live, from a sketch (all pixels)")
    n = brightest(desk)
    desk.choose("Component", f"Component {n}")
    desk.choose("Region", "chromium")
    desk.press("has the mean spectrum of this region")
    desk.page.get_by_role("checkbox", name=f"component {n} is chromium").wait_for()
    desk.press("is alone in this region")
    desk.reads(re.compile(f"all pixels.*chromium holds component {n} alone"))
    name = desk.page.get_by_label("Name", exact=True).nth(n - 1)
    name.fill("chromium oxide")
    name.press("Enter")
    desk.page.get_by_label("Colour", exact=True).nth(n - 1).fill("#7b3fa0")
    desk.drawing("chromium oxide")
    keep(desk.page, "point")


def judge(desk: Desk) -> None:
    """Show a run, two runs side by side, and Export."""
    desk.press("Run on the full data")
    desk.reads("Kept run-1-nmf-4")
    desk.drawing("Convergence")
    keep(desk.page, "unmix")
    for known in desk.page.get_by_role(
        "checkbox", name=re.compile("chromium (holds|is)|is chromium")
    ).all():
        known.click()
    desk.reads("Live, from a sketch (all pixels)")
    desk.press("Run on the full data")
    desk.reads("Kept run-2-nmf-4")
    desk.panel("Runs")
    desk.press("ambiguity bands")
    desk.reads("Drawn with ambiguity bands.")
    keep(desk.page, "runs")
    desk.panel("Export")
    desk.reads("import endmember as em")
    keep(desk.page, "export")


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
            point(desk)
            judge(desk)
        finally:
            server.stop()
        if importlib.util.find_spec("jupyterlab"):
            notebook(context, folder)
        chromium.close()


if __name__ == "__main__":
    main()
