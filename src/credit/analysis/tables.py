"""From the records of training jobs to tidy tables, and what is read from them.

`collect` joins the result files of training jobs (`credit.provenance.records`) into one tidy table, one row per record.
Figures and summaries (`credit.analysis.summaries`) read tables only, so that all that is drawn can be read as a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from credit.errors import ConfigError, DataError, NothingLeft, one_of
from credit.provenance.files import write_text
from credit.provenance.records import read_result

IDENTITY = ["paper", "experiment", "dataset", "method", "seed"]
RECORD = ["epoch", "step", "metric", "layer", "value"]
VERIFIED = "data_verified"
TEXT = ["paper", "experiment", "dataset", "method", "metric", "layer"]
CONFIDENCE = 0.95
# Before 3.0, pandas' own reader of numbers is exact only when told; later ones warn when they are.
EXACT = {"float_precision": "round_trip"} if int(pd.__version__.partition(".")[0]) < 3 else {}


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


def read_shard(path: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
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


def chosen(records: Iterable[dict[str, Any]], seeds: int | None, epochs: int | None) -> list[dict[str, Any]]:
    """Records of the first seeds and epochs of a run that may be longer.

    What was not measured at the last of these epochs goes on to where it next was.
    """
    mine = [r for r in records if seeds is None or r["seed"] < seeds]
    if epochs is None:
        return mine
    last: dict[str, int] = {}
    for record in mine:
        if record["epoch"] >= epochs:
            last[record["metric"]] = min(record["epoch"], last.get(record["metric"], record["epoch"]))
    return [r for r in mine if r["epoch"] <= last.get(r["metric"], epochs)]


def collect(
    paths: Sequence[str | Path], of: Mapping[str, str] | None = None, seeds: int | None = None,
    epochs: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Join the records of training jobs into one tidy table, in the order of `paths`.

    of: what every job must be part of, e.g. {"paper": "dfc", "experiment": "fig3"}. seeds, epochs: how many of each to
    take, see `chosen`.
    Returns columns paper, experiment, dataset, method, seed, what else varies between members (sorted),
    epoch, step, metric, layer, value (NaN where it was not finite) and data_verified.
    Raises DataError for a damaged file, a job of another experiment, or a member that two files hold.
    """
    rows: list[dict[str, Any]] = []
    extra: set[str] = set()
    owner: dict[tuple, str] = {}
    for path in map(str, paths):
        spec, records = read_shard(path)
        for key, expected in (of or {}).items():
            if spec[key] != expected:
                raise DataError(f"{path}: {key} is {spec[key]!r}, expected {expected!r}; remove this input")
        identity = {key: spec[key] for key in IDENTITY[:4]}
        verified = bool(spec["data"]["verified"]) if spec.get("data") else True  # a task may need no data set
        for record in chosen(records, seeds, epochs):
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
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""], **EXACT)


# ---- selections ------------------------------------------------------------------------------------------


def varied_columns(table: pd.DataFrame) -> list[str]:
    """Columns of what varies between members besides the seed, e.g. the learning rates of a grid."""
    return [c for c in table if c not in {*IDENTITY, *RECORD, VERIFIED}]


def where(table: pd.DataFrame, conditions: Mapping[str, Any] | None) -> pd.DataFrame:
    """Rows whose columns have the given value, or one of a list. Raises NothingLeft for an unknown column."""
    for column, wanted in (conditions or {}).items():
        if column not in table:
            raise NothingLeft(one_of("options.where", column, table.columns))
        table = table[table[column].isin(wanted if isinstance(wanted, list) else [wanted])]
    return table


def one_setting(table: pd.DataFrame, but: str = "") -> pd.DataFrame:
    """The table, if only seeds vary within a method; else ConfigError: a mean over a grid means nothing.

    but: a column whose values are told apart, which must be there. Raises NothingLeft where it is not.
    """
    varied = varied_columns(table)
    if but and but not in varied:
        raise NothingLeft(one_of("options: column of a grid", but, varied))
    for column in ["paper", "experiment", *(c for c in varied if c != but)]:
        values = table.groupby(["dataset", "method"])[column].unique()
        for (dataset, method), found in values.items():
            if len(found) > 1:
                some = ", ".join(map(str, found[:5]))
                raise ConfigError(
                    f"{method} on {dataset} has several values of {column} ({some}); "
                    f"choose one with options.where.{column}"
                )
    return table
