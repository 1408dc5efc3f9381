"""A training that dies right after it has saved a checkpoint, and what it records when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from credit.training.loop import Training


def records_after(stops: tuple[int, ...], run: Callable[[Path], Any], folder: Path, monkeypatch) -> list[Any]:
    """What `run` (of a checkpoint) gives, killed after so many saves and then run again, for each of the numbers."""
    original, found = Training._save, []
    for stop_after in stops:
        count = 0

        def save_then_die(self, target, stop_after=stop_after):
            nonlocal count
            original(self, target)
            count += 1
            if count == stop_after:
                raise KeyboardInterrupt

        checkpoint = folder / f"{stop_after}.ckpt"
        monkeypatch.setattr(Training, "_save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint)
        monkeypatch.setattr(Training, "_save", original)
        found.append(run(checkpoint))
    return found
