"""What tests of several files share."""

import pytest


@pytest.fixture
def without_report(monkeypatch):
    """Results are kept without their report, which takes longer to draw than all else; other tests read that."""
    from endmember.signals.result import storage

    monkeypatch.setattr(storage, "add_report", lambda result, file: None)
