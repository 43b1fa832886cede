"""Every example runs from beginning to end and leaves a figure; those with real data where these are."""

import os
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.filterwarnings(
    "ignore:the sweeps stand still:sklearn.exceptions.ConvergenceWarning"
)  # real data
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs_and_leaves_a_figure(script):
    if script.name.startswith("real_") and not os.environ.get("ENDMEMBER_DATA"):
        pytest.skip("needs real data: set ENDMEMBER_DATA to the folder that holds them")
    left = runpy.run_path(str(script))
    assert left["figure"].axes and any(axes.has_data() for axes in left["figure"].axes)
