"""Jobs that are killed: nothing half is left, and the same command goes on where they stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from credit.provenance.records import checkpoint_path
from tests.workflow.checkout import (
    AFTER_IMAGES,
    PATIENCE,
    Checkout,
    checkpoints,
    images,
    snakemake,
    teacher,
    wait_for,
)

TABLE = "results/tables/cross/teacher.csv"
COMMAND = snakemake("--cores", "2", TABLE)


@pytest.fixture
def undisturbed(long: Checkout, tmp_path: Path) -> Iterator[Callable[[], dict[str, bytes]]]:
    """What the same training gives when nobody interrupts it; it runs beside the test."""
    other = long.copy(tmp_path / "undisturbed")
    process = other.start(*COMMAND)

    def wait() -> dict[str, bytes]:
        text = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, text
        return other.results("tables")

    yield wait
    other.stop()


def trainings(process: subprocess.Popen) -> list[psutil.Process]:
    """The training processes among the descendants of a Snakemake that a test started."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            command = child.cmdline()
        except psutil.NoSuchProcess:
            continue
        if any(Path(part).name == "train.py" for part in command[1:4]):  # behind options of Python
            found.append(child)
    return found


def assert_resumed(project: Checkout) -> None:
    logs = [p.read_text(encoding="utf-8") for p in project.path("logs/train/cross/teacher").rglob("*.log")]
    assert any("resumed at epoch" in text for text in logs), logs
    assert checkpoints(project) == []


@pytest.mark.slow
def test_a_training_killed_at_a_random_moment_goes_on_and_gives_the_same_bytes(long: Checkout, undisturbed):
    process = long.start(*COMMAND)
    wait_for(lambda: checkpoints(long), process)
    time.sleep(random.uniform(0, 0.5))
    victims = trainings(process)
    assert victims, "the training was too short to be killed"
    for victim in victims:
        victim.kill()
    text = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode != 0
    assert "Error in rule train" in text
    assert checkpoints(long) != []
    assert "tables/cross/teacher.csv" in long.planned(TABLE), "the table of an earlier run passes as the present one"
    long.make(TABLE)
    assert_resumed(long)
    assert long.results("tables") == undisturbed()
    assert long.planned(TABLE) == set()


@pytest.mark.slow
def test_a_whole_workflow_killed_at_a_random_moment_goes_on_and_gives_the_same_bytes(long: Checkout, undisturbed):
    """Snakemake cannot take its lock away when it is killed itself; the next run says so and names the way out."""
    process = long.start(*COMMAND)
    wait_for(lambda: checkpoints(long), process)
    time.sleep(random.uniform(0, 0.5))
    assert trainings(process), "the training was too short to be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert checkpoints(long) != []
    done = long.snakemake("--cores", "2", TABLE)
    assert done.status != 0
    assert "It can be removed with the --unlock argument" in done.text
    long.make("--unlock")
    long.make(TABLE)
    assert_resumed(long)
    assert long.results("tables") == undisturbed()


def test_a_training_asked_to_stop_saves_a_checkpoint_and_goes_on_from_there(long: Checkout, tmp_path: Path):
    """SIGTERM is what a cluster sends before it takes a job away. No checkpoint was due yet, at 60 s."""
    long.make("--config", "methods=bp", "--", TABLE, cores=1)
    result = long.path(min(teacher("bp")))
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "workflow/scripts/train.py", result, out, "--checkpoint-every", "60"]
    process = long.start(*command)
    lines = [process.stdout.readline() for _ in range(20)]  # it is in the midst of training
    assert "epoch" in lines[-1], lines
    process.terminate()
    text = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode not in (0, -signal.SIGTERM)
    assert "stopped on request after epoch" in text
    assert "Traceback" not in text
    assert not out.exists()
    assert checkpoint_path(out).exists()
    done = long.call(*command)
    assert done.status == 0, done.text
    assert "resumed at epoch" in done.text
    assert out.read_bytes().splitlines()[1:-1] == result.read_bytes().splitlines()[1:-1]
    assert sorted(tmp_path.glob("out*")) == [out, checkpoint_path(out)]  # it stays until the run is collected


@pytest.mark.slow
def test_ctrl_c_saves_checkpoints_and_says_in_one_line_how_to_go_on(long: Checkout, undisturbed):
    """The terminal sends SIGINT to Snakemake and to all of its jobs. No checkpoint was due yet, at 60 s."""
    long.edit("workflow/scripts/train.py", "default=0.1", "default=60.0")
    process = long.start(*COMMAND)
    logs = [long.path(f"logs/train/cross/teacher/teacher/{method}/shard0.log") for method in ("bp", "fa")]
    wait_for(lambda: all(log.exists() and "epoch 5/" in log.read_text() for log in logs), process)
    os.killpg(process.pid, signal.SIGINT)
    text = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode != 0
    after = text[text.index("Terminating processes") :].splitlines()
    assert len([line for line in after if line.endswith(f"to go on: snakemake --cores 2 {TABLE}")]) == 1
    assert len(after) < 10, text
    assert "Traceback" not in text and "failed" not in text
    assert all(log.read_text().splitlines()[-1].startswith("stopped on request after epoch") for log in logs)
    assert len(checkpoints(long)) == 2
    long.make(TABLE)
    assert_resumed(long)
    assert long.results("tables") == undisturbed()


def test_ctrl_c_while_a_script_still_imports_ends_it_in_a_line(project: Checkout):
    project.edit(
        "workflow/scripts/collect.py",
        "import argparse\n\nimport _src",
        "import argparse\n\nimport _src, os; os.kill(os.getpid(), 2)",
    )
    done = project.script("collect", "{}", "out.csv", "in.jsonl")
    assert done.status != 0
    assert done.text == "stopped on request; nothing was lost, the same command goes on\n"


@pytest.mark.slow
def test_a_result_lost_before_it_is_collected_is_made_again_without_training(long: Checkout, undisturbed):
    """As when a job ends at its time limit: Snakemake takes it for failed, deletes the result and tries again."""
    run = long.path(min(teacher("bp")))
    long.make(f"results/{min(teacher('bp'))}")
    whole = run.read_bytes()
    part = run.with_name(f".{run.name}.ckpt.killed.part")
    part.write_bytes(b"half")
    run.unlink()
    long.forget_blocks()
    text = long.make(f"results/{min(teacher('bp'))}")
    log = long.path("logs/train/cross/teacher/teacher/bp/shard0.log").read_text()
    assert log == f"resumed at epoch 600 from results/{min(teacher('bp'))}.ckpt, which has finished\n", text
    assert run.read_bytes() == whole
    assert not part.exists()
    assert checkpoints(long) == [checkpoint_path(run)]
    long.make(TABLE)
    assert checkpoints(long) == []
    assert long.results("tables") == undisturbed()
    assert long.planned(TABLE) == set()


def test_a_checkpoint_of_another_run_is_left_alone_and_training_starts_from_the_beginning(
    long: Checkout, tmp_path: Path
):
    def run(method: str) -> Path:
        return long.path(min(teacher(method)).replace("shard0", "shard0.short"))  # beside one with more seeds

    def start_and_stop(method: str, checkpoint: Path) -> None:
        process = long.start(
            sys.executable, "workflow/scripts/train.py", run(method), tmp_path / "other.jsonl",
            "--checkpoint", checkpoint,
        )  # fmt: skip
        process.stdout.readline()
        process.terminate()
        process.communicate(timeout=PATIENCE)

    text = long.make("--config", "seeds=1", "--", TABLE)
    assert "resumed" not in text
    out = tmp_path / "out.jsonl"
    checkpoint = tmp_path / "out.jsonl.ckpt"
    start_and_stop("fa", checkpoint)
    assert checkpoint.exists()
    done = long.script("train", run("bp"), out)
    assert done.status == 0, done.text
    assert "resumed" not in done.text
    assert out.read_bytes().splitlines()[1:-1] == run("bp").read_bytes().splitlines()[1:-1]


def test_a_search_that_fails_is_not_forgotten_because_older_results_exist(project: Checkout):
    def explode(content: dict) -> None:
        rates = {"vary": {"train.optimizer.lr": [1.0e30, 1.0e35]}}
        content["methods"]["fa"] = {"train": {"optimizer": {"name": "sgd"}}, "search": rates}

    project.configure("images", explode)
    for _ in range(2):
        assert project.planned() == images("fa") | AFTER_IMAGES
        done = project.snakemake("--cores", "1", "all")
        assert done.status != 0
        assert "error: search: every point of " in done.text
        assert "diverged; give smaller values" in done.text
