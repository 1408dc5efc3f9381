"""The workflow on a real Slurm controller, which ``tests/slurm/run.sh`` starts: ``make slurm-test``.

Every test works in its own copy of the repository and types what a user types, ``snakemake --profile slurm``, plus
what this controller without accounting needs (``cluster.SITE``).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from cluster import (
    ROOT,
    SITE,
    Checkout,
    cluster_jobs,
    controller_answers,
    finish,
    lose_node,
    requeue,
    set_job,
    wait_for,
)

pytestmark = pytest.mark.skipif(not controller_answers(), reason="no Slurm controller answers: run `make slurm-test`")

QUICK = ("--configfile", "config/quick.yaml")
SLURM = ("--profile", "slurm", *SITE)
LONG_EPOCHS = 1200  # of the quick scale: long enough to be interrupted, short enough to be run twice


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.make(tmp_path / "credit")


def training_outputs(checkout: Checkout, experiment: str) -> list[str]:
    """What the training jobs of one experiment write at quick scale, from a dry run."""
    code, output = checkout.snakemake("all", "--dry-run", "--cores", "1", *QUICK)
    assert code == 0, output
    outputs = sorted(set(re.findall(rf"results/quick/runs/cross/{experiment}/\S+/shard\d+\.jsonl", output)))
    assert len(outputs) >= 2, output
    return outputs


def ended(snakemake: subprocess.Popen[str]) -> bool:
    """Whether ``snakemake`` is no longer there to be waited for."""
    return snakemake.poll() is not None


def records(file: Path) -> list[str]:
    """A run without its first line, which holds time and machine, and the last, whose checksum is of that one too."""
    return file.read_text().splitlines()[1:-1]


def test_the_two_profiles_share_no_key():
    """Where both set a key, ``profiles/default`` would win with its whole section."""
    default, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text()) for name in ("default", "slurm")
    )
    assert not default.keys() & slurm.keys()


def test_a_papers_quick_scale_runs_on_the_cluster_up_to_figures_and_is_then_up_to_date(checkout):
    runs = training_outputs(checkout, "images") + training_outputs(checkout, "student_teacher")

    code, output = checkout.snakemake("cross", *SLURM, *QUICK)

    assert code == 0, output
    trained = cluster_jobs("train", checkout.path)
    assert [job["JobState"] for job in trained] == ["COMPLETED"] * len(runs)
    figures = checkout.path / "results/quick/figures"
    assert all((figures / f"{name}.pdf").stat().st_size > 0 for name in ("fig1", "fig2", "fig3"))

    code, output = checkout.snakemake("cross", "--dry-run", *SLURM, *QUICK)
    assert code == 0, output
    assert "Nothing to be done" in output


def test_a_job_that_asks_for_a_gpu_gets_one_from_the_node(checkout):
    target, *_ = training_outputs(checkout, "student_teacher")

    snakemake = checkout.start(target, *SLURM, *QUICK, "--set-resources", "train:gpu=1")

    def held_devices() -> list[str]:
        return [job["GRES"] for job in cluster_jobs("train", checkout.path) if job.get("GRES")]

    held = wait_for("a training job that holds a GPU", lambda: held_devices() or ended(snakemake))
    code, output = finish(snakemake)

    assert code == 0, output
    assert held == ["gpu:1(IDX:0)"]
    (job,) = cluster_jobs("train", checkout.path)
    assert job["TresPerJob"] == "gres:gpu:1"
    assert job["JobState"] == "COMPLETED"


def lengthen(checkout: Checkout, epochs: int = LONG_EPOCHS) -> None:
    """Let the runs of this copy's image experiment last so many epochs."""
    file = checkout.path / "config/experiments/cross/images.yaml"
    experiment = yaml.safe_load(file.read_text())
    experiment["quick"]["train"]["epochs"] = epochs
    file.write_text(yaml.safe_dump(experiment))


def in_epoch(number: int, log: Path) -> bool:
    """Whether a long training has come so far."""
    return log.exists() and f"epoch {number}/{LONG_EPOCHS}" in log.read_text()


def test_a_job_requeued_in_mid_training_resumes_and_gives_the_same_records(checkout, tmp_path):
    target, *_ = training_outputs(checkout, "images")
    undisturbed = Checkout.make(tmp_path / "undisturbed")
    lengthen(checkout)
    lengthen(undisturbed)
    code, output = undisturbed.snakemake(target, "--cores", "2", *QUICK)
    assert code == 0, output

    snakemake = checkout.start(target, *SLURM, *QUICK)
    log = checkout.path / target.replace("/runs/", "/logs/train/").replace(".jsonl", ".log")

    wait_for("the third epoch", lambda: in_epoch(3, log) or ended(snakemake))
    (job,) = cluster_jobs("train", checkout.path)
    assert job["JobState"] == "RUNNING"
    requeue(job["JobId"])
    code, output = finish(snakemake)

    assert code == 0, output
    (job,) = cluster_jobs("train", checkout.path)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    resumed = re.search(r"resumed at epoch (\d+)", log.read_text())
    assert resumed, log.read_text()
    assert 3 <= int(resumed[1]) < LONG_EPOCHS
    assert records(checkout.path / target) == records(undisturbed.path / target)


def test_few_jobs_in_the_queue_and_large_shards_take_the_place_of_job_arrays(checkout):
    file = checkout.path / "config/experiments/cross/student_teacher.yaml"
    experiment = yaml.safe_load(file.read_text())
    experiment["methods"]["bp"] = {"search": None, "train": {"optimizer": {"lr": 0.03}}}
    file.write_text(yaml.safe_dump(experiment))
    folder = "results/quick/runs/cross/student_teacher/teacher/bp"

    shards = [f"{folder}/shard{i}.jsonl" for i in range(2)]
    code, output = checkout.snakemake(*shards, *SLURM, *QUICK, "--jobs", "1", "--config", "seeds=2", "seeds_per_job=1")
    assert code == 0, output
    first, second = cluster_jobs("train", checkout.path)
    assert first["EndTime"] <= second["SubmitTime"]
    apart = [line for shard in shards for line in records(checkout.path / shard)]

    code, output = checkout.snakemake(shards[0], *SLURM, *QUICK, "--config", "seeds=2", "seeds_per_job=all")
    assert code == 0, output
    assert len(cluster_jobs("train", checkout.path)) == 3
    assert len(records(checkout.path / shards[0])) == len(apart)


def let_the_first_linger(checkout: Checkout) -> Path:
    """Let the first training job wait for ever when its result is written; returns the mark that it is there."""
    script = checkout.path / "workflow/scripts/train.py"
    text = script.read_text()
    end = "sys.argv[0], keep, args.store\n        )\n"
    assert text.count(end) == 1
    wait = """
        import time

        if not Path("lingers").exists():
            Path("lingers").touch()
            time.sleep(600)
"""
    script.write_text(text.replace(end, end + wait))
    return checkout.path / "lingers"


@pytest.mark.parametrize("end", ["time limit", "lost node"])
def test_a_training_that_had_finished_is_not_trained_again(checkout, end):
    """For Slurm it has failed; Snakemake deletes its result, and the retry writes it again, byte for byte."""
    target, *_ = training_outputs(checkout, "student_teacher")
    lingers = let_the_first_linger(checkout)
    log = checkout.path / target.replace("/runs/", "/logs/train/").replace(".jsonl", ".log")

    snakemake = checkout.start(target, *SLURM, *QUICK)
    wait_for("the first copy to have its result", lambda: lingers.exists() or ended(snakemake))
    (first,) = cluster_jobs("train", checkout.path)
    whole = (checkout.path / target).read_bytes()
    if end == "time limit":
        set_job(first["JobId"], EndTime="now+1")
    else:
        lose_node(first["JobId"])
    code, output = finish(snakemake)

    assert code == 0, output
    jobs = cluster_jobs("train", checkout.path)
    if end == "time limit":  # retries: 1, with twice the memory and time
        assert [job["JobState"] for job in jobs] == ["TIMEOUT", "COMPLETED"]
        assert [job["MinMemoryNode"] for job in jobs] == ["1000M", "2000M"]
        assert [job["TimeLimit"] for job in jobs][1] == "00:20:00"
    else:
        assert [(job["JobState"], job["Restarts"]) for job in jobs] == [("COMPLETED", "1")]
    assert re.fullmatch(r"taken from the store \(\S+\); nothing is trained, .*\n", log.read_text()), log.read_text()
    assert (checkout.path / target).read_bytes() == whole


def answer_late(checkout: Checkout) -> None:
    """The first training job is in the queue, but ``sbatch`` has given up and said that it failed."""
    command = checkout.path / "bin/sbatch"
    command.parent.mkdir()
    command.write_text(
        f"""#!/bin/sh
id=$({shutil.which("sbatch")} "$@") || exit
case "$*" in *rule_train*) mkdir "$0.late" 2>/dev/null && {{ echo "Socket timed out" >&2; exit 1; }} ;; esac
echo "$id"
"""
    )
    command.chmod(0o755)


def test_of_two_copies_of_a_job_the_second_to_finish_changes_nothing(checkout):
    target, *_ = training_outputs(checkout, "images")
    lengthen(checkout)
    answer_late(checkout)
    result = checkout.path / target

    snakemake = checkout.start(target, *SLURM, *QUICK)
    wait_for("the first result", lambda: result.exists() or ended(snakemake))
    first = (result.read_bytes(), result.stat().st_ino)
    code, output = finish(snakemake)

    assert code == 0, output
    wait_for(
        "the other copy",
        lambda: [job["JobState"] for job in cluster_jobs("train", checkout.path)] == ["COMPLETED"] * 2,
    )
    assert (result.read_bytes(), result.stat().st_ino) == first
    code, output = checkout.snakemake(target, "--dry-run", *SLURM, *QUICK)
    assert "Nothing to be done" in output


def test_ctrl_c_cancels_the_jobs_which_save_their_checkpoints_and_the_same_command_goes_on(checkout):
    target, *_ = training_outputs(checkout, "images")
    lengthen(checkout)
    log = checkout.path / target.replace("/runs/", "/logs/train/").replace(".jsonl", ".log")

    snakemake = checkout.start(target, *SLURM, *QUICK)
    wait_for("the third epoch", lambda: in_epoch(3, log) or ended(snakemake))
    os.killpg(snakemake.pid, signal.SIGINT)
    code, output = finish(snakemake)

    assert code != 0
    assert f"to go on: snakemake {target} --profile slurm" in output
    assert "Traceback" not in output
    wait_for("the checkpoint", lambda: "stopped on request after epoch" in log.read_text())
    (job,) = cluster_jobs("train", checkout.path)
    assert job["JobState"] in ("CANCELLED", "COMPLETING")

    code, output = checkout.snakemake(target, *SLURM, *QUICK)
    assert code == 0, output
    assert "resumed at epoch" in log.read_text()


def test_a_job_that_ends_while_its_snakemake_is_dead_is_judged_by_what_its_result_says(checkout):
    target, *_ = training_outputs(checkout, "images")
    lengthen(checkout)
    log = checkout.path / target.replace("/runs/", "/logs/train/").replace(".jsonl", ".log")

    snakemake = checkout.start(target, *SLURM, *QUICK)
    wait_for("the third epoch", lambda: in_epoch(3, log) or ended(snakemake))
    os.killpg(snakemake.pid, signal.SIGKILL)
    finish(snakemake)
    wait_for(
        "the job's own end", lambda: [j["JobState"] for j in cluster_jobs("train", checkout.path)] == ["COMPLETED"]
    )
    assert (checkout.path / target).exists()

    lengthen(checkout, LONG_EPOCHS + 1)
    code, output = checkout.snakemake(target, "--dry-run", *SLURM, *QUICK)
    assert code == 0, output
    assert "rule train:" in output


def test_a_job_that_fails_is_reported_with_its_log_while_the_others_finish(checkout):
    broken, sound, *_ = training_outputs(checkout, "student_teacher")
    checkpoint = checkout.path / f"{broken}.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("not a checkpoint")

    code, output = checkout.snakemake(broken, sound, *SLURM, *QUICK, "--retries", "0")

    assert code != 0, output
    assert (checkout.path / sound).exists()
    assert not (checkout.path / broken).exists()
    states = {job["Comment"]: job["JobState"] for job in cluster_jobs("train", checkout.path)}
    assert sorted(states.values()) == ["COMPLETED", "FAILED"]
    assert "Error in rule train" in output
    assert f"{broken}.ckpt: corrupt checkpoint" in output, "the log of the failed job is not shown"
