"""What a fit of runs to measured data is told: groups, conditions, and whether there is an offset. Loads no pandas.

An option `fit` of tables and figures holds `groups`, a list of {name, metric, datasets}, `conditions`, {name: pattern
of data sets}, and `offset`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from credit.errors import ConfigError, one_of

DATA = "data"  # the method of measured values, which have a group's name as metric
NUMBERS = ("fit_", "fitted_")  # what the names of a fit's numbers begin with


@dataclass(frozen=True)
class Group:
    """What corresponds to a group of measured values: a metric of runs, on data sets whose names match a pattern."""

    metric: str
    datasets: str = "*"


@dataclass(frozen=True)
class Fitting:
    """groups: {name: Group}, of which the measured values have the names.

    conditions: {name: pattern of data sets} that are fitted apart. Where several data sets of a condition belong to a
    group, they are points of the grid, like values of a varied setting. offset: scale and offset, or scale alone.
    """

    groups: dict[str, Group]
    conditions: dict[str, str]
    offset: bool = False

    def datasets(self, condition: str, group: str, names: Iterable[str]) -> list[str]:
        """Those of the data sets `names` that a condition has for a group."""
        patterns = self.conditions[condition], self.groups[group].datasets
        return [name for name in names if all(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def fitting(options: Mapping[str, Any], where: str = "options") -> Fitting:
    """What `options["fit"]` says. Raises ConfigError for what it does not know or lacks, beginning with `where`."""
    given, where = options["fit"], f"{where}.fit"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} = {given!r}; must hold groups and conditions, and may hold offset")
    for key in given:
        if key not in ("groups", "conditions", "offset"):
            raise ConfigError(one_of(f"{where}: key", key, ("groups", "conditions", "offset")))
    groups, conditions = given.get("groups"), given.get("conditions")
    if not isinstance(given.get("offset", False), bool):
        raise ConfigError(f"{where}.offset = {given['offset']!r}; must be true or false")
    needed = 2 + given.get("offset", False)
    if not isinstance(groups, (list, tuple)) or len(groups) < needed:
        raise ConfigError(
            f"{where}.groups = {groups!r}; must list at least {needed} groups, {{name: ..., metric: ...}}"
        )
    named = isinstance(conditions, Mapping) and conditions and all(isinstance(p, str) for p in conditions.values())
    if not named:
        raise ConfigError(f"{where}.conditions = {conditions!r}; must name patterns of data sets, {{NAME: PATTERN}}")
    found: dict[str, Group] = {}
    for i, group in enumerate(groups):
        here, known = f"{where}.groups[{i}]", {"name", "metric", "datasets"}
        texts = isinstance(group, Mapping) and all(isinstance(value, str) for value in group.values())
        if not texts or not {"name", "metric"} <= {*group} <= known:
            raise ConfigError(
                f"{here} = {group!r}; must hold name and metric, and may hold a pattern of datasets, all of them text"
            )
        if group["name"] in found:
            raise ConfigError(f"{here}.name = {group['name']!r}; another group has this name")
        found[group["name"]] = Group(**{key: value for key, value in group.items() if key != "name"})
    return Fitting(found, dict(conditions), given.get("offset", False))


def number_of(name: str) -> tuple[str, float] | None:
    """(prefix, number) of a data set that is named after a setting, such as std_0_1 for 0.1; None for others."""
    found = re.fullmatch(r"(?:.+_)?([a-z]+)_(\d+)(?:_(\d+))?", name)
    return (found[1], float(f"{found[2]}.{found[3] or 0}")) if found else None
