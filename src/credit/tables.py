"""From the records of training jobs to tidy tables, and from tidy tables to summaries.

`collect` joins the result files of training jobs (`credit.records`) into one tidy table, one row per record;
`summarise` reduces tidy tables to mean, sample standard deviation, n and a confidence interval over seeds.
Figures and summaries read tables only, so that whatever is drawn can be read as a number too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from credit.errors import ConfigError, DataError, one_of
from credit.figures.names import dataset_order, dataset_title, method_styles, metric_label
from credit.records import read_result, write_text

IDENTITY = ["paper", "experiment", "dataset", "method", "seed"]
RECORD = ["epoch", "step", "metric", "layer", "value"]
VERIFIED = "data_verified"
TEXT = ["paper", "experiment", "dataset", "method", "metric", "layer"]
SUMMARY = ["artefact", "dataset", "method", "metric", "select", "mean", "sd", "n", "diverged"]
SUMMARY += ["ci_low", "ci_high", "unit", "epochs", VERIFIED]
SELECT = {"final": None, "best_validation": "validation_error", "lowest_validation": "validation_loss"}
CONFIDENCE = 0.95


class Mean(NamedTuple):
    """Mean, sample standard deviation, n and the limits of the 95 % t interval; NaN where n is too small."""

    mean: float
    sd: float
    n: int
    low: float
    high: float


def mean_ci(values: Iterable[float]) -> Mean:
    """Mean over independent runs. Values that are not finite must have been taken out before."""
    x = np.asarray(list(values), dtype=float)
    n = len(x)
    if n < 2:
        return Mean(float(x[0]) if n else np.nan, np.nan, n, np.nan, np.nan)
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * sd / np.sqrt(n)
    return Mean(mean, sd, n, mean - half, mean + half)


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """CSV with one header line; floats in the shortest form that reads back the same; empty where missing."""
    if VERIFIED in table:
        table = table.assign(**{VERIFIED: table[VERIFIED].map({True: "true", False: "false"})})
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


# ---- records of training jobs ------------------------------------------------------------------------------


def read_block(path: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Spec and records of one training job. Raises DataError for a file cut off or of another form."""
    header, records = read_result(path)
    spec, redo = header["spec"], "delete it and run the same command again"
    missing = [key for key in IDENTITY[:4] if key not in spec]
    if spec.get("data") and "verified" not in spec["data"]:
        missing.append("data.verified")
    if missing:
        raise DataError(f"{path}: the spec in its header lacks {', '.join(missing)}; {redo}")
    for number, record in enumerate(records, start=2):
        absent = [key for key in ("seed", *RECORD) if key not in record]
        if absent:
            raise DataError(f"{path}, line {number}: the record lacks {', '.join(absent)}; {redo}")
    return spec, records


def collect(paths: Sequence[str | Path], of: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Join the records of training jobs into one tidy table, in the order of `paths`.

    of: what every job must be part of, e.g. {"paper": "dfc", "experiment": "fig3"}.
    Returns columns paper, experiment, dataset, method, seed, what else varies between members (sorted),
    epoch, step, metric, layer, value (NaN where it was not finite) and data_verified.
    Raises DataError for a damaged file, a job of another experiment, or a member that two files hold.
    """
    rows: list[dict[str, Any]] = []
    extra: set[str] = set()
    owner: dict[tuple, str] = {}
    for path in map(str, paths):
        spec, records = read_block(path)
        for key, expected in (of or {}).items():
            if spec[key] != expected:
                raise DataError(f"{path}: {key} is {spec[key]!r}, expected {expected!r}; remove this input")
        identity = {key: spec[key] for key in IDENTITY[:4]}
        verified = bool(spec["data"]["verified"]) if spec.get("data") else True  # a task may need no data set
        for record in records:
            varied = sorted(record.keys() - {"seed", *RECORD})
            member = (spec["dataset"], spec["method"], record["seed"], *((k, record[k]) for k in varied))
            if owner.setdefault(member, path) != path:
                raise DataError(f"{path}: holds {member} like {owner[member]}; give every run once")
            extra.update(varied)
            rows.append({**identity, **record, VERIFIED: verified})
    table = pd.DataFrame(rows, columns=[*IDENTITY, *sorted(extra), *RECORD, VERIFIED])
    return table.astype({"value": float})


def read_table(path: str | Path) -> pd.DataFrame:
    """One tidy table. Raises DataError where it is none."""
    try:
        table = read_csv(path)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a table ({error}); delete it and run the same command again") from error
    missing = [c for c in (*IDENTITY, *RECORD, VERIFIED) if c not in table]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; expected a table that collect.py wrote")
    text = {column: table[column].fillna("") for column in TEXT}
    return table.assign(**text).astype({"value": float, VERIFIED: bool})


def read_tables(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Several tidy tables as one; a column that one of them lacks is missing (NaN) in its rows."""
    return pd.concat([read_table(path) for path in paths], ignore_index=True)


def read_csv(path: str | Path) -> pd.DataFrame:
    """A CSV in which only an empty field is missing (a method may be called NA); numbers keep every bit."""
    text = dict.fromkeys([*TEXT, "artefact", "select", "unit", "source"], str)
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])


# ---- selections and summaries ------------------------------------------------------------------------------


def varied_columns(table: pd.DataFrame) -> list[str]:
    """Columns of what varies between members besides the seed, e.g. the learning rates of a grid."""
    return [c for c in table if c not in {*IDENTITY, *RECORD, VERIFIED}]


def where(table: pd.DataFrame, conditions: Mapping[str, Any] | None) -> pd.DataFrame:
    """Rows whose columns have the given value, or one of a list. Raises ConfigError for an unknown column."""
    for column, wanted in (conditions or {}).items():
        if column not in table:
            raise ConfigError(one_of("options.where", column, table.columns))
        table = table[table[column].isin(wanted if isinstance(wanted, list) else [wanted])]
    return table


def one_setting(table: pd.DataFrame) -> pd.DataFrame:
    """The table, if only seeds vary within a method; else ConfigError: a mean over a grid means nothing."""
    for column in ["paper", "experiment", *varied_columns(table)]:
        values = table.groupby(["dataset", "method"])[column].unique()
        for (dataset, method), found in values.items():
            if len(found) > 1:
                some = ", ".join(map(str, found[:5]))
                raise ConfigError(
                    f"{method} on {dataset} has several values of {column} ({some}); "
                    f"choose one with options.where.{column}"
                )
    return table


def member_values(
    table: pd.DataFrame, metric: str, select: str = "final", validation: str | None = None
) -> pd.DataFrame:
    """One value per run: `metric` of the whole net at the selected epoch.

    table: tidy, one setting per (dataset, method).
    select: "final" is the last epoch; "best_validation" and "lowest_validation" take the first epoch at which
    `validation` (default: validation_error, validation_loss) is lowest.
    Returns columns dataset, method, seed, value (NaN where the run diverged), epochs (the last one recorded),
    diverged, data_verified. Raises ConfigError for an unknown `select` or a metric never recorded.
    """
    if select not in SELECT:
        raise ConfigError(one_of("options.select", select, SELECT))
    chooser = metric if select == "final" else (validation or SELECT[select])
    run = ["dataset", "method", "seed"]
    whole = table[table["layer"] == ""]
    for name in dict.fromkeys((metric, chooser)):
        if not (whole["metric"] == name).any():
            raise ConfigError(one_of("metric", name, whole["metric"].unique()) + " (of the whole net)")
    values = []
    for key, rows in whole.groupby(run, sort=False):
        y, c = (_by_epoch(rows, name) for name in (metric, chooser))
        diverged = (rows["metric"] == "diverged").any() or (len(y) > 0 and pd.isna(y.iloc[-1]))
        if not diverged and (y.empty or c.dropna().empty):
            continue  # this method does not have the metric: it gets no row, rather than an invented one
        value = np.nan
        if not diverged:
            epoch = y.index[-1] if select == "final" else c.idxmin()
            if epoch not in y.index:
                raise DataError(f"{key}: {chooser} is lowest at epoch {epoch}, which has no {metric}")
            value = y.loc[epoch]
        values.append((*key, value, int(rows["epoch"].max()), bool(diverged), bool(rows[VERIFIED].all())))
    return pd.DataFrame(values, columns=[*run, "value", "epochs", "diverged", VERIFIED])


def _by_epoch(rows: pd.DataFrame, metric: str) -> pd.Series:
    """Values of one metric of one run, indexed by epoch; the last one where an epoch has several."""
    rows = rows[rows["metric"] == metric].sort_values(["epoch", "step"], kind="stable")
    return rows.drop_duplicates("epoch", keep="last").set_index("epoch")["value"]


def summarise(table: pd.DataFrame, artefact: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Mean over seeds of every method on every dataset, with sd, n and a 95 % t interval.

    options: metric, select, validation (see `member_values`), where, percent (value times 100, unit %), unit.
    Runs that diverged are counted in `diverged` and left out of the mean. `epochs` is the length of training
    (of the longest run). Rows come in order of appearance. Raises ConfigError for an empty selection.
    """
    table = one_setting(where(table, options.get("where")))
    if table.empty:
        raise ConfigError(f"{artefact}: no rows are left by options.where = {options.get('where')!r}")
    metric, select = options.get("metric", "test_error"), options.get("select", "final")
    runs = member_values(table, metric, select, options.get("validation"))
    if runs.empty:
        raise ConfigError(f"{artefact}: no run recorded both {metric} and what options.select = {select!r} needs")
    scale, unit = (100.0, "%") if options.get("percent") else (1.0, options.get("unit", ""))
    rows = []
    for (dataset, method), run in runs.groupby(["dataset", "method"], sort=False):
        mean, sd, n, low, high = mean_ci(scale * run["value"].dropna())
        label = (artefact, dataset, method, metric, select)
        state = (int(run["epochs"].max()), bool(run[VERIFIED].all()))
        rows.append((*label, mean, sd, n, int(run["diverged"].sum()), low, high, unit, *state))
    return pd.DataFrame(rows, columns=SUMMARY)


# ---- readable tables ---------------------------------------------------------------------------------------


def matrix(summary: pd.DataFrame, title: str, options: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """The summary as a Markdown table of `mean ± sd (n)`, with a title and footnotes.

    options: rows and columns, one of them "method" (default: rows), the other "dataset"; those of `summarise`.
    rules: {method: learning rule}, see `credit.figures.names.method_styles`.
    """
    down, across = options.get("rows", "method"), options.get("columns", "dataset")
    if {down, across} != {"method", "dataset"}:
        raise ConfigError(f"options.rows, columns = {down!r}, {across!r}; must be 'method' and 'dataset'")
    names = {
        "method": {m: look.label for m, look in method_styles(summary["method"], rules).items()},
        "dataset": {d: dataset_title(d) for d in dataset_order(summary["dataset"])},
    }
    cells = {(row[down], row[across]): _cell(row) for row in summary.to_dict("records")}
    unverified = set(summary.loc[~summary[VERIFIED], "dataset"])
    for dataset in unverified:
        names["dataset"][dataset] += " †"
    lines = [
        f"# {title}",
        "",
        "| | " + " | ".join(names[across].values()) + " |",
        "|---|" + "---|" * len(names[across]),
    ]
    lines += [
        f"| {label} | " + " | ".join(cells.get((r, c), "not run") for c in names[across]) + " |"
        for r, label in names[down].items()
    ]
    return "\n".join([*lines, "", *_footnotes(summary, options, bool(unverified))]) + "\n"


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


def _footnotes(summary: pd.DataFrame, options: Mapping[str, Any], unverified: bool) -> list[str]:
    metric, select = options.get("metric", "test_error"), options.get("select", "final")
    label = metric_label(metric, summary["unit"].iloc[0])
    chooser = options.get("validation") or SELECT[select]
    when = "after the last epoch" if select == "final" else f"at the epoch of lowest {metric_label(chooser)}"
    notes = [
        f"{label[:1].upper()}{label[1:]}, {when}: mean ± sample standard deviation (number of runs).",
        "95 % t intervals of the mean are in the CSV file beside this one.",
    ]
    if summary["diverged"].any():
        notes.append("Runs that diverged are counted and left out of mean and standard deviation.")
    if unverified:
        notes.append("† made from a copy of the data whose checksum is not the published one.")
    return [f"- {note}" for note in notes]
