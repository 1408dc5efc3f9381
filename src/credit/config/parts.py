"""Which code a training job runs: the parts that its spec names, found without importing them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit.config import hyperparameters
from credit.config.formats import FORMATS
from credit.config.registry import Registry
from credit.errors import ConfigError

METHODS = Registry("credit.methods", "method", others=("base", "fast"))
NETS = Registry("credit.nets", "net", parts=("conv", "dense", "resnet"))
TASKS = Registry("credit.tasks", "task", others=("augment", "base", "pixels", "selection", "suited", "supervised"))
PROBES = Registry("credit.probes", "probe", others=("base", "distances"))
REGISTRIES: dict[str, Registry] = {"methods": METHODS, "nets": NETS, "tasks": TASKS, "probes": PROBES}


def targets(task: Mapping[str, Any]) -> str:
    """What the targets of a task are, as its part declares: "classes", "inputs" (its own inputs) or other "values".

    A part declares one of these, or which of them each value of its field `target` means.
    """
    module = TASKS.module(task["name"])
    declared = hyperparameters.constants(module).get("targets")
    if declared is None:
        raise ConfigError(f"{module}: no `targets: ClassVar[str]`, which says whether a task has classes or values")
    return declared if isinstance(declared, str) else declared[task["target"]]


def part_modules(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Modules of the learning rule, net, task and probes of a run, and what those name in turn."""
    parts = [
        (METHODS.module(spec["rule"]["name"]), spec["rule"]),
        (NETS.module(spec["net"]["kind"]), spec["net"]),
        (TASKS.module(spec["task"]["name"]), spec["task"]),
        *((PROBES.module(probe["probe"]), probe) for probe in spec.get("probes") or []),
    ]
    found = {module for module, _ in parts}
    for module, settings in parts:
        known, constants = hyperparameters.fields(module), hyperparameters.constants(module)
        for field, kind in constants.get("uses", {}).items():
            found.add(REGISTRIES[kind].module(settings.get(field, known[field].default)))
    excludes = (hyperparameters.constants(module).get("excludes") for module in found)
    return tuple(sorted(found | {name.rpartition(".")[0] for name in excludes if name}))


def code_roots(spec: Mapping[str, Any], script: str | Path) -> tuple[str, ...]:
    """Roots of a job's code digest: its script, the parts, and the preparation of the data that it reads."""
    data = spec.get("data") or {}
    readers = (FORMATS.module(data["format"]),) if "format" in data else ()
    return (*_scripts(str(script), bool(data)), *readers, *part_modules(spec))


@functools.cache  # links are followed once, not for every job
def _scripts(script: str, prepares: bool) -> tuple[str, ...]:
    path = Path(script).resolve()
    return (str(path), str(path.with_name("prepare.py"))) if prepares else (str(path),)
