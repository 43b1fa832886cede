"""Every example runs from beginning to end and is short."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs_and_leaves_a_figure(script):
    left = runpy.run_path(str(script))
    assert left["figure"].axes and any(axes.has_data() for axes in left["figure"].axes)
    assert len(script.read_text().splitlines()) < 90
