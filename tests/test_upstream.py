"""HyperSpy's own tests of its decompositions, with em.NMF as the algorithm "NMF"."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(
    not importlib.util.find_spec("hyperspy.tests"), reason="this HyperSpy came without its tests"
)
def test_hyperspy_takes_it_for_its_own(tmp_path):
    call = "-q -p in_place_of_nmf -p no:cacheprovider -W ignore --pyargs hyperspy.tests.learn -k"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *call.split(), "NMF and not ORNMF"], cwd=tmp_path, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
