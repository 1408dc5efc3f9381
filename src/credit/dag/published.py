"""Files that only the last jobs read, checked when the workflow is: published numbers, curves, captions. No pandas."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from credit.analysis.fitting import DATA
from credit.analysis.fitting import NUMBERS as FITTED
from credit.analysis.pooling import pooling
from credit.analysis.values import ANCHORS, KEY, KINDS, NUMBERS, PUBLISHED, values
from credit.config.parts import METHODS
from credit.dag.artefacts import CURVES
from credit.dag.checks import RECORDED
from credit.dag.experiment import Experiment
from credit.data import catalog
from credit.errors import nearest, one_of

LOOKED_AT = 200  # lines of a file of curves


class Names(NamedTuple):
    """What numbers may be published for: tables, and what there is anywhere, so that less may be run than is published.

    metrics: names of the values of all tables, errors also as accuracies. prefixes: of names that end in a number.
    """

    tables: set[str]
    datasets: set[str]
    methods: set[str]
    metrics: set[str]
    prefixes: tuple[str, ...] = ()


def problems(everything: Mapping[str, Experiment], root: Path, folder: Path) -> list[str]:
    """What is wrong with the files that jobs read last, each with file and line number.

    root: of the repository. folder: of its configuration.
    """
    names = _names(everything)
    numbers = sorted((folder / "published").glob("*.csv"))
    found = [problem for path in numbers for problem in _numbers(path, names)]
    kinds = [x.body.get(kind, {}) for x in everything.values() for kind in ("figures", "tables")]
    entries = [entry for kind in kinds for entry in kind.values()]
    for path in dict.fromkeys(folder / CURVES / name for e in entries for name in e.get("references", ())):
        found += _curves(path) if path.is_file() else ()
    for path in dict.fromkeys(root / "workflow" / "report" / e["caption"] for e in entries if "caption" in e):
        found += _caption(path) if path.is_file() else ()
    return found


def _names(everything: Mapping[str, Experiment]) -> Names:
    entries = {f"{e.paper}/{k}": entry for e in everything.values() for k, entry in e.body.get("tables", {}).items()}
    wanted = [value for entry in entries.values() for value in values(entry.get("options", {}))]
    metrics = {name for value in wanted for name in (value.label, value.second if value.best else value.label)}
    for options in (entry.get("options", {}) for entry in entries.values()):
        metrics |= set(pooling(options).names) if "events" in options else set()
    named = {kind: set().union(*(e.names[kind] for e in everything.values())) for kind in ("datasets", "methods")}
    turned = {m.removesuffix("error") + "accuracy" for m in metrics if m.endswith("_error")}
    prefixes = tuple({f"{value.label}_" for value in wanted if value.each})
    fitted = [entry["options"]["fit"] for entry in entries.values() if "fit" in entry.get("options", {})]
    datasets = named["datasets"].union(catalog.load(), *(fit["conditions"] for fit in fitted))
    return Names({*entries}, datasets, named["methods"], metrics | turned, prefixes + FITTED * bool(fitted))


def _numbers(path: Path, names: Names) -> Iterator[str]:
    """What is wrong with a file of published numbers."""
    lines = list(_lines(path))
    if not lines or lines[0][1] != PUBLISHED:
        yield f"{path}, line 1: must hold the columns {','.join(PUBLISHED)}"
        return
    seen: dict[tuple[str, ...], int] = {}
    for number, cells in lines[1:]:
        where = f"{path}, line {number}"
        if len(cells) != len(PUBLISHED):
            yield f"{where}: holds {len(cells)} fields; must hold {len(PUBLISHED)}"
            continue
        row = dict(zip(PUBLISHED, cells, strict=True))
        for name in (*KEY, "source"):
            if not row[name]:
                yield f"{where}: {name} is empty"
        for name in NUMBERS:
            if row[name] and not _finite(row[name]):
                yield f"{where}: {name} = {row[name]!r}; must be a number or empty"
        yield from _anchored(where, row)
        first = seen.setdefault(tuple(row[k] for k in KEY), number)
        if first != number:
            yield f"{where}: {' '.join(row[k] for k in KEY)} stands in line {first}; keep one"
        yield from _known(where, row, names)


def _anchored(where: str, row: Mapping[str, str]) -> Iterator[str]:
    """What a number is, and how it is judged, must be said, and that there is none where there is none."""
    anchor, some = row["anchor"], bool(row["mean"])
    if anchor not in ANCHORS:
        yield one_of(f"{where}: anchor", anchor, ANCHORS)
    elif (anchor == "none") == some:
        expected = "what the number is" if some else "'none', there is no number"
        yield f"{where}: anchor = {anchor!r}; must be {expected}"
    if some and row["kind"] not in KINDS:
        yield one_of(f"{where}: kind", row["kind"], KINDS)


def _known(where: str, row: Mapping[str, str], names: Names) -> Iterator[str]:
    """What is misspelt would count as `not run` for ever."""
    paper = row["artefact"].partition("/")[0]
    tables = [name for name in names.tables if name.partition("/")[0] == paper]
    if row["artefact"] not in tables:
        if nearest(row["artefact"], tables):  # there may be numbers of tables that are not made
            yield one_of(f"{where}: artefact", row["artefact"], tables)
        return
    if row["dataset"] not in names.datasets:
        yield one_of(f"{where}: dataset", row["dataset"], names.datasets)
    for column in ("method", "stand_in"):
        if row[column] and row[column] not in names.methods and row[column].partition("-")[0] not in METHODS.names():
            yield one_of(f"{where}: {column}", row[column], names.methods)
    if row["metric"] not in names.metrics and not row["metric"].startswith(names.prefixes):
        yield one_of(f"{where}: metric", row["metric"], names.metrics)


def measured(paths: Iterable[Path]) -> set[str]:
    """Groups of which files of curves hold measured values, see `credit.analysis.fits`."""
    found: set[str] = set()
    for path in paths:
        head, *rest = [cells for _, cells in _lines(path)] or [[]]
        rows = [dict(zip(head, cells, strict=False)) for cells in rest]
        found |= {row.get("metric", "") for row in rows if row.get("method") == DATA and _finite(row.get("value", ""))}
    return found


def _curves(path: Path) -> Iterator[str]:
    """What is wrong with the beginning of a file of curves, which may be long."""
    lines = list(islice(_lines(path), LOOKED_AT))
    lacking = [name for name in RECORDED if not lines or name not in lines[0][1]]
    if lacking:
        yield f"{path}, line 1: lacks the columns {', '.join(lacking)}"
        return
    head = lines[0][1]
    for number, cells in lines[1:]:
        if len(cells) != len(head):
            yield f"{path}, line {number}: holds {len(cells)} fields; must hold {len(head)}"
            return
        row = dict(zip(head, cells, strict=True))
        wrong = [name for name in ("epoch", "step", "value") if row[name] and not _finite(row[name])]
        if wrong:
            yield f"{path}, line {number}: {wrong[0]} = {row[wrong[0]]!r}; must be a number"
            return


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number, fields) of every line that is not empty; nothing of a file that is no text."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            yield from ((reader.line_num, cells) for cells in reader if cells)
    except (OSError, UnicodeDecodeError, csv.Error):
        return


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _caption(path: Path) -> Iterator[str]:
    """Braces of the template that are not closed on their line; Jinja itself would be slow to ask."""
    try:
        lines: Iterable[str] = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield f"{path}: cannot be read: {error}"
        return
    for number, line in enumerate(lines, 1):
        for begin, end in (("{{", "}}"), ("{%", "%}"), ("{#", "#}")):
            if line.count(begin) != line.count(end):
                yield f"{path}, line {number}: {begin} and {end} must stand in pairs on a line, for Jinja"
                return
