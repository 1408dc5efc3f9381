"""What a target will cost, before anything runs: jobs, CPU hours, disk. Estimates, good to about a factor of two.

The time of a job is its floating-point operations over a typical rate, plus a floor for every update (small nets are
bound by the number of calls, not by arithmetic) and the start of Python. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit import hyperparameters, methods
from credit.data import catalog
from credit.errors import ConfigError, one_of
from credit.experiment import Job
from credit.targets import Workflow

RATE = {"float32": 45e9, "float64": 22e9}  # operations a second and thread, large products on a current core
CALL = 4e-4  # seconds an update costs however small the net is
START = 5.0  # seconds to start Python, import torch and read the data
RECORD = 110  # bytes a record takes as JSON
ANNOUNCE = 3600.0  # CPU seconds from which a run says what it costs before it starts


@dataclass(frozen=True)
class Cost:
    """Estimate for a set of jobs."""

    jobs: int = 0
    runs: int = 0  # networks trained
    seconds: float = 0.0  # CPU seconds
    disk: float = 0.0  # bytes

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.jobs + other.jobs, self.runs + other.runs, self.seconds + other.seconds, self.disk + other.disk
        )

    def text(self) -> str:
        """One line for people."""
        hours = self.seconds / 3600
        time = f"{hours:.1f} CPU hours" if hours >= 1 else f"{math.ceil(self.seconds / 60)} CPU minutes"
        return f"{self.jobs} jobs, {self.runs} networks trained, about {time}, {self.disk / 1e6:.1f} MB of results"


def multiply_adds(net: Mapping[str, Any], shape_in: tuple[int, ...], n_out: int) -> float:
    """Multiply-adds of one forward pass of one sample."""
    total, n, shape = 0.0, math.prod(shape_in), shape_in
    for channels in net.get("channels", ()):
        k, stride, pad = net["kernel"], net["stride"], net["padding"]
        side = [(s + 2 * pad - k) // stride + 1 for s in shape[1:]]
        total += channels * math.prod(side) * shape[0] * k * k
        pool = net.get("pool")
        if pool:
            size, step, padding = (*pool, pool[0], 0)[:3] if len(pool) > 1 else (pool[0], pool[0], 0)
            side = [(s + 2 * padding - size) // step + 1 for s in side]
        shape = (channels, *side)
        n = math.prod(shape)
    for size in (*net.get("hidden_sizes", ()), n_out):
        total += n * size
        n = size
    return total


def sizes(run: Mapping[str, Any]) -> tuple[int, int, tuple[int, ...], int]:
    """(training samples, evaluated samples, input shape, outputs) of a run, from its spec."""
    task, data = run["task"], run.get("data")
    if data:
        entry = catalog.dataset(data["name"])
        held = task.get("validation", 0)
        train = min(task.get("train") or entry.train, entry.train - held)
        n_out = entry.classes if task.get("target", "class") == "class" else math.prod(entry.image)
        return train, held + entry.test, tuple(entry.image), n_out
    train = int(task.get("train", 1000))
    return train, task.get("validation", 0) + task.get("test", 0), (task.get("n_in", 1),), task.get("n_out", 1)


def job_cost(run: Mapping[str, Any], networks: int) -> Cost:
    """Estimate for one job that trains `networks` networks side by side."""
    train, evaluated, shape, n_out = sizes(run)
    macs = multiply_adds(run["net"], shape, n_out)
    epochs, settings = run["train"]["epochs"], run["train"]
    batch = run["task"].get("batch_size", 128)
    updates = epochs * math.ceil(train / batch)
    factor = hyperparameters.constants(methods.registry.module(run["rule"]["name"])).get("cost", 1.0)
    evaluations = 1 + epochs // settings["evaluate"].get("every", 1)
    rate = RATE[settings["dtype"]]
    flops = networks * (6 * macs * train * epochs * factor + 2 * macs * evaluated * evaluations)
    records = networks * (2 * evaluations * 2 + epochs * (1 + 5 * len(run.get("probes") or [])))
    return Cost(1, networks, flops / rate + updates * CALL * factor + START, records * RECORD)


def needed_experiments(workflow: Workflow, target: str) -> tuple[str, ...]:
    """Experiments that a target needs: a rule's name (all, a paper), a file, or PAPER/NAME.

    Raises ConfigError for what is no target, with the nearest one.
    """
    everything = tuple(workflow.experiments)
    if target in ("all", f"{workflow.results}/tables/fidelity.csv", f"{workflow.results}/report.html"):
        return everything
    if target in workflow.papers:
        return tuple(k for k in everything if k.startswith(f"{target}/"))
    if target in everything:
        return (target,)
    files = {}
    for kind, artefacts in (("figures", workflow.figures), ("tables", workflow.tables)):
        for artefact in artefacts.values():
            for ending in ("pdf", "png") if kind == "figures" else ("csv", "md"):
                files[f"{workflow.results}/{kind}/{artefact.name}.{ending}"] = artefact.experiments
    files |= {f"{workflow.results}/tables/{key}.csv": (key,) for key in everything}
    if target not in files:
        raise ConfigError(one_of("target", target, [*files, *workflow.papers, "all"]))
    return files[target]


def plan(workflow: Workflow, target: str) -> tuple[Cost, Cost, list[tuple[str, Cost]]]:
    """(total, what is still missing, by experiment) for a target; results on disk count as done."""
    total, missing, parts = Cost(), Cost(), []
    for key in needed_experiments(workflow, target):
        whole = Cost()
        for job in workflow.experiment(key).jobs():
            cost = train_cost(workflow, key, job)
            whole += cost
            if not Path(workflow.run_path(job)).exists():
                missing += cost
        for dataset, method in cells(workflow, key):
            cost = search_cost(workflow, key, dataset, method)
            whole += cost
            if not Path(f"{workflow.results}/runs/{key}/{dataset}/{method}/choice.json").exists():
                missing += cost
        total += whole
        parts.append((key, whole))
    return total, missing, parts


def train_cost(workflow: Workflow, key: str, job: Job) -> Cost:
    """Estimate for a training job."""
    run = workflow.cell(key, job.dataset, job.method).run
    return job_cost(run, len(job.seeds) * math.prod(len(v) for v in run["vary"].values()))


def search_cost(workflow: Workflow, key: str, dataset: str, method: str) -> Cost:
    """Estimate for a hyperparameter search; nothing for a cell without one."""
    cell = workflow.cell(key, dataset, method)
    if cell.search is None:
        return Cost()
    spec = cell.search_spec()
    return job_cost(spec, len(spec["seeds"]) * math.prod(len(v) for v in spec["vary"].values()))


def cells(workflow: Workflow, key: str) -> list[tuple[str, str]]:
    """Every (data set, method) of an experiment."""
    experiment = workflow.experiment(key)
    return [(d, m) for d in experiment.datasets for m in experiment.methods]


def banner(workflow: Workflow, mode: str) -> str:
    """What is said before a run starts."""
    s = workflow.settings
    lines = [f"credit: scale {s.scale}, device {s.device}, jobs run in {mode}, results in {workflow.results}/"]
    _, missing, _ = plan(workflow, "all")
    if missing.seconds > ANNOUNCE:
        lines.append(f"everything that is missing for `all`: {missing.text()}")
        lines.append("what one target costs: python -m credit plan TARGET; narrow: --config methods=… datasets=… seeds=…")
    return "\n".join(lines)
