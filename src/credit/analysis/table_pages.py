"""Summaries, and the comparison with published numbers, as pages for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from credit.analysis.names import dataset_title, method_label, metric_label
from credit.analysis.pages import Cell, Column, Sheet, columns_of, page, records, said
from credit.analysis.readable import NOTHING, labels, laid_out
from credit.analysis.tables import CONFIDENCE, VERIFIED
from credit.analysis.values import values

COMPARISON = "Every published number beside the one found here"
NO_VERDICT = "No number of these results is held against a published one."
INTERVAL = f"{100 * CONFIDENCE:g} % interval"
SUMMARY = {
    "method": "method", "dataset": "data set", "metric": "number", "select": "of which epoch", "mean": "mean",
    "sd": "standard deviation", "n": "runs", "diverged": "diverged", "ci_low": f"{INTERVAL}, from",
    "ci_high": f"{INTERVAL}, to", "unit": "unit", "epochs": "epochs",
}  # fmt: skip
FIDELITY = {
    "artefact": "in", "dataset": "data set", "method": "method", "metric": "number", "unit": "unit",
    "published_mean": "published mean", "reproduced_mean": "mean found here", "verdict": "verdict",
    "published_sd": "published sd", "reproduced_sd": "sd found here", "published_n": "published runs",
    "reproduced_n": "runs found here", "distance_in_published_sd": "distance in published sd", "reason": "reason",
    "anchor": "what the published number is", "source": "source",
}  # fmt: skip


def summary_page(
    summary: pd.DataFrame,
    title: str,
    options: Mapping[str, Any],
    rules: Mapping[str, str],
    scale: str = "paper",
    file: str = "",
) -> str:
    """A summary as it is read, `mean ± sd (n)`, and below it every number of it; both can be sorted.

    options, rules: see `credit.analysis.readable.laid_out`. file: of the summary, for what a page cannot hold.
    """
    found = laid_out(summary, options, rules)
    if found is None:
        return page(title, [], about=said(NOTHING, scale))
    heads = [Column(f"{place}", head, number=True) for place, head in enumerate(found.heads)]
    rows = [{"": label, **{f"{place}": Cell(*cell) for place, cell in enumerate(cells)}} for label, cells in found.rows]
    read = Sheet([Column("", found.kind, head=True), *heads], rows, file=file, notes=found.notes)
    names = labels(summary, values(options), rules)
    named = summary.assign(**{key: summary[key].map(known) for key, known in names.items()})
    columns = columns_of(named, SUMMARY)
    every = Sheet(columns, records(named, (c.key for c in columns)), "Every number", file)
    return page(title, [read, every], about=said("", scale))


def fidelity_page(verdicts: pd.DataFrame, scale: str, file: str = "") -> str:
    """Published numbers beside those found here. verdicts: see `credit.analysis.fidelity.compare`."""
    counts = verdicts["verdict"].value_counts()
    about = f"{len(verdicts)} published numbers: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}."
    if verdicts.empty:
        return page(COMPARISON, [], about=said(NO_VERDICT, scale))
    called = {
        "dataset": verdicts["dataset"].map(dataset_title),
        "method": verdicts["method"].map(method_label),
        "metric": verdicts["metric"].map(metric_label),
    }
    named = verdicts.assign(**called)
    columns = columns_of(named, FIDELITY)
    sheet = Sheet(columns, records(named, (c.key for c in columns)), "", file, _dagger(verdicts))
    return page(COMPARISON, [sheet], about=said(about, scale))


def _dagger(verdicts: pd.DataFrame) -> list[str]:
    copies = verdicts[VERIFIED].eq(False) if VERIFIED in verdicts else pd.Series(dtype=bool)
    found = ", ".join(sorted(verdicts.loc[copies, "dataset"].unique())) if copies.any() else ""
    return [f"Made from a copy of the data whose checksum is not the published one: {found}."] if found else []
