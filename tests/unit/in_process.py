"""Training jobs that tests run in their own process, where a job has one to itself."""

from __future__ import annotations

import pytest

from credit.provenance.snapshot import Snapshot
from credit.training.loop import Training


def allow_any_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have imported theirs."""
    monkeypatch.setattr(Snapshot, "_undeclared", lambda self: [])


def counted_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Epochs that are trained from now on, one entry each."""
    seen: list[int] = []
    original = Training._epoch

    def counted(self, phase, index):
        seen.append(index)
        original(self, phase, index)

    monkeypatch.setattr(Training, "_epoch", counted)
    return seen
