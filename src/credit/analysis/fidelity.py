"""Every published number beside the one that this project finds, with a verdict.

The rule, in this order, with m the reproduced mean:

1. `not run`: no summary holds this artefact, data set, method and metric.
2. `not checkable`: the two were not measured alike (not at paper scale, in another unit, or after another
   number of epochs than the published row states), or the row gives neither a mean with standard deviation
   or tolerance nor a range.
3. `not reproduced` if every run diverged.
4. `reproduced` if m is within `tolerance` of the published mean, where the row gives one; else if m lies in
   [low, high], where the row gives a range; else if m is within SDS published standard deviations of the
   published mean. `not reproduced` otherwise.

The published standard deviation is the spread of single runs in the paper; with it as the yardstick a verdict does
not become harsher with more seeds of ours.

`anchor` says what a published number is, see `credit.analysis.values.ANCHORS`; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit.analysis.summaries import SUMMARY, read_summary
from credit.analysis.tables import VERIFIED, read_csv
from credit.analysis.values import ANCHORS, KEY, NUMBERS, PUBLISHED
from credit.errors import DataError, one_of

SDS = 2.0
REPORT = [*KEY, "unit", "published_mean", "published_sd", "published_n", "anchor", "source"]
REPORT += ["reproduced_mean", "reproduced_sd", "reproduced_n", "distance_in_published_sd"]
REPORT += ["verdict", "reason", VERIFIED]
VERDICTS = ("reproduced", "not reproduced", "not run", "not checkable")


def read_published(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Published numbers of all papers. Raises DataError for wrong columns or numbers and repeated rows."""
    tables = []
    for path in paths:
        table = read_csv(path)
        if list(table) != PUBLISHED:
            raise DataError(f"{path}: columns are {', '.join(table)}; expected {', '.join(PUBLISHED)}")
        for column in NUMBERS:
            numbers = pd.to_numeric(table[column], errors="coerce")
            wrong = table.loc[numbers.isna() & table[column].notna(), column]
            if len(wrong):
                raise DataError(f"{path}: {column} = {wrong.iloc[0]!r}; must be a number or empty")
            table[column] = numbers.astype(float)
        for line, row in enumerate(table.to_dict("records"), 2):
            if row["anchor"] not in ANCHORS:
                raise DataError(one_of(f"{path}, line {line}: anchor", row["anchor"], ANCHORS))
        unsourced = table.index[table[[*KEY, "source"]].isna().any(axis=1)]
        if len(unsourced):
            raise DataError(f"{path}, line {unsourced[0] + 2}: {', '.join(KEY)} and source must not be empty")
        tables.append(table)
    published = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PUBLISHED)
    repeated = published[published.duplicated(KEY)]
    if len(repeated):
        raise DataError(f"config/published: {' '.join(repeated.iloc[0][KEY])} is given twice; keep one row")
    return published.fillna({"unit": ""})


def read_summaries(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Tables that `credit.analysis.summaries.summarise` made. Raises DataError for others and for repeated rows."""
    tables = [table for table in map(read_summary, paths) if len(table)]  # the columns of an empty one have no type
    summaries = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=SUMMARY)
    repeated = summaries[summaries.duplicated(KEY)]
    if len(repeated):
        raise DataError(f"tables: {' '.join(repeated.iloc[0][KEY])} is given twice; give every table once")
    return summaries


def compare(published: pd.DataFrame, summaries: pd.DataFrame, scale: str = "paper") -> pd.DataFrame:
    """One row per published number, in their order, with the reproduced one, the distance and the verdict.

    A published accuracy is compared with the error found: both are shown as accuracies.
    scale: the scale of the run; only "paper" can be judged.
    """
    found = {tuple(row[k] for k in KEY): row for row in summaries.to_dict("records")}
    rows = []
    for paper in published.to_dict("records"):
        ours = _counterpart(paper, found)
        verdict, reason = _judge(paper, ours, scale)
        mean = ours["mean"] if ours else np.nan
        rows.append(
            {
                **{k: paper[k] for k in (*KEY, "unit", "anchor", "source")},
                "published_mean": paper["mean"],
                "published_sd": paper["std"],
                "published_n": paper["n"],
                "reproduced_mean": mean,
                "reproduced_sd": ours["sd"] if ours else np.nan,
                "reproduced_n": ours["n"] if ours else 0,
                "distance_in_published_sd": (mean - paper["mean"]) / paper["std"] if paper["std"] else np.nan,
                "verdict": verdict,
                "reason": reason,
                VERIFIED: ours[VERIFIED] if ours else None,
            }
        )
    table = pd.DataFrame(rows, columns=REPORT)
    return table.astype({"published_n": "Int64", "reproduced_n": "Int64"})


def _counterpart(paper: Mapping[str, Any], found: Mapping[tuple, dict]) -> dict[str, Any] | None:
    """Our row for a published one; an accuracy is found from the error, which is what we record."""
    *place, metric = (paper[k] for k in KEY)
    if ours := found.get((*place, metric)):
        return ours
    if not metric.endswith("_accuracy"):
        return None
    error = found.get((*place, metric.removesuffix("accuracy") + "error"))
    whole = 100.0 if paper["unit"] == "%" else 1.0
    return {**error, "mean": whole - error["mean"]} if error else None


def _judge(paper: Mapping[str, Any], ours: Mapping[str, Any] | None, scale: str) -> tuple[str, str]:
    """Verdict and reason, by the rule in this module's docstring."""
    if ours is None:
        return "not run", ""
    if scale != "paper":
        return "not checkable", f"run at {scale} scale"
    if ours["unit"] != paper["unit"]:
        return "not checkable", f"unit {ours['unit']!r} instead of {paper['unit']!r}"
    if np.isfinite(paper["epoch"]) and paper["epoch"] != ours["epochs"]:
        return "not checkable", f"after {ours['epochs']} epochs instead of {paper['epoch']:.0f}"
    mean, low, high = paper["mean"], paper["low"], paper["high"]
    if np.isfinite(paper["tolerance"]) and np.isfinite(mean):
        limits, reason = (mean - paper["tolerance"], mean + paper["tolerance"]), "published mean ± tolerance"
    elif np.isfinite(low) and np.isfinite(high):
        limits, reason = (low, high), "published range"
    elif np.isfinite(mean) and np.isfinite(paper["std"]):
        half = SDS * paper["std"]
        limits, reason = (mean - half, mean + half), f"published mean ± {SDS:g} sd"
    else:
        return "not checkable", "no published value" if np.isnan(mean) else "the paper gives neither spread nor range"
    if ours["n"] == 0:
        return "not reproduced", f"all {ours['diverged']} runs diverged"
    inside = limits[0] <= ours["mean"] <= limits[1]
    return ("reproduced" if inside else "not reproduced"), f"{reason}: {limits[0]:.6g} to {limits[1]:.6g}"
