"""Cost of the workflow itself: planning, dry runs of 10,000 jobs, a run with nothing to do, the start of its jobs."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from credit.bench.base import Row

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("Snakefile", "workflow", "config", "profiles", "envs", "src")
EXPERIMENT, METHODS, SEEDS = "cross/student_teacher", ("bp", "fa", "dfa"), 3332
HERE = "import sys; sys.path.insert(0, 'src')\n"  # of the copy
SPECS = (
    HERE + "from pathlib import Path\n"
    "from credit.config.files import read_yaml\n"
    "from credit.dag.cost import experiment_jobs\n"
    "from credit.dag.targets import Workflow, as_param\n"
    "whole = Workflow(read_yaml(Path('config/config.yaml')), Path.cwd())\n"
    "for key in whole.experiments:\n"
    "    for _, spec in experiment_jobs(whole, key): as_param(spec)\n"
    "    as_param(whole.collect_spec(key))\n"
    "for a in (*whole.figures.values(), *whole.tables.values()): as_param(whole.artefact_spec(a.kind, a.name))\n"
)
CREDIT = HERE + "import runpy; runpy.run_module('credit', run_name='__main__')\n"
ARCHIVE = ROOT / "docs" / "results" / "records" / "pc-example.tar.xz"  # of six runs
STARTED = (  # they draw their data: experiment, data set, method
    "cross/student_teacher teacher bp",
    "dfc/student_teacher teacher dfc_ssa",
    "pc/interference example pc",
)
SPEC = (
    HERE + "import json\n"
    "from credit.interactive.specs import experiment\n"
    "spec = experiment(sys.argv[1], dataset=sys.argv[2], method=sys.argv[3], scale='quick')\n"
    "searched = spec.pop('searched', [])\n"
    "spec['train']['optimizer'] |= {'lr': 0.01} if 'train.optimizer.lr' in searched else {}\n"
    "print(json.dumps(spec))\n"
)
# A training job that says at its first mini-batch how much CPU time it has taken since it began, and ends.
FIRST_UPDATE = (
    "import os, runpy, sys, time\n"
    "sys.path.insert(0, 'workflow/scripts')\n"
    "import _src\n"
    "from credit.training.learner import Learner\n"
    "Learner._count = lambda *_: (print('first update after', time.process_time(), flush=True), os._exit(0))\n"
    "runpy.run_path('workflow/scripts/train.py', run_name='__main__')\n"
)
BOUNDS = {"credit show": "<= 0.3"}


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


def narrowed(seeds: int) -> list[str]:
    """Arguments for a table that needs a search and a job for every seed of each of three methods."""
    return [
        "--config", f"experiments={EXPERIMENT}", f"methods={','.join(METHODS)}", f"seeds={seeds}", "seeds_per_job=1",
        "--", f"results/tables/{EXPERIMENT}.csv",
    ]  # fmt: skip


def planned(seeds: int) -> int:
    """Jobs of `narrowed`: the searches, the training jobs, the table."""
    return len(METHODS) * (1 + seeds) + 1


def bare(folder: Path, jobs: int) -> Path:
    """A folder with a Snakefile of two rules that plans as many jobs."""
    folder.mkdir()
    (folder / "Snakefile").write_text(
        f"rule all:\n    input: expand('out/{{i}}.txt', i=range({jobs - 1}))\n"
        "rule one:\n    output: 'out/{i}.txt'\n    shell: 'touch {output}'\n",
        encoding="utf-8",
    )
    return folder


def counted(output: str) -> int:
    """Jobs that a dry run says it would run; its table of jobs ends with them."""
    return int(re.findall(r"^total +(\d+)$", output, re.MULTILINE)[-1])


def dry_runs(folder: Path, seeds: int = SEEDS, repeats: int = 3) -> list[Row]:
    """Dry runs of 10,000 jobs, printed and not, in turn with those of a bare Snakefile. Raises for another number."""
    jobs = planned(seeds)
    own, other = (folder, narrowed(seeds)), (bare(folder / "bare", jobs), [])
    rows = []
    for kind, options in (("printed", []), ("with -q", ["-q"])):
        runs = [[measure(snakemake("-n", *options, *more), at) for at, more in (own, other)] for _ in range(repeats)]
        if not options and (found := {counted(run[2]) for pair in runs for run in pair} - {jobs}):
            raise RuntimeError(f"a dry run of {jobs} jobs planned {found}")
        name = f"dry run of {jobs:,} jobs, {kind}"
        ratio = statistics.median(mine[0] / theirs[0] for mine, theirs in runs)
        rows += [
            Row("workflow", name, statistics.median(pair[0][0] for pair in runs), "CPU s", "<= 20"),
            Row("workflow", f"{name}, to a bare Snakefile of as many", ratio, "ratio"),
            Row("workflow", f"{name}, peak memory", max(pair[0][1] for pair in runs), "MiB", "<= 1024"),
        ]
    return rows


def planning(folder: Path, repeats: int = 5) -> list[Row]:
    """What is planned at paper scale: by this package alone, by Snakemake, by `credit plan`; and `credit show`."""
    commands = {
        "imports, Workflow() and all specs": [sys.executable, "-c", SPECS],
        "snakemake -n -q all": snakemake("-n", "-q", "--", "all"),
        "credit plan all": [sys.executable, "-c", CREDIT, "plan", "all"],
        "credit show": [sys.executable, "-c", CREDIT, "show", str(ARCHIVE)],
    }
    rows = []
    for name, command in commands.items():
        measure(command, folder)  # the first one compiles and fills the memory of planning
        seconds = [measure(command, folder)[0] for _ in range(repeats)]
        rows.append(Row("workflow", name, statistics.median(seconds), "CPU s", BOUNDS.get(name, "")))
    return rows


def nothing_to_do(folder: Path) -> list[Row]:
    """`snakemake all` at quick scale when everything is there."""
    command = snakemake("--cores", "2", "--configfile", "config/quick.yaml", "--", "all")
    measure(command, folder)
    runs = [measure(command, folder) for _ in range(3)]
    if any("Nothing to be done" not in r[2] for r in runs):
        raise RuntimeError("the second run did something")
    return [Row("workflow", "quick scale, nothing to do", statistics.median(r[0] for r in runs), "CPU s", "<= 1.4")]


def starts(folder: Path, repeats: int = 5) -> list[Row]:
    """Training jobs from the start of their process to the end of their first update; what they compile is there."""
    rows = []
    for named in STARTED:
        spec = measure([sys.executable, "-c", SPEC, *named.split()], folder)[2]
        command = [sys.executable, "-E", "-c", FIRST_UPDATE, spec, "started.jsonl", "--device", "cpu"]
        runs = [measure(command, folder)[2] for _ in range(repeats + 1)][1:]
        seconds = [float(re.search(r"first update after (\S+)", output)[1]) for output in runs]
        name = f"training job to its first update, {named}"
        rows.append(Row("workflow", name, statistics.median(seconds), "CPU s", "<= 2"))
    return rows


def run() -> list[Row]:
    """Rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = checkout(Path(name))
        return [*planning(folder), *starts(folder), *dry_runs(folder), *nothing_to_do(folder)]
