"""The workbench inside JupyterLab, beside a kernel that is at work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CELLS = [
    "import endmember as em\nem.workbench(em.synthetic.diode().signal)",
    "import time\nfor step in range(30):\n    time.sleep(1)\nprint('the cell is', 'done')",
]

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def lab(tmp_path):
    """JupyterLab with a notebook of two cells; returns the address of the notebook."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab: python -m pip install jupyterlab")
    cells = [
        {"cell_type": "code", "id": str(n), "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for n, text in enumerate(CELLS)
    ]  # fmt: skip
    (tmp_path / "look.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5})
    )
    log = (tmp_path / "lab.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
         "--IdentityProvider.token=known", "--LabApp.news_url=None"],
        cwd=tmp_path, stdout=log, stderr=log,
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_DATA_DIR": str(tmp_path / "share")},
    )  # fmt: skip
    address = None
    while address is None and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/", Path(log.name).read_text())
        address = found and found.group(0)
    yield f"{address}lab/tree/look.ipynb?token=known"
    process.terminate()
    process.wait(30)


def test_the_page_lives_in_a_notebook_and_does_not_wait_for_its_cells(context, lab):
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(lab)
    page.locator(".jp-CodeCell").nth(1).wait_for()
    page.get_by_text(re.compile("Python 3.* [|] Idle")).first.wait_for()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    workbench = page.frame_locator(".jp-OutputArea iframe")
    workbench.get_by_text(re.compile("Silicon diode: .* pixels")).first.wait_for()
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    page.get_by_text("[*]:").first.wait_for()
    workbench.locator(".bk-tab", has_text=re.compile("^Unmix$")).click()
    workbench.get_by_text("Live, from a sketch (all pixels)").wait_for()
    workbench.get_by_role("button", name="Run on the full data").click()
    workbench.get_by_text("run-1-nmf-3: NMF k = 3").first.wait_for()
    assert page.get_by_text("the cell is done").count() == 0
    if picture := os.environ.get("ENDMEMBER_SCREENSHOTS"):
        page.screenshot(path=Path(picture) / "workbench_notebook.png")
