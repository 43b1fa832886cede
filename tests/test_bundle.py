"""What a folder for people without Python begins with."""

import subprocess
import sys
from pathlib import Path

import endmember as em

ENTRY = Path(__file__).parents[1] / "tools" / "bundle_entry.py"


def said(*words):
    done = subprocess.run(
        [sys.executable, ENTRY, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_words_go_to_the_command_line():
    assert said("--version") == f"endmember {em.__version__}"


def test_processes_of_the_workbench_are_started_by_the_program_itself():
    """They are started as a Python is asked to run a module, and that is the bundle."""
    plain = subprocess.check_output([sys.executable, "-m", "platform"], text=True)
    assert said("-P", "-m", "platform") == plain.strip()
