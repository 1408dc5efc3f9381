"""Every reference number beside the one that this project finds, with a verdict.

A row is `not run` where no summary holds its number as the reference states it: of this artefact, data set, method (or
of the form that may stand in for it) and metric, at paper scale, in its unit and after its number of epochs, where not
all runs diverged before. It is `not counted` where there is no number, where no experiment repeats it (kind `apart`),
or where a setting was chosen since it gives the number (kind `fitted`). All others get one of three words by the rule
of their kind, see `credit.analysis.judgement`: `consistent`, `inconsistent`, `inconclusive`.

`anchor` says what a reference is, see `credit.analysis.values.ANCHORS`. It decides nothing, but numbers printed in a
paper are counted apart from all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit.analysis.judgement import CONSISTENT, INCONCLUSIVE, INCONSISTENT, VERDICTS, Judgement, judge
from credit.analysis.summaries import SUMMARY, read_summary
from credit.analysis.tables import VERIFIED, read_csv
from credit.analysis.values import ANCHORS, KEY, KINDS, NUMBERS, PUBLISHED
from credit.errors import DataError, one_of

NOT_RUN, NOT_COUNTED = "not run", "not counted"
OUTCOMES = (*VERDICTS, NOT_RUN, NOT_COUNTED)
APART = {"apart": "no experiment repeats it", "fitted": "a setting was chosen since it gives this number"}
REPORT = [*KEY, "unit", "kind", "reference_mean", "reference_sd", "reference_n", "anchor", "source"]
REPORT += ["reproduced_method", "reproduced_mean", "reproduced_sd", "reproduced_n", "distance_in_reference_sd"]
REPORT += ["limit_low", "limit_high", "false_failure", "power", "verdict", "reason", VERIFIED]


def read_published(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Reference numbers of all papers. Raises DataError for wrong columns or numbers and repeated rows."""
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
            if np.isfinite(row["mean"]) and row["kind"] not in KINDS:
                raise DataError(one_of(f"{path}, line {line}: kind", row["kind"], KINDS))
        unsourced = table.index[table[[*KEY, "source"]].isna().any(axis=1)]
        if len(unsourced):
            raise DataError(f"{path}, line {unsourced[0] + 2}: {', '.join(KEY)} and source must not be empty")
        tables.append(table)
    published = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PUBLISHED)
    repeated = published[published.duplicated(KEY)]
    if len(repeated):
        raise DataError(f"config/published: {' '.join(repeated.iloc[0][KEY])} is given twice; keep one row")
    return published.astype({"kind": object, "stand_in": object}).fillna({"unit": "", "kind": "", "stand_in": ""})


def read_summaries(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Tables that `credit.analysis.summaries.summarise` made. Raises DataError for others and for repeated rows."""
    tables = [table for table in map(read_summary, paths) if len(table)]  # the columns of an empty one have no type
    summaries = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=SUMMARY)
    repeated = summaries[summaries.duplicated(KEY)]
    if len(repeated):
        raise DataError(f"tables: {' '.join(repeated.iloc[0][KEY])} is given twice; give every table once")
    return summaries


def compare(published: pd.DataFrame, summaries: pd.DataFrame, scale: str = "paper") -> pd.DataFrame:
    """One row per reference number, in their order, with the number found here, the distance and the verdict.

    A published accuracy is compared with the error found: both are shown as accuracies.
    scale: the scale of the run; only "paper" can be judged.
    """
    found = {tuple(row[k] for k in KEY): row for row in summaries.to_dict("records")}
    papers = published.to_dict("records")
    rows = []
    for paper in papers:
        method, ours = _counterpart(paper, found)
        judged = _judged(paper, ours, scale, papers)
        mean = ours["mean"] if ours else np.nan
        rows.append(
            {
                **{k: paper[k] for k in (*KEY, "unit", "kind", "anchor", "source")},
                "reference_mean": paper["mean"],
                "reference_sd": paper["std"],
                "reference_n": paper["n"],
                "reproduced_method": method,
                "reproduced_mean": mean,
                "reproduced_sd": ours["sd"] if ours else np.nan,
                "reproduced_n": ours["runs"] if ours else 0,
                "distance_in_reference_sd": (mean - paper["mean"]) / paper["std"] if paper["std"] else np.nan,
                "limit_low": judged.low if np.isfinite(judged.low) else np.nan,
                "limit_high": judged.high if np.isfinite(judged.high) else np.nan,
                "false_failure": judged.false_failure,
                "power": judged.power,
                "verdict": judged.verdict,
                "reason": judged.reason,
                VERIFIED: ours[VERIFIED] if ours else None,
            }
        )
    table = pd.DataFrame(rows, columns=REPORT)
    return table.astype({"reference_n": "Int64", "reproduced_n": "Int64"})


def _counterpart(paper: Mapping[str, Any], found: Mapping[tuple, dict]) -> tuple[str | None, dict[str, Any] | None]:
    """Our method and row for a reference: its own, else that of the form that may stand in for it.

    An accuracy is found from the error, which is what we record.
    """
    artefact, dataset, method, metric = (paper[k] for k in KEY)
    for name in filter(None, (method, paper["stand_in"])):
        if ours := found.get((artefact, dataset, name, metric)):
            return name, ours
        error = found.get((artefact, dataset, name, metric.removesuffix("accuracy") + "error"))
        if metric.endswith("_accuracy") and error:
            whole = 100.0 if paper["unit"] == "%" else 1.0
            turned = {"mean": whole - error["mean"]}
            turned |= {"ci_low": whole - error["ci_high"], "ci_high": whole - error["ci_low"]}
            return name, {**error, **turned}
    return None, None


def _judged(
    paper: Mapping[str, Any], ours: Mapping[str, Any] | None, scale: str, papers: Sequence[Mapping[str, Any]]
) -> Judgement:
    """Verdict and reason, by the rule in this module's docstring."""
    if np.isnan(paper["mean"]):
        return Judgement(NOT_COUNTED, "no number was found")
    if paper["kind"] in APART:
        return Judgement(NOT_COUNTED, APART[paper["kind"]])
    if ours is None:
        return Judgement(NOT_RUN, "")
    if scale != "paper":
        return Judgement(NOT_RUN, f"run at {scale} scale")
    if ours["unit"] != paper["unit"]:
        return Judgement(NOT_RUN, f"unit {ours['unit']!r} instead of {paper['unit']!r}")
    lasting = ours["diverged"] < ours["runs"] + ours["lost"]
    if lasting and np.isfinite(paper["epoch"]) and paper["epoch"] != ours["epochs"]:
        return Judgement(NOT_RUN, f"after {ours['epochs']} epochs instead of {paper['epoch']:.0f}")
    return judge(paper, ours, _rivals(paper, papers))


def _rivals(paper: Mapping[str, Any], papers: Sequence[Mapping[str, Any]]) -> list[float]:
    """Reference means that the references tell from this one, and that an interval must not all hold.

    Of other methods for the same number; where the artefact has none, of the same number at other points of a grid or
    other epochs; where it has none either, of other methods for the same number in the other artefacts of the paper.
    """
    stem = _stem(paper["metric"])
    own, points, elsewhere = [], [], []
    for other in papers:
        apart = abs(other["mean"] - paper["mean"]) > np.nansum([other["precision"], paper["precision"]])
        if not apart or any(other[k] != paper[k] for k in ("dataset", "unit")) or other["kind"] in APART:
            continue
        here, same = other["artefact"] == paper["artefact"], other["metric"] == paper["metric"]
        if same and other["method"] != paper["method"]:
            if here or other["artefact"].partition("/")[0] == paper["artefact"].partition("/")[0]:
                (own if here else elsewhere).append(other["mean"])
        elif here and stem and not same and _stem(other["metric"]) == stem:
            points.append(other["mean"])
    return own or points or elsewhere


def _stem(metric: str) -> str:
    """A number's name without the point or epoch that it ends in; "" where it ends in none."""
    found = re.fullmatch(r"(.+)_[0-9.]+(?:e-?[0-9]+)?", metric)
    return found[1] if found else ""


# ---- counting


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many rows have which outcome, by what the references are.

    table: as `compare` returns it. Rows: ANCHORS that occur (without "none"), and "all but printed". Columns:
    OUTCOMES but those not counted; `by_chance`, how many of those judged consistent or inconsistent chance alone
    would make inconsistent; `unverified`, how many with a verdict come from a copy of the data that is not the
    official one.
    """
    table = table[table["verdict"] != NOT_COUNTED]
    groups = {anchor: table["anchor"] == anchor for anchor in ANCHORS if (table["anchor"] == anchor).any()}
    groups["all but printed"] = table["anchor"] != "printed"
    rows = {}
    for name, mine in groups.items():
        part = table[mine]
        said = part["verdict"].isin([CONSISTENT, INCONSISTENT])
        copied = part["verdict"].isin([*VERDICTS]) & (part[VERIFIED].astype(str).str.lower() == "false")
        rows[name] = {
            **{outcome: int((part["verdict"] == outcome).sum()) for outcome in (*VERDICTS, NOT_RUN)},
            "by_chance": float(part.loc[said, "false_failure"].sum()),
            "unverified": int(copied.sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def sentence(count: Mapping[str, Any]) -> str:
    """`5 consistent, 0 inconsistent, 13 inconclusive, 26 not run`, of a row of `counts`."""
    return ", ".join(f"{count[outcome]:.0f} {outcome}" for outcome in (CONSISTENT, INCONSISTENT, INCONCLUSIVE, NOT_RUN))
