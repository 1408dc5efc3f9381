"""Cost of the workflow itself: dry run of 10,000 jobs, a run with nothing to do."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from credit.bench.base import Row

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("Snakefile", "workflow", "config", "profiles", "envs", "src")


def checkout(folder: Path) -> Path:
    """A copy of the workflow to run in."""
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def measure(command: list[str], folder: Path) -> tuple[float, float, str]:
    """(CPU seconds, peak memory in MiB, output) of a command and its children. Raises when it fails."""
    code = (
        "import json,resource,subprocess,sys\n"
        "p=subprocess.run(json.loads(sys.argv[1]),capture_output=True,text=True)\n"
        "u=resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([p.returncode,u.ru_utime+u.ru_stime,u.ru_maxrss/1024,p.stdout+p.stderr]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(command)], cwd=folder, capture_output=True, text=True, check=True
    )
    status, cpu, memory, output = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{' '.join(command[:6])} … failed:\n{output[-2000:]}")
    return cpu, memory, output


def snakemake(*arguments: str) -> list[str]:
    """A call of Snakemake with this interpreter."""
    return [sys.executable, "-m", "snakemake", *arguments]


def dry_run(folder: Path) -> list[Row]:
    """A configuration with 10,000 training jobs: five methods, 2,000 seeds, one seed a job."""
    narrowed = ("--config", "experiments=student_teacher", "seeds=2000", "seeds_per_job=1")
    command = snakemake("-n", "--quiet", "all", *narrowed, "--", "results/tables/cross/student_teacher.csv")
    runs = [measure(command, folder) for _ in range(3)]
    cpu, memory = (statistics.median(r[i] for r in runs) for i in (0, 1))
    return [
        Row("workflow", "dry run of 10,000 jobs", cpu, "CPU s", "<= 20"),
        Row("workflow", "dry run of 10,000 jobs, peak memory", memory, "MiB", "<= 1024"),
    ]


def nothing_to_do(folder: Path) -> list[Row]:
    """`snakemake all` at quick scale when everything is there."""
    command = snakemake("--cores", "2", "--configfile", "config/quick.yaml", "--", "all")
    measure(command, folder)
    runs = [measure(command, folder) for _ in range(3)]
    if any("Nothing to be done" not in r[2] for r in runs):
        raise RuntimeError("the second run did something")
    return [Row("workflow", "quick scale, nothing to do", statistics.median(r[0] for r in runs), "CPU s", "<= 5")]


def run() -> list[Row]:
    """Rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = checkout(Path(name))
        return [*dry_run(folder), *nothing_to_do(folder)]
