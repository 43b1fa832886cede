"""Faults are injected often by ``make test-faults`` and a few times by ``make test``; how each ended is counted."""

import os
from collections import Counter

import pytest

#: How many times as often as in ``make test``: True for all that a test can do.
THOROUGH = os.environ.get("ENDMEMBER_FAULTS") == "all"


@pytest.fixture
def often():
    """Choose how often: ``often(3, 100)`` is 100 in ``make test-faults``, else 3."""
    return lambda few, many: many if THOROUGH else few


@pytest.fixture
def count(record_property):
    """Count how a fault ended: ``count("killed save", "old result")``; the summary shows all counts."""
    return lambda kind, outcome: record_property("fault", (kind, outcome))


def pytest_terminal_summary(terminalreporter):
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])
    ]
    counts = Counter(
        tuple(counted)
        for report in reports
        for name, counted in report.user_properties
        if name == "fault"
    )
    if not counts:
        return
    terminalreporter.section("faults and how they ended")
    width = max(len(kind) for kind, _ in counts)
    for (kind, outcome), times in sorted(counts.items()):
        terminalreporter.write_line(f"{kind:{width}}  {times:6,}  {outcome}")
