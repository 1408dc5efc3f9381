"""What the Slurm tests need: a copy of the repository to run in, and a view of the controller's jobs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
SITE = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3")
"""What this controller, without accounting and with short jobs, needs on top of the shipped profile."""

T = TypeVar("T")


def controller_answers() -> bool:
    """Whether a Slurm controller answers on this machine and the executor plugin is installed."""
    if not (shutil.which("scontrol") and shutil.which("snakemake")):
        return False
    return "is UP" in subprocess.run(["scontrol", "ping"], capture_output=True, text=True).stdout


def wait_for(what: str, look: Callable[[], T | None], seconds: float = 300) -> T:
    """The first true value of ``look()``, asked ten times a second.

    Raises AssertionError that names ``what`` when none comes in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} s in vain for {what}")


def cluster_jobs(rule: str, folder: Path) -> list[dict[str, str]]:
    """The jobs of one Snakemake rule submitted from ``folder``, oldest first, as ``scontrol`` shows them."""
    text = subprocess.run(
        ["scontrol", "--details", "--oneliner", "show", "job"], capture_output=True, text=True, check=True
    ).stdout
    jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines()]
    mine = [job for job in jobs if job.get("WorkDir") == str(folder)]
    return [job for job in mine if re.fullmatch(rf"rule_{rule}(_wildcards_.*)?", job.get("Comment", ""))]


def set_job(job_id: str, **values: str) -> None:
    """Change what the controller knows of a job, e.g. ``EndTime``."""
    subprocess.run(["scontrol", "update", f"JobId={job_id}", *(f"{k}={v}" for k, v in values.items())], check=True)


def lose_node(job_id: str) -> None:
    """Let a running job lose its node, which comes back; the job returns to the queue and runs again."""
    node = subprocess.run(["sinfo", "-h", "-o", "%N"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"], check=True)
    wait_for(f"job {job_id} to be in the queue", lambda: "JobState=PENDING" in shown(job_id))
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], check=False)  # it may have come back
    run_again(job_id)


def shown(job_id: str) -> str:
    """A job in the words of the controller."""
    return subprocess.run(["scontrol", "-o", "show", "job", job_id], capture_output=True, text=True).stdout


def requeue(job_id: str) -> None:
    """Send a running job back to the queue, where it runs again."""
    subprocess.run(["scontrol", "requeue", job_id], check=True)
    wait_for(f"job {job_id} to be in the queue", lambda: "JobState=PENDING" in shown(job_id))
    run_again(job_id)


def run_again(job_id: str) -> None:
    """Shorten the two minutes that Slurm makes a job wait that went back to the queue.

    To some seconds, not to none: a node refuses what is started in the second in which the first run was revoked, and
    the job is then over (`Job credential revoked`).
    """
    set_job(job_id, StartTime="now+4seconds")
    wait_for(
        f"job {job_id} to run again", lambda: "Restarts=1" in shown(job_id) and "JobState=RUNNING" in shown(job_id)
    )


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository's files, as a fresh clone would have them, with no results."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> Checkout:
        """Copy every file that git tracks or would track; links stay links."""
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if os.path.lexists(ROOT / name):
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, path / name, follow_symlinks=False)
        return cls(path)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``snakemake`` here, output in one pipe, with this copy's package before any installed one.

        It is the head of a process group, and finds commands in the copy's ``bin`` first.
        """
        foreign = ("SLURM_", "SBATCH_", "SQUEUE_", "SNAKEMAKE_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        environment |= {"PYTHONPATH": str(self.path / "src"), "OMP_NUM_THREADS": "1"}
        environment["PATH"] = f"{self.path / 'bin'}:{environment['PATH']}"
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "snakemake", *arguments],  # ends with pytest, however that ends
            cwd=self.path,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    def snakemake(self, *arguments: str, seconds: float = 600) -> tuple[int, str]:
        """Exit code and output of a finished call."""
        return finish(self.start(*arguments), seconds)


def finish(process: subprocess.Popen[str], seconds: float = 600) -> tuple[int, str]:
    """Wait for ``snakemake``; past the time limit, interrupt it, so that it cancels its jobs, and fail."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        raise AssertionError(f"snakemake did not end within {seconds:g} s:\n{output}") from None
    return process.returncode, output
