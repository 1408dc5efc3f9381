"""One data folder for two checkouts, without Snakemake's records of each other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.checkout import PATIENCE, Checkout, snakemake


@pytest.fixture
def two(pristine: Checkout, tmp_path: Path) -> Iterator[tuple[Checkout, Checkout]]:
    """Two checkouts of the tiny workflow."""
    both = pristine.copy(tmp_path / "one"), pristine.copy(tmp_path / "other")
    yield both
    for checkout in both:
        checkout.stop()


def arguments(shared: Path) -> list[str]:
    """Prepare the digits in a shared folder."""
    return ["--config", f"data={{folder: {shared}}}", "--", f"{shared}/digits.npz"]


def test_two_checkouts_prepare_one_data_set_at_once_and_keep_it_when_a_job_fails(two, tmp_path: Path):
    shared = tmp_path / "shared"
    started: list[subprocess.Popen] = [c.start(*snakemake("--cores", "1", *arguments(shared))) for c in two]
    printed = [process.communicate(timeout=2 * PATIENCE)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(printed)
    before = {p: p.read_bytes() for p in shared.rglob("*") if p.is_file()}
    assert {p.name for p in before} == {"digits.json", "digits.npz"}
    one, _ = two
    one.edit("workflow/scripts/prepare.py", "    args = parser.parse_args()\n", '    raise SystemExit("no luck")\n')
    one.edit("workflow/scripts/fetch.py", "    args = parser.parse_args()\n", '    raise SystemExit("no luck")\n')
    for target in ("digits.npz", "raw/digits.json"):
        command = ["--cores", "1", "--force", *arguments(shared)[:-1], f"{shared}/{target}"]
        done = one.snakemake(*command)
        assert done.status != 0 and "no luck" in done.text, done.text
        assert {p: p.read_bytes() for p in shared.rglob("*") if p.is_file()} == before
