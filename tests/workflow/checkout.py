"""A copy of the workflow in a folder of its own, in which tests run Snakemake for real and edit the sources."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PARTS = ("Snakefile", "workflow", "config", "profiles", "slurm", "envs", "src")
TINY = Path(__file__).parent / "experiments"
JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", re.MULTILINE)
PATIENCE = 120  # seconds for anything that a test waits for
OUTPUT = re.compile(r"^    output: ([^,\n]+?)(?: \(update\))?(?:,|$)", re.MULTILINE)


def _hear_ctrl_c() -> None:
    """As programs of a terminal do; a shell starts what it puts into the background without."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Done(NamedTuple):
    """A finished command: exit status, and all that it printed."""

    status: int
    text: str


class Checkout:
    """The checkout at `root`. Scripts and Snakefile put its own `src` first on the path, so its code is what runs."""

    def __init__(self, root: Path):
        self.root = root
        self.started: list[subprocess.Popen] = []

    @classmethod
    def of(cls, repository: Path, root: Path) -> Checkout:
        """Copy what the workflow consists of; no results, no compiled files."""
        root.mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in PARTS:
            source = repository / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, root / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy2(source, root / name, follow_symlinks=False)
        return cls(root)

    def copy(self, root: Path) -> Checkout:
        """Everything, with Snakemake's records, with all dates, and with files that are linked to each other."""
        root.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", self.root, root], check=True)
        return Checkout(root)

    def use_tiny_experiments(self) -> None:
        """Replace the experiments by those beside this file."""
        shutil.rmtree(self.root / "config" / "experiments")
        shutil.copytree(TINY, self.root / "config" / "experiments")

    # ---- running

    def start(self, *command: str | Path, **more: Any) -> subprocess.Popen:
        """Start a command here, in a process group of its own; its output can be read from `stdout`.

        path: put before PATH. variables: of whoever calls.
        """
        environment = clean_environment(more.pop("path", None)) | more.pop("variables", {})
        process = subprocess.Popen(
            list(map(str, command)), cwd=self.root, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=_hear_ctrl_c, **more,
        )  # fmt: skip
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End what was started here and still runs, with its children."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=PATIENCE)
            process.stdout.close()

    def call(self, *command: str | Path, **more: Any) -> Done:
        """Run a command here to its end."""
        process = self.start(*command, **more)
        try:
            text = process.communicate(timeout=15 * PATIENCE)[0]
            return Done(process.returncode, text)
        except subprocess.TimeoutExpired:
            self.stop()
            raise

    def snakemake(self, *arguments: str, **more: Any) -> Done:
        """Run Snakemake whatever comes of it."""
        return self.call(*snakemake(*arguments), **more)

    def make(self, *arguments: str, cores: int = 2, **more: Any) -> str:
        """Run Snakemake, which must succeed; returns what it printed."""
        done = self.snakemake("--cores", str(cores), *arguments, **more)
        assert done.status == 0, done.text
        return done.text

    def planned(self, *arguments: str, **more: Any) -> set[str]:
        """What Snakemake would make now (default: for `all`), by each job's first output, below results/."""
        done = self.snakemake("--dry-run", *(arguments or ("all",)), **more)
        assert done.status == 0, done.text
        outputs = [OUTPUT.search(body) for name, body in JOB.findall(done.text)]
        planned = {found[1].removeprefix("results/") for found in outputs if found}
        assert ("Nothing to be done" in done.text) == (not planned), done.text
        return planned

    def script(self, name: str, *arguments: str | Path) -> Done:
        """Run a script of workflow/scripts by hand."""
        return self.call(sys.executable, f"workflow/scripts/{name}.py", *arguments)

    def credit(self, *arguments: str | Path) -> Done:
        """`python -m credit …` with the checkout's own code."""
        code = "import sys; sys.path.insert(0, 'src'); from credit.__main__ import main; sys.exit(main())"
        return self.call(sys.executable, "-c", code, *arguments)

    def script_of(self, other: Checkout, *arguments: str) -> Done:
        """Run Python here with the package of another checkout."""
        return self.call("env", f"PYTHONPATH={other.root / 'src'}", sys.executable, *arguments)

    # ---- looking

    def path(self, name: str) -> Path:
        """A result, by its path below results/."""
        return self.root / "results" / name

    def results(self, *kinds: str) -> dict[str, bytes]:
        """{path below results/: content} of everything but logs, or of these folders of results/."""
        folders = [self.path(kind) for kind in kinds or ("data", "runs", "tables", "figures")]
        files = (p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file())
        return {str(p.relative_to(self.root / "results")): p.read_bytes() for p in files}

    # ---- changing

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that occurs once in a file."""
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def change_code(self, name: str) -> None:
        """Add a statement to a Python file: it means something else now, though it does the same."""
        path = self.root / name
        path.write_text(path.read_text(encoding="utf-8") + "\n_CHANGED = True\n", encoding="utf-8")

    def forget_blocks(self) -> None:
        """Remove the store: what was trained is no reason not to train it again."""
        shutil.rmtree(self.path("store"))

    def configure(self, experiment: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change an experiment: `change` gets its content and alters it in place."""
        path = self.experiment(experiment)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def experiment(self, name: str) -> Path:
        """File of an experiment of the paper `cross`."""
        return self.root / "config" / "experiments" / "cross" / f"{name}.yaml"


def snakemake(*arguments: str) -> list[str]:
    """The command `snakemake …` of the environment that runs the tests."""
    return [sys.executable, "-m", "snakemake", *arguments]


def clean_environment(path: Path | None = None) -> dict[str, str]:
    """This environment without what would reach into the workflow; `path` is put before PATH."""
    ours = ("SNAKEMAKE_", "CREDIT_", "PYTHON", "PYTEST_", "OMP_", "COV_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    folders = [str(path)] if path else []
    return {**kept, "PATH": os.pathsep.join([*folders, kept.get("PATH", os.defpath)])}


def wait_for(what: Callable[[], object], process: subprocess.Popen) -> None:
    """Wait until something is there. Fails when the process ends before."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, f"it ended too soon:\n{process.stdout.read()}"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def checkpoints(project: Checkout) -> list[Path]:
    """Checkpoints of training jobs."""
    return sorted(project.path("runs").rglob("*.ckpt"))


# ---- what the tiny experiments make


def images(*methods: str, seeds: int = 2, search: bool = True) -> set[str]:
    """Runs of these methods in the experiment `images`: one shard a seed, and the search before them."""
    names = [f"shard{seed}.jsonl" for seed in range(seeds)] + ["choice.json"] * search
    return {f"runs/cross/images/digits/{method}/{name}" for method in methods for name in names}


def teacher(*methods: str, shard: int = 0) -> set[str]:
    """Runs of these methods in the experiment `teacher`: one shard for all seeds."""
    return {f"runs/cross/teacher/teacher/{method}/shard{shard}.jsonl" for method in methods}


RAW = {"data/raw/digits.json"}
PREPARED = {"data/digits.npz"}
ALL_IMAGES = images("bp", "fa", "dfa")
ALL_TEACHER = teacher("bp", "fa")
READABLE = {"tables/cross/table1.md"}
JUDGED = {"tables/fidelity.csv", "tables/fidelity.html"}
AFTER_IMAGES = READABLE | JUDGED | {f"tables/{n}.csv" for n in ("cross/images", "cross/table1")} | {"figures/fig1.pdf"}
AFTER_TEACHER = {"tables/cross/teacher.csv", "figures/fig3.pdf"}
AFTER = AFTER_IMAGES | AFTER_TEACHER
EVERYTHING = RAW | PREPARED | ALL_IMAGES | ALL_TEACHER | AFTER
