"""Summaries of tidy tables: mean over seeds, spread and interval, as CSV and as a readable table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from credit.analysis.names import dataset_order, dataset_title, method_styles, metric_label
from credit.analysis.selection import Value, member_values, values
from credit.analysis.tables import VERIFIED, mean_ci, one_setting, where
from credit.errors import ConfigError

SUMMARY = ["artefact", "dataset", "method", "metric", "select", "mean", "sd", "n", "diverged"]
SUMMARY += ["ci_low", "ci_high", "unit", "epochs", VERIFIED]


def summarise(table: pd.DataFrame, artefact: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Mean over seeds of every method on every dataset, with sd, n and a 95 % t interval.

    options: where, and the settings of one value or of several under `values`, see `credit.analysis.selection.Value`.
    Runs that diverged are counted in `diverged` and left out of the mean, or count with the value's own `diverged`.
    `epochs` is the length of training (of the longest run), or the epoch selected with "at". Rows come in order of
    appearance; a value that no run has gets none. Raises ConfigError for an empty selection, and for two values of one
    name.
    """
    table = where(table, options.get("where"))
    if table.empty:
        raise ConfigError(f"{artefact}: no rows are left by options.where = {options.get('where')!r}")
    wanted = values(options)
    rows = [row for value in wanted for row in _rows(table, artefact, value)]
    if not rows and all(value.select != "at" for value in wanted):
        raise ConfigError(
            f"{artefact}: no run recorded both {wanted[0].metric} and what options.select = {wanted[0].select!r} needs"
        )
    summary = pd.DataFrame(rows, columns=SUMMARY)
    for row in summary[summary.duplicated(["dataset", "method", "metric"])].to_dict("records"):
        place = f"{row['method']} on {row['dataset']}"
        raise ConfigError(
            f"{artefact}: options.values: two of {place} are called {row['metric']!r}; give each a `name`"
        )
    return summary


def _rows(table: pd.DataFrame, artefact: str, value: Value) -> list[tuple]:
    table = one_setting(where(table, value.where))
    if table.empty:
        return []
    runs = member_values(table, replace(value, select="final") if value.average else value)
    scale, unit = (100.0, "%") if value.percent else (1.0, value.unit)
    rows = []
    for (dataset, method), run in runs.groupby(["dataset", "method"], sort=False):
        mean, sd, n, low, high = mean_ci(scale * run["value"].dropna())
        if value.average:
            mean, sd, low, high = scale * _of_mean_curve(table, value, dataset, method), np.nan, np.nan, np.nan
        label = (artefact, dataset, method, value.label, value.select)
        state = (int(run["epochs"].max()), bool(run[VERIFIED].all()))
        rows.append((*label, mean, sd, n, int(run["diverged"].sum()), low, high, unit, *state))
    return rows


def _of_mean_curve(table: pd.DataFrame, value: Value, dataset: str, method: str) -> float:
    """The value of the curve that is the mean over the runs which did not diverge."""
    rows = table[(table["dataset"] == dataset) & (table["method"] == method)]
    lost = rows.loc[rows["metric"] == "diverged", "seed"].unique()
    rows = rows[~rows["seed"].isin(lost)]
    curves = rows.groupby(["dataset", "method", "metric", "layer", "epoch"], as_index=False)["value"].mean()
    averaged = curves.assign(seed=0, step=0, **{VERIFIED: True})
    found = member_values(averaged, value)["value"]
    return float(found.iloc[0]) if len(found) else np.nan


# ---- readable tables


def matrix(summary: pd.DataFrame, title: str, options: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """The summary as a Markdown table of `mean ± sd (n)`, with a title and footnotes.

    options: rows and columns, two of "method" (default: rows), "dataset" (default: columns) and "metric"; those of
    `summarise`. Where there are several of the third, each column stands for one of them.
    rules: {method: learning rule}, see `credit.analysis.names.method_styles`.
    """
    down, across = options.get("rows", "method"), options.get("columns", "dataset")
    kinds = ("method", "dataset", "metric")
    if down == across or not {down, across} <= set(kinds):
        raise ConfigError(f"options.rows, columns = {down!r}, {across!r}; must be two of: {', '.join(kinds)}")
    (third,) = set(kinds) - {down, across}
    if summary.empty:
        return f"# {title}\n\nNo run has these values.\n"
    names = {
        "method": {m: look.label for m, look in method_styles(summary["method"], rules).items()},
        "dataset": {d: dataset_title(d) for d in dataset_order(summary["dataset"])},
        "metric": {m: metric_label(m) for m in dict.fromkeys(summary["metric"])},
    }
    unverified = set(summary.loc[~summary[VERIFIED].astype(bool), "dataset"])
    for dataset in unverified:
        names["dataset"][dataset] += " †"
    cells = {(row[down], row[across], row[third]): _cell(row) for row in summary.to_dict("records")}
    columns = [(c, t) for c in names[across] for t in names[third] if any((r, c, t) in cells for r in names[down])]
    heads = [names[across][c] + (f": {names[third][t]}" if len(names[third]) > 1 else "") for c, t in columns]
    lines = [f"# {title}", "", "| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(columns)]
    lines += [
        f"| {label} | " + " | ".join(cells.get((r, c, t), "not run") for c, t in columns) + " |"
        for r, label in names[down].items()
    ]
    return "\n".join([*lines, "", *_footnotes(summary, values(options), bool(unverified))]) + "\n"


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
    return f"Runs that diverged count with {value.diverged:g}."


def _footnotes(summary: pd.DataFrame, wanted: list[Value], unverified: bool) -> list[str]:
    notes = [
        *dict.fromkeys(_describe(value) for value in wanted if value.label in set(summary["metric"])),
        "Mean ± sample standard deviation (number of runs); 95 % t intervals of the mean are in the CSV file.",
    ]
    if summary["diverged"].any():
        notes += dict.fromkeys(map(_of_diverged, wanted))
    if unverified:
        notes.append("† made from a copy of the data whose checksum is not the published one.")
    return [f"- {note}" for note in notes]


def _describe(value: Value) -> str:
    """What a value is, as a sentence."""
    label = metric_label(value.metric, "%" if value.percent else value.unit)
    label += f" of layer {value.layer}" if value.layer else ""
    if value.select == "slowness":
        of = "the mean curve" if value.average else "single runs"
        return f"Slowness of {of}: fit to the first {value.points} points of 1 - {value.metric}."
    when = {
        "final": "after the last epoch",
        "at": f"after epoch {value.epoch}",
        "lowest": "lowest of all epochs",
    }.get(value.select, f"at the epoch of lowest {metric_label(value.chooser)}")
    when += f", mean of the last {value.window} records" if value.window > 1 else ""
    name = f"{metric_label(value.name)}: " if value.name else ""
    text = f"{name}{label}, {when}" + (", of the mean curve." if value.average else ".")
    return text[:1].upper() + text[1:]
