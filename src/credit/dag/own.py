"""Data sets of the user's own in a workflow: those that cannot be used, and those that have changed. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from credit.dag.targets import Workflow
from credit.data import catalog
from credit.data.own import changes, survey
from credit.errors import ConfigError


def problems(workflow: Workflow) -> list[str]:
    """Why own data of the chosen experiments cannot be used, a line each."""
    found = []
    for name in _used(workflow):
        try:
            catalog.dataset(name)
        except ConfigError as error:
            found.append(str(error))
    return found


def notices(workflow: Workflow) -> list[str]:
    """What has changed of the own data of the chosen experiments since it was read, a line each."""
    return [
        f"{name}: {change} since it was read: what was made from it is stale, and is made again; to keep it put the "
        "old content back; give its sha256 in the catalogue to have changes refused"
        for name in _used(workflow)
        if (change := changed(workflow, name))
    ]


@cache  # one data set, many results
def changed(workflow: Workflow, name: str) -> str:
    """What has changed in the files of a data set since they were read; empty for nothing, and for other data sets."""
    entry = catalog.load()[name]
    found = entry.own is not None and catalog.usable(name)
    manifest = Path(workflow.settings.data_folder, "raw", f"{name}.json")
    return changes.changed(found, survey.paths(entry), manifest) if found else ""


def paths(name: str) -> str:
    """{part: file or folder} of a data set as the job that records it takes them, JSON; empty for other data sets."""
    entry = catalog.load()[name]
    return "" if entry.own is None else json.dumps({part: str(path) for part, path in survey.paths(entry).items()})


def _used(workflow: Workflow) -> Iterator[str]:
    bodies = [(e.datasets, e.body["datasets"]) for e in workflow.experiments.values()]
    names = {(body[dataset] or {}).get("data") for datasets, body in bodies for dataset in datasets}
    return iter(sorted(name for name in names - {None} if catalog.load()[name].own is not None))
