"""`credit list`: what there is, how it is called, and whether it is made, stale or missing.

Specifications are compared, contents are not read: `credit verify` does that. Loads no torch.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from credit.analysis.names import METHODS
from credit.dag import judged
from credit.dag.cost import experiment_jobs
from credit.dag.endings import FILES
from credit.dag.made import recipe
from credit.dag.resultfile import read_record
from credit.dag.targets import Workflow
from credit.data import catalog
from credit.errors import ConfigError, DataError, one_of
from credit.provenance.spec import canonical_json

MADE, STALE, MISSING = "made", "stale", "missing"
WORST = (MADE, STALE, MISSING)
SECTIONS = ("experiments", "figures", "tables", "data", "methods")


class Row(NamedTuple):
    """Something that has a name. state: asked for only where the row is shown."""

    name: str
    title: str
    state: Callable[[], str]


def listing(workflow: Workflow, pattern: str | None = None) -> list[str]:
    """Lines of all sections, or of what matches: the name of a section, part of a name or title, or a glob.

    Raises ConfigError where nothing does.
    """
    sections = {"experiments": _experiments, "figures": _figures, "tables": _tables, "data": _data, "methods": _methods}
    rows = {name: list(found(workflow)) for name, found in sections.items()}
    shown = rows if pattern is None else {pattern: rows[pattern]} if pattern in rows else _matching(rows, pattern)
    if not any(shown.values()):
        names = [*sections, *(row.name for found in rows.values() for row in found)]
        raise ConfigError(one_of("PATTERN", pattern, names))
    lines = []
    for section, found in shown.items():
        width = max((len(row.name) for row in found), default=0)
        states = [row.state() for row in found]
        wide = max(map(len, states), default=0)
        lines += [section] if found else []
        lines += [
            f"  {row.name:{width}}  {state:{wide}}  {row.title}".rstrip()
            for row, state in zip(found, states, strict=True)
        ]
    return lines


def _matching(rows: dict[str, list[Row]], pattern: str) -> dict[str, list[Row]]:
    glob = pattern.lower() if any(c in pattern for c in "*?[") else f"*{pattern.lower()}*"
    return {
        section: [row for row in found if any(fnmatch.fnmatchcase(t.lower(), glob) for t in (row.name, row.title))]
        for section, found in rows.items()
    }


def _experiments(workflow: Workflow) -> Iterator[Row]:
    for key, experiment in workflow.experiments.items():
        yield Row(key, experiment.body.get("title", ""), lambda key=key: _of_jobs(workflow, key))


def _of_jobs(workflow: Workflow, key: str) -> str:
    """`made`, `stale` or `missing` of all runs and searches alike, else how many there are of each."""
    counts = dict.fromkeys(WORST, 0)
    jobs = list(experiment_jobs(workflow, key))
    for path, spec in jobs:
        choice = Path(path).with_name("choice.json").as_posix() if spec.get("searched") else None
        if workflow.present[path] is None:
            counts[STALE if Path(path).exists() else MISSING] += 1
        else:
            stale = workflow.present.stale(canonical_json(spec), path, choice=choice)
            counts[STALE if stale else MADE] += 1
    if len(jobs) in counts.values():
        return next(state for state, count in counts.items() if count == len(jobs))
    parts = [f"{counts[MADE]} of {len(jobs)} made", *([f"{counts[STALE]} stale"] if counts[STALE] else [])]
    return ", ".join(parts)


def _figures(workflow: Workflow) -> Iterator[Row]:
    for name, figure in workflow.figures.items():
        paths = [f"{workflow.results}/figures/{name}.{end}" for end in FILES["figures"]]
        yield Row(paths[0], figure.entry.get("title", ""), lambda paths=paths: _of_files(workflow, paths))


def _tables(workflow: Workflow) -> Iterator[Row]:
    for name, table in workflow.tables.items():
        paths = [f"{workflow.results}/tables/{name}.{end}" for end in FILES["tables"]]
        yield Row(paths[0], table.entry.get("title", ""), lambda paths=paths: _of_files(workflow, paths))
    paths = judged.paths(workflow)
    yield Row(paths[0], judged.TITLE, lambda: _of_files(workflow, paths))


def _of_files(workflow: Workflow, paths: list[str]) -> str:
    """The worst state of the files of a table or figure."""
    return max((_of_file(workflow, path) for path in paths), key=WORST.index)


def _of_file(workflow: Workflow, path: str) -> str:
    if not Path(path).exists():
        return MISSING
    try:
        made_from = canonical_json(read_record(path)["spec"])
    except DataError:
        return STALE
    return MADE if made_from == canonical_json(recipe(workflow, path)[0]) else STALE


def _data(workflow: Workflow) -> Iterator[Row]:
    declared = {name: facts for of_file in catalog.sources(catalog.used()).values() for name, facts in of_file.items()}
    for name in catalog.load():
        yield Row(name, declared[name].get("title", ""), lambda name=name: _of_data(Path(workflow.data_path(name))))


def _of_data(path: Path) -> str:
    if not path.exists():
        return MISSING
    from credit.data.load import state_of  # numpy, only where there is something to read

    try:
        state_of(path)
    except DataError:  # changed, or prepared by other code
        return STALE
    return MADE


def _methods(workflow: Workflow) -> Iterator[Row]:
    """Every method, with its learning rule where that has another name, and in how many experiments it is."""
    found: dict[str, list[str]] = {}
    for experiment in workflow.experiments.values():
        for method in experiment.methods:
            found.setdefault(method, []).append((experiment.body["methods"][method] or {}).get("rule", method))
    for method in sorted(found):
        rules = sorted(set(found[method]))
        called = ", ".join(METHODS.get(rule, rule) for rule in rules)
        title = called if rules == [method] else f"{called} ({', '.join(rules)})"
        count = len(found[method])
        yield Row(method, title, lambda count=count: f"in {count} experiment{'' if count == 1 else 's'}")
