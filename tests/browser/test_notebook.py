"""The workbench inside JupyterLab, beside a kernel that is at work."""

import re

import pytest
from desk import Lab

SHOW = "import endmember as em\nem.workbench(em.synthetic.diode().signal)"
WORK = "import time\nfor step in range(300):\n    time.sleep(0.1)\nprint('the cell is', 'done')"


@pytest.fixture
def lab(browser, tmp_path):
    """A notebook that shows the workbench and then works for half a minute."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab: python -m pip install jupyterlab")
    lab = Lab(tmp_path, SHOW, WORK)
    yield lab
    lab.stop()


def test_the_page_lives_in_a_notebook_and_does_not_wait_for_its_cells(context, lab):
    page, workbench = lab.open(context)
    workbench.get_by_text(re.compile("Silicon diode: .* pixels")).first.wait_for()
    lab.run(page, 1)
    page.get_by_text("[*]:").first.wait_for()
    workbench.locator(".bk-tab", has_text=re.compile("^Unmix$")).click()
    workbench.get_by_text("Live, from a sketch (all pixels)").wait_for()
    workbench.get_by_role("button", name="Run on the full data").click()
    workbench.get_by_text("run-1-nmf-3: NMF k = 3").first.wait_for()
    assert page.get_by_text("the cell is done").count() == 0
