"""Tables and figures of fits, held against measured values and what the runs will record, before any job. No pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from credit.analysis.fitting import Fitting, fitting
from credit.dag import published
from credit.dag.artefacts import CURVES
from credit.dag.experiment import Experiment
from credit.dag.recorded import recorded
from credit.errors import ConfigError, one_of

Runs = Sequence[tuple[Experiment, str, str]]


def problems(entry: Mapping[str, Any], folder: Path, runs: Runs, place: str) -> Iterator[str]:
    """A fit must have measured values of every group, and runs that record what corresponds to it.

    entry: the figure or table. folder: of the configuration. runs: (experiment, data set, method) that are left.
    """
    try:
        settings = fitting(entry["options"], f"{place}.options")
    except ConfigError as error:
        yield str(error)
        return
    known = published.measured(folder / CURVES / name for name in entry.get("references", ()))
    for group in settings.groups:
        if group not in known:
            there = ", ".join(sorted(known)) or "none"
            yield f"{place}.references: hold no measured values of group {group!r}; there are: {there}"
    for condition in titles if isinstance(titles := entry["options"].get("titles"), Mapping) else ():
        if condition not in settings.conditions:
            yield one_of(f"{place}.options.titles: condition", condition, settings.conditions)
    yield from _of_groups(settings, runs, f"{place}.options.fit")


def _of_groups(settings: Fitting, runs: Runs, place: str) -> Iterator[str]:
    names = list(dict.fromkeys(dataset for _, dataset, _ in runs))
    for condition, pattern in settings.conditions.items():
        for group, wanted in settings.groups.items():
            datasets = settings.datasets(condition, group, names)
            if not datasets:
                yield (
                    f"{place}: condition {condition!r} has no data set of group {group!r}: none of {', '.join(names)} "
                    f"matches {pattern!r} and {wanted.datasets!r}"
                )
            known = {e.cell(dataset, method).metrics for e, dataset, method in runs if dataset in datasets}
            if datasets and None not in known and not recorded(wanted.metric, frozenset().union(*known)):
                yield one_of(f"{place}.groups: {group}: metric", wanted.metric, frozenset().union(*known))
