"""What training jobs keep beside their results, as experiments and settings ask for it. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit.config import hyperparameters
from credit.config.parts import TASKS
from credit.data import catalog
from credit.errors import ConfigError, one_of
from credit.nets.geometry import parameter_shapes
from credit.provenance.kept import KINDS, kept_path
from credit.provenance.spec import members

if TYPE_CHECKING:
    from credit.dag.targets import Workflow

ITEMSIZE = {"float32": 4, "float64": 8}  # bytes of a number
SLOTS = {"sgd": 1, "adam": 2}  # numbers that an optimiser keeps for each weight
STREAMS = 12 * 5056  # bytes of a member's random streams


def chosen(names: Collection[str] | None, where: str) -> tuple[str, ...]:
    """Kinds of files that the settings ask for, in order. Raises ConfigError for names that are none."""
    for name in names or ():
        if name not in KINDS:
            raise ConfigError(f"{where}: {one_of('keep', name, KINDS)}")
    return tuple(kind for kind in KINDS if kind in (names or ()))


def predicts(task: Mapping[str, Any]) -> bool:
    """Whether a task has test samples, of which outputs could be kept."""
    evaluated = hyperparameters.constants(TASKS.module(task["name"])).get("evaluated", ())
    return "test" in evaluated and task.get("test") != 0


def problems(own: Collection[str], task: Mapping[str, Any]) -> Iterator[str]:
    """What an experiment asks for and its task has not."""
    if "predictions" in own and not predicts(task):
        yield f"keep = predictions; the task {task['name']} has no test samples, whose outputs could be kept"


def together(own: Collection[str], added: Collection[str], task: Mapping[str, Any]) -> tuple[str, ...]:
    """What a cell keeps: what its experiment says, and what the settings add as far as its task has it."""
    wanted = {*own, *(kind for kind in added if kind != "predictions" or predicts(task))}
    return tuple(kind for kind in KINDS if kind in wanted)


def beside(workflow: Workflow, result: str | Path) -> dict[str, Path]:
    """{kind: file} of what the present configuration wants kept beside the result of a training job, wherever it lies.

    Nothing for other files, and for runs that no experiment has.
    """
    from credit.dag.targets import SHARD

    found = SHARD.search(Path(result).as_posix())
    if not found or found[5] is None:
        return {}
    experiment = workflow.defined.get(f"{found[1]}/{found[2]}")
    if experiment is None or found[3] not in experiment.body["datasets"] or found[4] not in experiment.body["methods"]:
        return {}
    return {kind: kept_path(result, kind) for kind in experiment.keep(found[3], found[4])}


# ---- what it costs


def size(spec: Mapping[str, Any], keep: Collection[str], shape: Sequence[int], n_out: int) -> float:
    """Bytes of what a job with this spec keeps, estimated. shape, n_out: of an input, and the number of outputs."""
    weights = weights_size(spec, shape, n_out)
    number = ITEMSIZE[spec["train"]["dtype"]]
    slots = SLOTS.get(spec["train"]["optimizer"].get("name"), 1)
    of_one = {
        "weights": weights,
        "predictions": tested(spec) * n_out * number,
        "state": (2 + slots) * weights + STREAMS,  # about as much for the feedback weights as for the weights
    }
    return len(members(spec)) * sum(of_one[kind] for kind in keep)


def weights_size(spec: Mapping[str, Any], shape: Sequence[int], n_out: int) -> int:
    """Bytes of the weights of one network."""
    count = sum(map(math.prod, parameter_shapes(spec["net"], shape, n_out).values()))
    return count * ITEMSIZE[spec["train"]["dtype"]]


def tested(spec: Mapping[str, Any]) -> int:
    """Number of samples whose outputs a run keeps: of the test set, and of the validation set where there is one."""
    task, data = spec["task"], spec.get("data")
    if not data:
        return (task.get("test") or 0) + (task.get("validation") or 0)
    entry = catalog.dataset(data["name"])
    if "per_class" in task:
        return min((task["test_per_class"] or entry.test) * entry.classes, entry.test)
    return entry.test + (task.get("validation") or 0)
