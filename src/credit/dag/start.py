"""Runs that start from the final weights of others: which cell's, and that this can be. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from credit.config import hyperparameters
from credit.config.parts import TASKS, targets
from credit.data import catalog
from credit.errors import ConfigError, one_of
from credit.nets.geometry import parameter_shapes
from credit.tasks.reinforcement.names import SPACES

if TYPE_CHECKING:
    from credit.dag.experiment import Cell, Experiment

PAIRED = "paired"
Place = tuple[str, str, str]  # experiment PAPER/NAME, data set, method


@dataclass(frozen=True)
class Source:
    """The cell whose final weights another one starts from.

    seed: of the run that serves all, or "paired": every run starts from that of its own seed.
    """

    place: Place
    seed: int | str

    def seeds(self, seeds: tuple[int, ...]) -> tuple[int, ...]:
        """Seeds of the runs that runs with `seeds` start from."""
        return seeds if self.seed == PAIRED else (self.seed,)


def source(given: Mapping[str, Any] | None, place: Place) -> Source | None:
    """The source that `start` names for the cell at `place`, which gives what is left out."""
    if given is None:
        return None
    own = dict(zip(("experiment", "dataset", "method"), place))
    return Source(tuple(given.get(key, own[key]) for key in own), given.get("seed", PAIRED))


def check_sources(everything: Mapping[str, Experiment], cell: Callable[..., Cell]) -> None:
    """Every cell that starts from weights must find them. Raises ConfigError with all problems.

    everything: all experiments, narrowed or not. cell: the resolved cell of a place.
    """
    problems = [
        f"{experiment.path}: methods.{method}: {problem}"
        for key, experiment in everything.items()
        for dataset, method, found in starting(experiment)
        for problem in _problems((key, dataset, method), found, everything, cell)
    ]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def starting(experiment: Experiment) -> Iterator[tuple[str, str, Source]]:
    """(data set, method, source) of the cells of an experiment that start from weights, also of those left out."""
    for dataset in experiment.body["datasets"]:
        for method in experiment.body["methods"]:
            if found := experiment.source(dataset, method):
                yield dataset, method, found


def _problems(place: Place, found: Source, everything: Mapping[str, Experiment], cell: Callable) -> Iterator[str]:
    key, dataset, method = found.place
    if key not in everything:
        yield one_of("start.experiment", key, everything)
        return
    upstream = everything[key]
    for kind, name in (("dataset", dataset), ("method", method)):
        if name not in upstream.body[f"{kind}s"]:
            yield one_of(f"start.{kind}", name, upstream.body[f"{kind}s"])
            return
    where = f"{method} on {dataset} of {key}"
    if found.place == place:
        yield f"start leads back to {where}, which is itself; name another experiment, data set or method"
    elif upstream.source(dataset, method):
        yield f"start leads to {where}, which itself starts from weights; a run may start only from one that does not"
    elif "weights" not in upstream.keep(dataset, method):
        yield f"start leads to {where}, which keeps no weights; write keep: [weights] in {upstream.path}"
    else:
        here, there = cell(*place), cell(*found.place)
        if there.run["vary"]:
            yield f"start leads to {where}, which varies {', '.join(there.run['vary'])}: each seed has several weights"
        yield from _shape_problems(here.run, there.run, where)


def _shape_problems(run: Mapping[str, Any], upstream: Mapping[str, Any], where: str) -> Iterator[str]:
    mine, theirs = (parameter_shapes(one["net"], *task_shape(one)) for one in (run, upstream))
    for name in {**mine, **theirs}:
        if mine.get(name) != theirs.get(name):
            shapes = [" x ".join(map(str, shapes.get(name, ("none",)))) for shapes in (mine, theirs)]
            yield f"start: net: parameter {name} is {shapes[0]}, that of {where} is {shapes[1]}"
            return


def task_shape(run: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """(shape of an input, number of outputs) of a run, from its spec."""
    task, data = run["task"], run.get("data")
    if "environment" in task:
        space = SPACES[task["environment"]]
        return (space.observations,), space.actions
    if not data:
        fixed = hyperparameters.constants(TASKS.module(task["name"])).get("shape")
        if fixed:
            return (fixed[0],), fixed[1]
        given = task.get("input"), task.get("target")  # lists, where the task is given its samples
        if all(given):
            return (len(given[0]),), len(given[1])
        return (task.get("n_in", 1),), task.get("n_out", 1)
    entry = catalog.dataset(data["name"])
    if targets(task) != "classes":
        return tuple(entry.image), math.prod(entry.image)
    return tuple(entry.image), entry.classes // classes_an_output(task)


def classes_an_output(task: Mapping[str, Any]) -> int:
    """How many classes of a data set share an output, as the task's part declares; 1 where it says nothing."""
    return hyperparameters.constants(TASKS.module(task["name"])).get("classes_an_output", 1)


def check_seeds(chosen: Mapping[str, Experiment], everything: Mapping[str, Experiment], cell: Callable) -> None:
    """What is to run must find the seeds that it starts from. Raises ConfigError with all problems."""
    problems: list[str] = []
    for key, experiment in chosen.items():
        for dataset, method, found in starting(experiment):
            if dataset not in experiment.datasets or method not in experiment.methods:
                continue
            there, search = everything[found.place[0]], cell(key, dataset, method).search
            for name, seeds in (("seeds", range(experiment.seeds)), ("search.seeds", (search or {}).get("seeds", ()))):
                wanted = found.seeds(tuple(seeds)) if seeds else ()
                if absent := [seed for seed in wanted if seed >= there.seeds]:
                    given = f"start.seed = {found.seed!r} with {name} = {list(seeds)}"
                    known = f"{there.key} has no seed {', '.join(map(str, absent))}, only 0 to {there.seeds - 1}"
                    problems.append(f"{experiment.path}: methods.{method}: {given}: {known}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def upstream_only(chosen: Mapping[str, Experiment], everything: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Experiments that are left out, but from whose weights chosen ones start."""
    needed = {found.place[0] for e in chosen.values() for _, _, found in starting(e)}
    return {key: everything[key] for key in everything if key in needed and key not in chosen}
