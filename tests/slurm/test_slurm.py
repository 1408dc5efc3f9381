"""The workflow on a real Slurm controller, which ``tests/slurm/run.sh`` starts: ``make slurm-test``.

Every test works in its own copy of the repository and types what a user types, ``snakemake --profile slurm``, plus
what this controller without accounting needs (``cluster.SITE``).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from cluster import ROOT, SITE, Checkout, cluster_jobs, controller_answers, finish, requeue, wait_for

pytestmark = pytest.mark.skipif(not controller_answers(), reason="no Slurm controller answers: run `make slurm-test`")

QUICK = ("--configfile", "config/quick.yaml")
SLURM = ("--profile", "slurm", *SITE)
LONG_EPOCHS = 300  # of the quick scale: long enough to be interrupted, short enough to be run twice


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
    """The lines of a run after its first, which holds the provenance (time, machine) and so differs between runs."""
    return file.read_text().splitlines()[1:]


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


def lengthen(checkout: Checkout) -> None:
    """Let the runs of this copy's image experiment last ``LONG_EPOCHS`` epochs."""
    file = checkout.path / "config/experiments/cross/images.yaml"
    experiment = yaml.safe_load(file.read_text())
    experiment["quick"]["train"]["epochs"] = LONG_EPOCHS
    file.write_text(yaml.safe_dump(experiment))


def test_a_job_requeued_in_mid_training_resumes_and_gives_the_same_records(checkout, tmp_path):
    target, *_ = training_outputs(checkout, "images")
    undisturbed = Checkout.make(tmp_path / "undisturbed")
    lengthen(checkout)
    lengthen(undisturbed)
    code, output = undisturbed.snakemake(target, "--cores", "2", *QUICK)
    assert code == 0, output

    snakemake = checkout.start(target, *SLURM, *QUICK)
    log = checkout.path / target.replace("/runs/", "/logs/train/").replace(".jsonl", ".log")

    def in_mid_training() -> bool:
        return log.exists() and f"epoch 3/{LONG_EPOCHS}" in log.read_text()

    wait_for("the third epoch", lambda: in_mid_training() or ended(snakemake))
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
