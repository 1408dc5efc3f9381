"""Summaries of tidy tables: mean over seeds, spread and interval. How things are called does not matter here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit.analysis.events import pooled
from credit.analysis.fits import Fitted, fits, parameters
from credit.analysis.fitting import fitting
from credit.analysis.intervals import sign_flip
from credit.analysis.pooling import pooling
from credit.analysis.selection import best_limits, chosen_values, member_values
from credit.analysis.tables import VERIFIED, mean_ci, one_setting, read_csv, where
from credit.analysis.values import Value, values
from credit.errors import ConfigError, DataError, NothingLeft

# sd: of what n counts, runs or events; se: standard error of the mean, over independent runs, of which there are
# `runs`; lost: runs that diverged and are not in the mean. Tables older than these three are read as tables of runs.
SPREAD = ["se", "runs", "lost"]
SUMMARY = ["artefact", "dataset", "method", "metric", "select", "mean", "sd", "n", "diverged"]
SUMMARY += ["ci_low", "ci_high", "unit", "epochs", VERIFIED, *SPREAD, "sign_flip"]


def summarised(
    table: pd.DataFrame, artefact: str, options: Mapping[str, Any], references: pd.DataFrame | None = None
) -> pd.DataFrame:
    """As `summarise`; where nothing of it was run, a summary without rows, and a line that says why."""
    try:
        return summarise(table, artefact, options, references)
    except NothingLeft as note:
        print(note, file=sys.stderr)
        return pd.DataFrame(columns=SUMMARY)


def summarise(
    table: pd.DataFrame, artefact: str, options: Mapping[str, Any], references: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean over seeds of every method on every dataset, with sd, n and a 95 % t interval.

    options: where, and the settings of one value or of several under `values`, see `credit.analysis.selection.Value`.
    Runs that diverged are counted in `diverged`, and left out of the mean and counted in `lost`, or count with the
    value's own `diverged`. Of the chosen value of a grid the limits are the lowest and highest that cannot be told
    from it, see `credit.analysis.selection.best_limits`. `sign_flip` is the p of differences of eight pairs and more.
    `epochs` is the length of training (of the longest run), or the epoch selected with "at". Rows come in order of
    appearance; a value that no run has gets none, and a line that says so. With `events` among the options, what
    `credit.analysis.events` says instead; with `fit`, the numbers of the best fits to the values measured, which
    `references` holds, see `credit.analysis.fits`. Raises NothingLeft where no value has any, ConfigError for two
    values of one name.
    """
    table = where(table, options.get("where"))
    if table.empty:
        raise NothingLeft(f"{artefact}: no rows are left by options.where = {options.get('where')!r}")
    if "events" in options:
        return pd.DataFrame(pooled(table, artefact, pooling(options)), columns=SUMMARY)
    if "fit" in options:
        found = fits(table, references, fitting(options))
        return pd.DataFrame([row for one in found for row in _of_fit(artefact, one)], columns=SUMMARY)
    wanted, rows, missing = values(options), [], []
    for value in wanted:
        try:
            rows += _rows(table, artefact, value)
        except NothingLeft as note:
            missing.append(f"{artefact}: {note}")
    if not rows and all(value.select != "at" for value in wanted):
        needed = f"no run recorded both {wanted[0].metric} and what options.select = {wanted[0].select!r} needs"
        raise NothingLeft("; ".join(missing) or f"{artefact}: {needed}")
    for note in missing:
        print(note, file=sys.stderr)
    summary = pd.DataFrame(rows, columns=SUMMARY)
    for row in summary[summary.duplicated(["dataset", "method", "metric"])].to_dict("records"):
        place = f"{row['method']} on {row['dataset']}"
        raise ConfigError(
            f"{artefact}: options.values: two of {place} are called {row['metric']!r}; give each a `name`"
        )
    return summary


def _rows(table: pd.DataFrame, artefact: str, value: Value) -> list[tuple]:
    table = where(table, value.where)
    if table.empty:
        return []
    table = one_setting(table, value.column)
    runs = chosen_values(table, replace(value, select="final") if value.average else value)
    scale, unit = (100.0, "%") if value.percent else (1.0, value.unit)
    rows = []
    keys = ["dataset", "method", *([value.each] if value.each else [])]
    limits = best_limits(table, value) if value.best and not value.minus else {}
    for (dataset, method, *point), run in runs.groupby(keys, sort=False):
        sound = scale * run["value"].dropna()
        mean, sd, n, low, high = mean_ci(sound)
        se, lost = sd / np.sqrt(n) if n else np.nan, len(run) - n
        if value.average:
            mean, se = (scale * number for number in _of_mean_curve(table, value, dataset, method))
            sd = low = high = np.nan
        place, name = (artefact, dataset, method), value.at(*point) if point else value.label
        state = (int(run["epochs"].max()), bool(run[VERIFIED].all()))
        flip = sign_flip(sound.to_numpy()) if value.minus else np.nan
        counts = (int(run["diverged"].sum()), low, high, unit, *state, se, n, lost, flip)
        rows.append((*place, name, value.select, mean, sd, n, *counts))
        if value.best and not value.minus:
            at, spread = float(run[value.best].iloc[0]), limits.get((dataset, method), (np.nan, np.nan))
            counts = (0, *spread, "", *state, np.nan, n, lost, np.nan)
            rows.append((*place, value.second, value.select, at, np.nan, n, *counts))
    return rows


def _of_fit(artefact: str, fit: Fitted) -> list[tuple]:
    """Error with its spread over seeds, scale, offset and point of the grid of a fit; means of its scaled values.

    Standard errors are over seeds drawn again and fitted anew, as are the limits of scale, offset and point.
    """
    place, n, end = (artefact, fit.condition, fit.method), len(fit.raw), ("", fit.epochs, fit.verified)
    single = {"fit_scale": fit.scale} | ({} if fit.offset is None else {"fit_offset": fit.offset})
    single |= {f"fit_{name}": number for name, number in parameters(fit.at).items()}
    error = (fit.error, fit.error_sd, n, 0, fit.error_low, fit.error_high, *end, fit.error_sd, n, 0, np.nan)
    rows = [(*place, "fit_error", "fit", *error)]
    for name, number in single.items():
        se, low, high = fit.drawn.get(name, (np.nan,) * 3)
        rows.append((*place, name, "fit", number, np.nan, n, 0, low, high, *end, se, n, 0, np.nan))
    for group, runs in fit.values.items():
        mean, sd, n, low, high = mean_ci(runs)
        se = fit.drawn.get(f"fitted_{group}", (np.nan,) * 3)[0]
        rows.append((*place, f"fitted_{group}", "fit", mean, sd, n, 0, low, high, *end, se, n, 0, np.nan))
    return rows


def _of_mean_curve(table: pd.DataFrame, value: Value, dataset: str, method: str) -> tuple[float, float]:
    """The value of the curve that is the mean over the runs which did not diverge, and its jackknife standard error."""
    rows = table[(table["dataset"] == dataset) & (table["method"] == method)]
    lost = rows.loc[rows["metric"] == "diverged", "seed"].unique()
    rows = rows[~rows["seed"].isin(lost)]
    seeds = rows["seed"].unique()
    without = [_averaged(rows[rows["seed"] != seed], value) for seed in seeds] if len(seeds) > 2 else []
    se = float(np.sqrt((len(without) - 1) * np.var(without))) if without else np.nan
    return _averaged(rows, value), se


def _averaged(rows: pd.DataFrame, value: Value) -> float:
    curves = rows.groupby(["dataset", "method", "metric", "layer", "epoch"], as_index=False)["value"].mean()
    averaged = curves.assign(seed=0, step=0, **{VERIFIED: True})
    found = member_values(averaged, value)["value"] if len(averaged) else ()
    return float(found.iloc[0]) if len(found) else np.nan


def read_summary(path: str | Path) -> pd.DataFrame:
    """A table that `summarise` made. Raises DataError for others. In one older than `SPREAD` every n counts runs."""
    table = read_csv(path)
    later = [*SPREAD, "sign_flip"]
    if missing := [c for c in SUMMARY if c not in table and c not in later]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; expected a table that summarise.py wrote")
    if "se" not in table:
        n = table["n"].where(table["n"] > 0)
        table = table.assign(se=table["sd"] / np.sqrt(n), runs=table["n"], lost=table["diverged"])
    return table.reindex(columns=SUMMARY).fillna({"unit": ""})


def as_published(summaries: pd.DataFrame, varied: Iterable[Sequence[str]]) -> pd.DataFrame:
    """Summaries without those that are of other settings than the experiments': what was varied repeats nothing.

    varied: (artefact, data set, method).
    """
    cells = {tuple(cell) for cell in varied}
    own = [cell not in cells for cell in zip(*(summaries[key] for key in ("artefact", "dataset", "method")))]
    return summaries[own]
