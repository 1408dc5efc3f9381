"""Which code a training job runs: the parts that its spec names, found without importing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit.config import hyperparameters
from credit.config.registry import Registry

METHODS = Registry("credit.methods", "method", others=("base", "fast"))
NETS = Registry("credit.nets", "net", parts=("conv", "dense"))
TASKS = Registry("credit.tasks", "task", others=("base", "supervised"))
PROBES = Registry("credit.probes", "probe")
REGISTRIES: dict[str, Registry] = {"methods": METHODS, "nets": NETS, "tasks": TASKS, "probes": PROBES}


def part_modules(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Modules of the learning rule, net, task and probes of a run, and of the parts that those name in turn."""
    parts = [
        (METHODS.module(spec["rule"]["name"]), spec["rule"]),
        (NETS.module(spec["net"]["kind"]), spec["net"]),
        (TASKS.module(spec["task"]["name"]), spec["task"]),
        *((PROBES.module(probe["probe"]), probe) for probe in spec.get("probes") or []),
    ]
    found = {module for module, _ in parts}
    for module, settings in parts:
        known = hyperparameters.fields(module)
        for field, kind in hyperparameters.constants(module).get("uses", {}).items():
            found.add(REGISTRIES[kind].module(settings.get(field, known[field].default)))
    return tuple(sorted(found))


def code_roots(spec: Mapping[str, Any], script: str | Path) -> tuple[str, ...]:
    """Roots of a job's code digest: its script, the parts, and the preparation of the data that it reads."""
    script = Path(script).resolve()
    scripts = [script, script.with_name("prepare.py")] if spec.get("data") else [script]
    return (*map(str, scripts), *part_modules(spec))
