"""The GPU of these tests, and the table that they print at the end."""

from __future__ import annotations

import pytest
import torch

from credit.numerics.devices import full_precision
from tests.gpu.places import Place

ROWS = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def place() -> Place:
    """The GPU; without one, tests are skipped with the reason."""
    if not torch.cuda.is_available():
        pytest.skip(f"no GPU: torch {torch.__version__} finds no CUDA device here")
    full_precision()
    return Place("cuda")


@pytest.fixture
def note(request):
    """Adds a row to the table: what was measured, its value, the limit, and where it was measured."""
    rows = request.config.stash.setdefault(ROWS, [])
    return lambda what, value, limit="": rows.append((what, value, limit))


def pytest_terminal_summary(terminalreporter, config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section("what was measured")
    if torch.cuda.is_available():
        terminalreporter.write_line(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    widths = [max(len(str(row[k])) for row in rows) for k in range(3)]
    for row in rows:
        terminalreporter.write_line("  ".join(str(cell).ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
