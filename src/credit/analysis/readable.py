"""Summaries as tables for people, with names as papers print them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from credit.analysis.names import (
    column_label,
    dataset_order,
    dataset_title,
    method_label,
    method_order,
    metric_label,
    recorded_label,
)
from credit.analysis.tables import VERIFIED
from credit.analysis.values import WHOLE, Value, values
from credit.errors import ConfigError

NOT_RUN, NOT_ASKED = "not run", "–"
NOTHING = "No run has these values."
KINDS = {"method": "method", "dataset": "data set", "metric": "number"}
EVENTS = (
    "Means over events ± sample standard deviation (number of events, pooled over runs); of rises, fits and fitted "
    "means ± is over runs drawn again (number of runs). 95 % intervals are in the CSV file."
)


@dataclass(frozen=True)
class Matrix:
    """A summary laid out. kind: what its rows are; heads: of the columns; rows: (label, cells), each a text with the
    mean that it begins with, None where it has none; notes: sentences below it."""

    kind: str
    heads: list[str]
    rows: list[tuple[str, list[tuple[str, float | None]]]]
    notes: list[str]


def matrix(summary: pd.DataFrame, title: str, options: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """The summary as a Markdown table of `mean ± sd (n)`, with a title and footnotes, see `laid_out`."""
    found = laid_out(summary, options, rules)
    if found is None:
        return f"# {title}\n\n{NOTHING}\n"
    lines = [f"# {title}", "", "| | " + " | ".join(found.heads) + " |", "|---|" + "---|" * len(found.heads)]
    lines += [f"| {label} | " + " | ".join(text for text, _ in cells) + " |" for label, cells in found.rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in found.notes)]) + "\n"


def laid_out(summary: pd.DataFrame, options: Mapping[str, Any], rules: Mapping[str, str]) -> Matrix | None:
    """The summary as rows and columns of `mean ± sd (n)`; None where it has no rows.

    Where there is no number, `not run` says that there is no run, a dash that its runs are not asked for this one.
    options: rows and columns, two of "method" (default: rows), "dataset" (default: columns) and "metric"; those of
    `summarise`. Where there are several of the third, each column stands for one of them.
    rules: {method: learning rule}, of those whose name does not say it.
    """
    down, across = options.get("rows", "method"), options.get("columns", "dataset")
    kinds = ("method", "dataset", "metric")
    if down == across or not {down, across} <= set(kinds):
        raise ConfigError(f"options.rows, columns = {down!r}, {across!r}; must be two of: {', '.join(kinds)}")
    (third,) = set(kinds) - {down, across}
    if summary.empty:
        return None
    wanted = values(options)
    names = labels(summary, wanted, rules)
    cells = {(row[down], row[across], row[third]): (_cell(row), row["mean"]) for row in summary.to_dict("records")}
    columns = [(c, t) for c in names[across] for t in names[third] if any((r, c, t) in cells for r in names[down])]
    run = set(zip(summary["method"], summary["dataset"], strict=True))
    for place in [(r, c, t) for r in names[down] for c, t in columns if (r, c, t) not in cells]:
        kind = dict(zip((down, across, third), place, strict=True))
        missing = (kind["method"], kind["dataset"]) not in run and any(_asks(value, **kind) for value in wanted)
        cells[place] = (NOT_RUN if missing else NOT_ASKED), None
    heads = [names[across][c] + (f": {names[third][t]}" if len(names[third]) > 1 else "") for c, t in columns]
    rows = [(label, [cells[r, c, t] for c, t in columns]) for r, label in names[down].items()]
    notes = _footnotes(summary, wanted)
    notes += [f"{NOT_ASKED}: not asked for."] if any(text == NOT_ASKED for text, _ in cells.values()) else []
    return Matrix(KINDS[down], heads, rows, notes)


def labels(summary: pd.DataFrame, wanted: list[Value], rules: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """{method, dataset, metric: {name: what it is called}}, in the order in which they are listed."""
    names = {
        "method": {m: method_label(m, rules.get(m)) for m in method_order(summary["method"], rules)},
        "dataset": {d: dataset_title(d) for d in dataset_order(summary["dataset"])},
        "metric": {m: _heading(m, unit, wanted) for m, unit in _units(summary).items()},
    }
    for dataset in _unverified(summary):
        names["dataset"][dataset] += " †"
    return names


def _unverified(summary: pd.DataFrame) -> set[str]:
    return set(summary.loc[~summary[VERIFIED].astype(bool), "dataset"])


def _units(summary: pd.DataFrame) -> dict[str, str]:
    """{metric: its unit}, in order of appearance; "" where it has several."""
    found: dict[str, set[str]] = {}
    for row in summary.to_dict("records"):
        found.setdefault(row["metric"], set()).add(row.get("unit", ""))
    return {metric: units.pop() if len(units) == 1 else "" for metric, units in found.items()}


def _heading(metric: str, unit: str, wanted: list[Value]) -> str:
    """What a number is called; of a grid's numbers, what was chosen, or at which value it was found."""
    value = next((v for v in wanted if v.named(metric)), None)
    if value is None or metric == value.label:
        return metric_label(metric, unit)
    label = metric_label(value.label)
    if value.best:
        return f"{column_label(value.best)} of the best {label}"
    return f"{label} at {column_label(value.each)} {metric.removeprefix(value.label)[1:]}" + (
        f" [{unit}]" if unit else ""
    )


def _asks(value: Value, method: str, dataset: str, metric: str) -> bool:
    """Whether a value is meant for a method on a data set, under this name."""
    limits = ((value.where.get("method"), method), (value.where.get("dataset"), dataset))
    return value.named(metric) and all(
        limit is None or name in (limit if isinstance(limit, list | tuple) else [limit]) for limit, name in limits
    )


def mean_and_sd(mean: float, sd: float) -> str:
    """`2.08 ± 0.15`: two significant digits of the standard deviation; powers of ten where shorter."""
    if not np.isfinite(mean):
        return "–"
    if not np.isfinite(sd):
        return f"{mean:.4g}"
    power = int(np.floor(np.log10(abs(mean)))) if mean else 0
    if mean and not -3 <= power < 5:
        inner = mean_and_sd(mean / 10.0**power, sd / 10.0**power)
        return f"({inner})·10^{power}"
    digits = 1 - int(np.floor(np.log10(float(f"{sd:.1e}")))) if sd > 0 else 2
    digits = min(max(digits, 0), 6)
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def _cell(row: Mapping[str, Any]) -> str:
    value = mean_and_sd(row["mean"], row["sd"])
    lost = f", {row['diverged']} diverged" if row["diverged"] else ""
    return f"{value} ({row['n']}{lost})"


def _of_diverged(value: Value) -> str:
    if value.diverged is None:
        return "Runs that diverged are counted and left out of mean and standard deviation."
    since = ", from the epoch on in which they did" if value.select in WHOLE else ""
    return f"Runs that diverged count with {value.diverged:g}{since}."


def _footnotes(summary: pd.DataFrame, wanted: list[Value]) -> list[str]:
    recorded = set(summary["metric"])
    there = {value.label for value in wanted if any(map(value.named, recorded))}
    missing = [value.label for value in wanted if value.label not in there]
    notes = [f"Recorded by no run: {', '.join(dict.fromkeys(missing))}."] if missing else []
    notes += [
        *_descriptions([value for value in wanted if value.label in there]),
        EVENTS
        if "events" in set(summary.get("select", ()))
        else "Mean ± sample standard deviation (number of runs); 95 % t intervals of the mean are in the CSV file.",
    ]
    if "fit" in set(summary.get("select", ())):
        notes.append(
            "Fits are least squares of means over runs to means of the values measured, each method at the point of "
            "its grid with the smallest error; ± of an error: over seeds drawn again, each time fitted anew."
        )
    if summary["diverged"].any():
        notes += dict.fromkeys(map(_of_diverged, wanted))
    if _unverified(summary):
        notes.append("† made from a copy of the data whose checksum is not the published one.")
    return notes


def _descriptions(wanted: list[Value]) -> list[str]:
    """A sentence for each kind of value; where kinds share a name, it says for which rows each is meant."""
    kinds: dict[str, dict[str, list[Value]]] = {}
    for value in wanted:
        kinds.setdefault(value.label, {}).setdefault(_describe(value), []).append(value)
    notes: dict[str, None] = {}
    for sentences in kinds.values():
        rows = {sentence: _rows(alike) for sentence, alike in sentences.items()}
        for sentence, mine in rows.items():
            apart = [c for c in mine if any(other.get(c) != mine[c] for other in rows.values())]
            of = "; ".join(f"{column} {', '.join(mine[column])}" for column in apart)
            notes[f"{sentence[:-1]} ({of})." if of else sentence] = None
    return list(notes)


def _rows(values: list[Value]) -> dict[str, list[str]]:
    """{column: what it may be}, of the columns that all of these values limit."""
    limits = [{c: v if isinstance(v, list | tuple) else [v] for c, v in value.where.items()} for value in values]
    shared = [column for column in limits[0] if all(column in limit for limit in limits)]
    return {column: list(dict.fromkeys(str(v) for limit in limits for v in limit[column])) for column in shared}


def _describe(value: Value) -> str:
    """What a value is, as a sentence."""
    label = recorded_label(value.metric, "%" if value.percent else value.unit)
    label += f" of layer {value.layer}" if value.layer else ""
    if value.select == "slowness":
        of = "the mean curve" if value.average else "single runs"
        return f"Slowness of {of}: fit to the first {value.points} points of 1 - {value.metric}."
    when = {
        "final": "after the last epoch",
        "at": f"after epoch {value.epoch}",
        "lowest": "lowest of all epochs" if value.first is None else f"lowest of the first {value.first} epochs",
        "mean": f"mean over {'all' if value.first is None else f'the first {value.first}'} epochs of training",
    }.get(value.select, f"at the epoch of lowest {metric_label(value.chooser)}")
    when += f", mean of the last {value.window} records" if value.window > 1 else ""
    if value.best:
        extreme = "highest" if value.highest else "lowest"
        decides = f"{extreme} mean {metric_label(value.by)}" if value.by else f"{extreme} mean of these very numbers"
        when += f", at the {column_label(value.best)} of the {decides} over runs"
    when += f", minus that of {method_label(value.minus)}, run by run of the same seed" if value.minus else ""
    name = f"{metric_label(value.name)}: " if value.name else ""
    text = f"{name}{label}, {when}" + (", of the mean curve." if value.average else ".")
    return text[:1].upper() + text[1:]
