"""What a target will cost, before anything runs: jobs, CPU time, disk. Estimates, good to about a factor of two.

The time of a job is its floating-point operations over a typical rate, plus a floor for every update (small nets are
bound by the number of calls, not by arithmetic) and the start of Python. The constants were measured once, on one
thread of a server; nothing is measured here, so that a plan says the same on every machine. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from credit.config import hyperparameters
from credit.config.parts import METHODS, TASKS
from credit.config.registry import Registry
from credit.dag import judged, keeping
from credit.dag.artefacts import Artefact, artefacts
from credit.dag.endings import FILES
from credit.dag.start import classes_an_output, task_shape
from credit.dag.stored import in_store, still_to_train
from credit.dag.targets import SHARD, Workflow
from credit.dag.units import duration, size
from credit.data import catalog
from credit.data.entry import Entry
from credit.errors import ConfigError, DataError, one_of
from credit.nets.geometry import multiply_adds
from credit.nets.names import LOSSES
from credit.nets.work import Run, Work
from credit.provenance import snapshot as provenance
from credit.provenance.spec import canonical_json, members
from credit.tasks.reinforcement.names import SPACES

RATE = {"float32": 1.25e11, "float64": 6e10}  # operations a second: 1.0 s for an epoch of MNIST, 784-256-256-256-10
CALL = 2.8e-4  # seconds that an update costs however small the nets are: 15-10-10-5, five of them at once
STEP, ENVIRONMENT = 2.5e-5, 1e-6  # seconds of a step of all members of a stack, and of each environment
SINGLE = 2e10  # operations a second of a net that gets a single sample
START = 3.0  # CPU seconds to start Python, import torch and read the data
RECORD = 100  # bytes that a record takes as JSON
HEADER = 4000  # bytes of a result's spec and provenance
ANNOUNCE = 3600.0  # CPU seconds from which a run says what it costs before it starts


@dataclass(frozen=True)
class Cost:
    """Estimate for a set of jobs. runs: networks trained. seconds: CPU time. disk: bytes."""

    jobs: int = 0
    runs: int = 0
    seconds: float = 0.0
    disk: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.jobs + other.jobs, self.runs + other.runs, self.seconds + other.seconds, self.disk + other.disk
        )

    def text(self) -> str:
        """One line for people."""
        return (
            f"{self.jobs} {'job' if self.jobs == 1 else 'jobs'}, {self.runs} networks trained, "
            f"about {duration(self.seconds)} of CPU time, {size(self.disk)} of results"
        )


@dataclass(frozen=True)
class Part:
    """An experiment's share of a plan: everything that the target needs of it, and what of this is still to run."""

    experiment: str
    whole: Cost
    missing: Cost


@dataclass(frozen=True)
class DataSet:
    """A data set that a target needs. disk: bytes of the download and the prepared file."""

    name: str
    disk: float
    present: bool


@dataclass(frozen=True)
class Plan:
    """What targets cost, by experiment."""

    parts: tuple[Part, ...]
    data: tuple[DataSet, ...]

    @property
    def whole(self) -> Cost:
        """Everything that the targets need, done or not."""
        return sum((p.whole for p in self.parts), Cost())

    @property
    def missing(self) -> Cost:
        """What is still to run."""
        return sum((p.missing for p in self.parts), Cost())


# ---- one job


def samples(spec: Mapping[str, Any]) -> tuple[int, int, tuple[int, ...], int]:
    """(training samples, samples of one evaluation, input shape, outputs) of a run, from its spec."""
    task, data = spec["task"], spec.get("data")
    if "environment" in task:  # nothing but what it learns from; `acting` has the rest
        return task["episodes"] * task["updates"] * task["batch_size"], 0, *task_shape(spec)
    splits = spec["train"]["evaluate"].get("splits", ())
    if data:
        entry = catalog.dataset(data["name"])
        if "per_class" in task:
            return *selected(task, entry, splits), *task_shape(spec)
        held = task.get("validation") or 0
        train = min(task.get("train") or entry.train, entry.train - held)
        counts = {"train": train, "validation": held, "test": entry.test}
    else:
        whole = task.get("samples") or task.get("train") or task.get("points") or trials(task) or 1000
        train = task.get("per_epoch") or whole
        counts = {name: task.get(name) or 0 for name in ("validation", "test")} | {"train": whole, "points": whole}
    return train, sum(counts.get(name, 0) for name in splits), *task_shape(spec)


def trials(task: Mapping[str, Any]) -> int:
    """About how many trials make an epoch of a task whose trials are updates; 0 for others."""
    return hyperparameters.constants(TASKS.module(task["name"])).get("trials", 0)


def batch_size(task: Mapping[str, Any]) -> int:
    """Samples of a mini-batch."""
    own = hyperparameters.constants(TASKS.module(task["name"])).get("batch_size", 128)
    return task.get("batch_size", 1 if trials(task) else own)


def updates_of_a_pass(spec: Mapping[str, Any]) -> int:
    """Mini-batches of a pass over the training samples."""
    return math.ceil(samples(spec)[0] / batch_size(spec["task"]))


def selected(task: Mapping[str, Any], entry: Entry, splits: Sequence[str]) -> tuple[int, int]:
    """(training samples, samples of one evaluation) where every seed draws some of each class."""
    train, test = (
        min((task[key] or whole) * entry.classes, whole)
        for key, whole in (("per_class", entry.train), ("test_per_class", entry.test))
    )
    tested = entry.test if 2 * test >= entry.test else test  # see `Selected.judged`
    evaluated = train * ("train" in splits) + tested * bool({*splits} - {"train"})
    turn = train // classes_an_output(task)
    return min(turn, task["batches"] * task["batch_size"]) if task.get("batches") else turn, evaluated


def drawing(spec: Mapping[str, Any]) -> float:
    """Operations that it takes to draw the samples: every seed's teacher net answers all of them once."""
    task = spec["task"]
    if spec.get("data") or not task.get("hidden_sizes"):
        return 0.0
    count = sum(task.get(split) or 0 for split in ("train", "validation", "test"))
    return (
        2
        * multiply_adds({"hidden_sizes": task["hidden_sizes"]}, (task["n_in"],), task["n_out"])
        * count
        * len(spec["seeds"])
    )


def acting(spec: Mapping[str, Any]) -> float:
    """Seconds that acting takes, and what an update needs before it learns: transitions, and values of what followed.

    As many steps as an episode may have: some member of a stack will take them.
    """
    task, epochs, networks = spec["task"], spec["train"]["epochs"], len(members(spec))
    episodes, forward = epochs * task["episodes"], 2 * multiply_adds(spec["net"], *task_shape(spec))
    limit = task.get("limit") or SPACES[task["environment"]].limit
    step = STEP + networks * (ENVIRONMENT + forward / SINGLE)
    values = networks * forward * task["batch_size"] / RATE[spec["train"]["dtype"]]
    return episodes * (limit * step + task["updates"] * (values + 3 * CALL))


@cache
def formula(rule: str) -> Callable[[Run], Work]:
    """What the updates of a learning rule cost: its own formula, else its base class's, else backpropagation's."""
    costs = Registry("credit.costs", "cost")

    def of(part: hyperparameters.Part) -> Callable[[Run], Work] | None:
        name = part.module.removeprefix("credit.methods.")
        return costs.load(name).cost if name in costs.names() else next(filter(None, map(of, part.bases)), None)

    return of(hyperparameters.part_of(METHODS.module(rule), hyperparameters.PACKAGE)) or Run.backpropagation


def job_cost(spec: Mapping[str, Any], keep: Collection[str] = ()) -> Cost:
    """Estimate for one job, which trains all members of its spec side by side, and keeps these kinds of files."""
    if sampler := spec.get("sampler"):
        return sampled_cost(spec, sampler)
    train, evaluated, shape, n_out = samples(spec)
    networks, settings = len(members(spec)), spec["train"]
    epochs, evaluate = settings["epochs"], settings["evaluate"]
    batch, updates = batch_size(spec["task"]), updates_of_a_pass(spec)
    turns = epochs * (updates if evaluate.get("unit") == "update" else 1)
    evaluations = 1 + math.ceil(turns / evaluate.get("every", 1))
    rule, itemsize = spec["rule"], keeping.ITEMSIZE[settings["dtype"]]
    work = formula(rule["name"])(Run(spec["net"], shape, n_out, rule, train, batch, epochs, networks, itemsize))
    operations = work.operations * epochs * train / batch + drawing(spec)
    operations += 2 * networks * multiply_adds(spec["net"], shape, n_out) * evaluated * evaluations
    seconds = operations / RATE[settings["dtype"]] + epochs * updates * CALL * work.calls + START + work.seconds
    seconds += acting(spec) if "environment" in spec["task"] else 0.0
    if spec["kind"] == "search":  # it keeps its choice, not its records
        return Cost(1, networks, seconds, HEADER)
    metrics = 3 if "environment" in spec["task"] else 2 if LOSSES.get(spec["net"].get("loss")) else 1
    layers = len(spec["net"].get("channels", ())) + len(spec["net"].get("hidden_sizes", ())) + 1
    measured = sum(math.ceil(updates / p["every"]) if p.get("every") else 1 for p in spec.get("probes") or ())
    records = evaluations * len(evaluate.get("splits", ())) * metrics + epochs * (1 + measured * (layers + 1))
    disk = HEADER + networks * records * RECORD + keeping.size(spec, keep, shape, n_out)
    return Cost(1, networks, seconds, disk)


def sampled_cost(spec: Mapping[str, Any], sampler: Mapping[str, Any]) -> Cost:
    """Estimate for a search that draws trials: `parallel` of them side by side, one batch after another."""
    trials, at_once = sampler["trials"], sampler["parallel"]
    seconds = START + math.ceil(trials / at_once) * (job_cost(of_a_batch(spec)).seconds - START)
    return Cost(1, trials * len(spec["seeds"]), seconds, HEADER + trials * (1 + len(spec["seeds"])) * 2 * RECORD)


def of_a_batch(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of one training of a search that draws trials; of other jobs, which train once, their own."""
    if sampler := spec.get("sampler"):
        plain = {key: value for key, value in spec.items() if key != "sampler"}
        return plain | {"vary": {"trial": [*range(sampler["parallel"])]}}
    return spec


# ---- all jobs of a target


def experiment_jobs(workflow: Workflow, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(result file, spec) of every search and training job of an experiment."""
    searched: set[str] = set()
    for job in workflow.experiment(key).jobs():
        path = workflow.run_path(job)
        choice = Path(path).with_name("choice.json").as_posix()
        if choice not in searched and workflow.cell(key, job.dataset, job.method).search:
            searched.add(choice)
            yield choice, workflow.search_spec(key, job.dataset, job.method)
        yield path, workflow.train_spec(key, job.dataset, job.method, job.shard)


def needed_experiments(workflow: Workflow, target: str) -> tuple[str, ...]:
    """Experiments that a target needs: the name of a Snakemake rule (all, a paper), a file, or PAPER/NAME.

    Raises ConfigError for what is no target, with the nearest one.
    """
    results, everything = workflow.results, tuple(workflow.experiments)
    files = _files(results, everything, workflow.figures, workflow.tables)
    groups = {paper: workflow.artefact_paths(paper) for paper in workflow.papers}
    below = [f"{results}/tables/{name}.csv" for name in workflow.tables]
    groups |= dict.fromkeys(judged.paths(workflow), below)
    needed = {name: {key for path in paths for key in files[path]} for name, paths in groups.items()}
    needed |= {name: set(everything) for name in ("all", f"{results}/report.html")}
    if target in files or target in needed:
        return tuple(key for key in everything if key in (files.get(target) or needed[target]))
    quick = "results/quick/"
    if target.startswith(quick) and workflow.settings.scale == "paper":
        raise ConfigError(f"target = {target!r} is of the quick scale; add --configfile config/quick.yaml")
    whole = workflow.defined
    others = _files(results, whole, *(artefacts(kind, whole, whole) for kind in ("figures", "tables")))
    if target in others:
        left_out = ", ".join(others[target])
        raise ConfigError(f"target = {target!r}; methods, datasets and experiments leave nothing of {left_out}")
    raise ConfigError(one_of("target", target, [*files, *needed]))


def _files(
    results: str, keys: Iterable[str], figures: Mapping[str, Artefact], tables: Mapping[str, Artefact]
) -> dict[str, tuple[str, ...]]:
    """{file, or PAPER/NAME: experiments that it needs} of experiments, figures and tables."""
    found = {name: (key,) for key in keys for name in (f"{results}/tables/{key}.csv", key)}
    for folder, made in (("figures", figures), ("tables", tables)):
        for one in made.values():
            found |= {f"{results}/{folder}/{one.name}.{end}": one.experiments for end in FILES[folder]}
    return found


def needed_jobs(workflow: Workflow, target: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """{experiment: [(result file, spec)]} of a target, which may also be a run. Raises as `needed_experiments`."""
    run = SHARD.search(target)
    if not run:
        needed = {key: dict(experiment_jobs(workflow, key)) for key in needed_experiments(workflow, target)}
    else:
        key = f"{run[1]}/{run[2]}"
        jobs = dict(experiment_jobs(workflow, key))
        kept = {str(file): path for path in jobs for file in keeping.beside(workflow, path).values()}
        result = kept.get(target, target)
        if result not in jobs:
            raise ConfigError(one_of("target", target, [*jobs, *kept]))
        choice = Path(result).with_name("choice.json").as_posix()
        needed = {key: {path: jobs[path] for path in dict.fromkeys((choice, result)) if path in jobs}}
    for path, spec in [job for jobs in needed.values() for job in jobs.items() if job[1].get("start")]:
        needed.setdefault(spec["start"]["experiment"], {}).update(upstream_jobs(workflow, path, spec))
    return {key: list(jobs.items()) for key, jobs in needed.items()}


def upstream_jobs(workflow: Workflow, path: str, spec: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{result file: spec} of the jobs, and the search before them, from whose weights a job starts."""
    paper, experiment, dataset, method, shard = SHARD.search(path).groups()
    place, found = (f"{paper}/{experiment}", dataset, method), {}
    for weights in workflow.start_paths(place, shard) if shard else workflow.weights_paths(place, spec["seeds"]):
        result = f"{weights.removesuffix('.safetensors')}.jsonl"
        found[result] = workflow.run_spec(result)
        if found[result].get("searched"):
            choice = Path(result).with_name("choice.json").as_posix()
            found[choice] = workflow.run_spec(choice)
    return found


def is_done(path: str | Path, spec: Mapping[str, Any], kept: Iterable[Path] = ()) -> bool:
    """Whether the result file exists and is of this spec, and so do the files that are kept beside it."""
    try:
        found = [provenance.read_header(file)["spec"] for file in (path, *kept)]
    except DataError:
        return False
    return all(canonical_json(one) == canonical_json(spec) for one in found)


def plan(workflow: Workflow, *targets: str) -> Plan:
    """What targets cost together. Only results that belong to the present specs count as done, and kept blocks.

    Raises ConfigError for what is no target.
    """
    needed: dict[str, dict[str, dict[str, Any]]] = {}
    for target in targets:
        for key, jobs in needed_jobs(workflow, target).items():
            needed.setdefault(key, {}).update(jobs)
    parts, names = [], {}
    for key, of_experiment in needed.items():
        jobs = of_experiment.items()
        kept = {path: keeping.beside(workflow, path) for path, _ in jobs}
        costs = {path: job_cost(spec, kept[path]) for path, spec in jobs}
        missing = [
            replace(costs[path], seconds=costs[path].seconds * still_to_train(workflow, path, spec))
            for path, spec in jobs
            if not (is_done(path, spec, kept[path].values()) or in_store(workflow, path, spec))
        ]
        parts.append(Part(key, sum(costs.values(), Cost()), sum(missing, Cost())))
        names |= {spec["data"]["name"]: None for _, spec in jobs if spec["data"]}
    return Plan(tuple(parts), tuple(_data_set(workflow, name) for name in names))


def _data_set(workflow: Workflow, name: str) -> DataSet:
    entry = catalog.dataset(name)
    download = sum(f.bytes or 0 for f in entry.files)
    prepared = (entry.train + entry.test) * math.prod(entry.image) * entry.itemsize
    return DataSet(name, download + prepared, Path(workflow.data_path(name)).exists())


# ---- for people


def trains(outputs: Iterable[str]) -> bool:
    """Whether a job with these outputs is a training or a search; rules have other names where another workflow uses
    them as a module's."""
    return any(SHARD.search(str(path)) for path in outputs)


def banner(workflow: Workflow, mode: str, specs: Iterable[Mapping[str, Any]]) -> str:
    """What is said before a run starts. specs: of the trainings and searches that it is about to do."""
    s = workflow.settings
    lines = [f"credit: scale {s.scale}, device {s.device}, jobs run in {mode}, results in {workflow.results}/"]
    ahead = sum(map(job_cost, specs), Cost())  # without what is kept
    if ahead.seconds > ANNOUNCE:
        lines.append(f"to be trained in this call: {ahead.text()}")
        lines.append("what one target costs: credit plan TARGET; narrow: --config methods=… datasets=… seeds=… -- all")
    return "\n".join(lines)
