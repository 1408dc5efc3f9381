"""What a run records, as its parts declare it: names of metrics, known before any job. Loads no torch.

A part says `metrics: ClassVar` in its class: a tuple of names, or {field: {value: names}} where they depend on one of
its settings. Within a name stand `{field}`, of a list each value; `{split}`, of a task, which is evaluated on several;
`A|B`, the first that is not empty; and `*`, whatever a part adds itself.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from credit.config import hyperparameters
from credit.config.parts import METHODS, PROBES, TASKS

ALWAYS = ("train_loss", "diverged")
_FIELD = re.compile(r"\{(\w+)\}")


def metrics(run: Mapping[str, Any]) -> frozenset[str] | None:
    """Names that the runs of a cell record, with `*` where they hold more; None where a part does not declare its own.

    run: resolved settings, as in a spec.
    """
    splits = {"split": run["train"]["evaluate"]["splits"]}
    parts = [(TASKS.module(run["task"]["name"]), run["task"] | splits)]
    parts += [(PROBES.module(probe["probe"]), probe) for probe in run["probes"]]
    found = set(_declared(METHODS.module(run["rule"]["name"]), run["rule"]) or ())
    for module, settings in parts:
        names = _declared(module, settings)
        if names is None:
            return None
        found |= names
    return frozenset(found.union(ALWAYS))


def in_parts(run: Mapping[str, Any]) -> frozenset[str] | None:
    """Names that a cell may record by layer, as probes do, or by output; None where a probe declares none."""
    names = [_declared(PROBES.module(probe["probe"]), probe) for probe in run["probes"]]
    return None if None in names else by_output(run).union(*names)


def by_output(run: Mapping[str, Any]) -> frozenset[str]:
    """Names that the task of a cell records by output, whose number, counted from 1, then stands for the layer."""
    return frozenset(hyperparameters.constants(TASKS.module(run["task"]["name"])).get("by_output", ()))


def recorded(name: str, names: Collection[str]) -> bool:
    """Whether a metric is among names with `*`."""
    return name in names or any("*" in known and fnmatch.fnmatchcase(name, known) for known in names)


def recorded_some(pattern: str, names: Collection[str]) -> bool:
    """Whether what a figure shows, a name or one with `*`, is among names, which may hold the same `*`."""
    return pattern in names or any(fnmatch.fnmatchcase(known, pattern) for known in names)


def _declared(module: str, settings: Mapping[str, Any]) -> set[str] | None:
    names = hyperparameters.constants(module).get("metrics")
    if isinstance(names, Mapping):
        ((field, by_value),) = names.items()
        names = by_value[settings[field]]
    return None if names is None else {name for template in names for name in _expanded(template, settings)}


def _expanded(template: str, settings: Mapping[str, Any]) -> Iterator[str]:
    for alternative in template.split("|"):
        if found := [name for name in filled(alternative, settings) if name]:
            yield from found
            return


def fields_of(template: str) -> list[str]:
    """The settings that a name with `{field}` takes."""
    return _FIELD.findall(template)


def filled(template: str, settings: Mapping[str, Any]) -> list[str]:
    """Names that a template with `{field}` stands for, one for each value of a list."""
    field = _FIELD.search(template)
    if not field:
        return [template]
    value = settings[field[1]]
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    return [name for text in texts for name in filled(template.replace(field[0], text, 1), settings)]
