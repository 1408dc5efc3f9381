"""Damaged, unwritable or lacking storage: one message, an exit code that says so, and nothing else is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workflow.checkout import AFTER_TEACHER, ALL_TEACHER, Checkout, Done, images, teacher

IMAGES = "results/tables/cross/images.csv"
SHARD = "runs/cross/images/digits/bp/shard0.jsonl"
CHOICE = SHARD.rpartition("/")[0] + "/choice.json"


def failed(done: Done, *wanted: str) -> None:
    """A failure that says each of `wanted`, without a traceback."""
    assert done.status not in (0, None), done.text
    assert [part for part in wanted if part not in done.text] == [], done.text
    assert "Traceback" not in done.text


def lost(before: dict[str, bytes], project: Checkout, *kinds: str) -> set[str]:
    """Results that are gone or changed."""
    after = project.results(*kinds)
    return {name for name in before if name.partition("/")[0] in kinds and after.get(name) != before[name]}


def test_a_corrupt_checkpoint_is_named_and_others_go_on(project: Checkout):
    """It is not thrown away unasked: it may be weeks of work on a broken disk."""
    first, second = sorted(ALL_TEACHER)
    before = project.results("runs")
    for name in (first, second):
        project.path(name).unlink()
    project.forget_blocks()
    checkpoint = project.path(f"{first}.ckpt")
    checkpoint.write_bytes(b"PK\x03\x04 no checkpoint")
    done = project.snakemake("--cores", "2", f"results/{first}", f"results/{second}")
    failed(done, f"error: results/{first}.ckpt: corrupt checkpoint", "delete it to start this job from the beginning")
    assert lost(before, project, "runs") == {first, second}  # the second was made again, with another wall time
    assert project.path(second).exists()
    checkpoint.unlink()
    project.make(f"results/{first}", cores=1)
    assert project.path(first).read_bytes().splitlines()[1:-1] == before[first].splitlines()[1:-1]


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_corrupt_data_set_is_named_with_the_way_out(project: Checkout, damage: str):
    data = project.path("data/digits.npz")
    whole = data.read_bytes()
    before = project.results("runs", "tables", "figures")
    project.path(SHARD).unlink()
    data.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else whole[:5000] + b"x" * 50 + whole[5050:])
    done = project.snakemake("--cores", "1", f"results/{SHARD}")
    failed(done, "error: results/data/digits.npz: damaged", "snakemake --cores 1 --force results/data/digits.npz")
    # The damaged file is newer, so the search is run first; its old output stays when it fails.
    assert lost(before, project, "runs", "tables", "figures") == {SHARD}
    project.make("--force", "results/data/digits.npz", cores=1)
    assert data.read_bytes() == whole
    project.make(f"results/{SHARD}", cores=1)
    assert project.path(SHARD).read_bytes().splitlines()[1:-1] == before[SHARD].splitlines()[1:-1]
    assert project.path(CHOICE).read_bytes() == before[CHOICE]


def test_a_truncated_result_is_named_with_the_way_out(project: Checkout):
    result = project.path(SHARD)
    lines = result.read_bytes().splitlines(keepends=True)
    before = project.results("runs", "tables")
    result.write_bytes(b"".join(lines[:-3]))
    done = project.snakemake("--cores", "1", IMAGES)
    failed(
        done, f"error: results/{SHARD}: cut off after {len(lines) - 3} lines; delete it and run the same command again"
    )
    assert lost(before, project, "runs") == {SHARD}
    result.unlink()
    project.make(IMAGES, cores=1)
    assert lost(before, project, "tables") == set()


def test_a_search_result_that_is_none_is_named(project: Checkout):
    choice = project.path("runs/cross/images/digits/bp/choice.json")
    choice.write_text("{}\n", encoding="utf-8")
    done = project.snakemake("--cores", "1", f"results/{SHARD}")
    failed(done, "error: results/runs/cross/images/digits/bp/choice.json: not the choice of a search", "delete it")


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """`mount ARGUMENTS`, undone after the test, which is skipped where mounting is not allowed."""
    mounted: list[str] = []

    def mount(*arguments: str | Path) -> None:
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root can mount a small or a read-only disk")
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no mounting here: {done.stderr.strip()}")
        if "remount,ro,bind" not in arguments:
            mounted.append(str(arguments[-1]))

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty folder that a test may mount something on."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def retrain(project: Checkout, out: Path) -> Done:
    """Train a finished run once more by hand, with another place for its result."""
    return project.script("train", project.path(min(ALL_TEACHER)), out)


def test_a_result_that_cannot_be_written_is_named(project: Checkout, disk: Path, mount):
    (disk / "file").write_text("in the way\n", encoding="utf-8")
    failed(
        retrain(project, disk / "file" / "out.jsonl"), f"error: {disk}/file", "nothing was lost, mend it and run again"
    )
    mount("--bind", disk, disk)
    mount("-o", "remount,ro,bind", disk)
    failed(retrain(project, disk / "out.jsonl"), f"error: {disk}/", "Read-only file system; nothing was lost, mend it")


def test_a_full_disk_is_named_and_no_half_result_is_left(project: Checkout, disk: Path, mount):
    mount("-t", "tmpfs", "-o", "size=4k", "tmpfs", disk)
    failed(retrain(project, disk / "out.jsonl"), "error: ", "No space left on device; nothing was lost, mend it")
    assert list(disk.iterdir()) == []


def test_read_only_results_are_named_before_any_job(project: Checkout, mount):
    before, folder = project.results(), project.path("runs/cross/teacher")
    project.configure("teacher", lambda content: content["train"].update(epochs=3))
    mount("--bind", folder, folder)
    mount("-o", "remount,ro,bind", folder)
    done = project.snakemake("--cores", "2", "all")
    failed(done, "Write-protected output files for rule train", "results/runs/cross/teacher/teacher/")
    assert project.results() == before


def test_a_full_disk_fails_the_jobs_that_write_there_and_no_others(project: Checkout, mount):
    before = project.results("runs", "tables", "figures")
    project.configure("teacher", lambda content: content["train"].update(epochs=3))
    project.configure("images", lambda content: content["train"].update(epochs=2))
    mount("-t", "tmpfs", "-o", "size=4k", "tmpfs", project.path("runs/cross/teacher"))
    done = project.snakemake("--cores", "2", "--config", "methods=bp", "--", "all")
    failed(done, "No space left on device; nothing was lost, mend it and run again")
    assert lost(before, project, "runs") == images("bp", search=False) | ALL_TEACHER  # those lie below the full disk
    assert project.planned("--config", "methods=bp", "--", "all") >= teacher("bp") | AFTER_TEACHER
