"""One number per run: which metric, of which layer, at which epoch of its curve."""

from __future__ import annotations

import numpy as np
import pandas as pd

from credit.analysis.slowness import fit_slowness
from credit.analysis.tables import VERIFIED
from credit.analysis.values import Value
from credit.errors import DataError, NothingLeft, one_of

RUN = ["dataset", "method", "seed"]


def member_values(table: pd.DataFrame, value: Value | str, select: str = "final", validation: str | None = None):
    """One value per run of a tidy table with one setting per (dataset, method).

    value: what is wanted, or the name of a metric; then `select` and `validation` say the rest, see `Value`.
    Returns columns dataset, method, seed, value (of a run that diverged: NaN, or `diverged` of the value), epochs (the
    last one recorded, or the selected one for "at"), diverged, data_verified. A run that lacks the metric or the epoch
    gets no row.
    Raises NothingLeft for a metric never recorded.
    """
    wanted = value if isinstance(value, Value) else Value(value, select=select, validation=validation)
    mine = table[table["layer"].isin({"", wanted.layer})]
    for name, layer in ((wanted.metric, wanted.layer), (wanted.chooser, wanted.chooser_layer)):
        recorded = mine.loc[mine["layer"] == layer, "metric"]
        if not (recorded == name).any():
            of = f"layer {layer!r}" if layer else "the whole net"
            raise NothingLeft(one_of("metric", name, recorded.unique()) + f" (of {of})")
    found = []
    for key, rows in mine.groupby(RUN, sort=False):
        chosen = _of_run(rows, wanted, key)
        if chosen is not None:
            found.append((*key, *chosen, bool(rows[VERIFIED].all())))
    return pd.DataFrame(found, columns=[*RUN, "value", "epochs", "diverged", VERIFIED])


def _of_run(rows: pd.DataFrame, wanted: Value, key: tuple) -> tuple[float, int, bool] | None:
    """(value, epochs, diverged) of one run, None where it has no such value."""
    curve = by_epoch(rows, wanted.metric, wanted.layer, wanted.window)
    chooser = by_epoch(rows, wanted.chooser, wanted.chooser_layer)
    last = int(rows["epoch"].max()) if wanted.epoch is None else wanted.epoch
    if (rows["metric"] == "diverged").any() or (len(curve) > 0 and pd.isna(curve.iloc[-1])):
        return np.nan if wanted.diverged is None else wanted.diverged, last, True
    if curve.empty or chooser.dropna().empty or (wanted.epoch is not None and wanted.epoch not in curve.index):
        return None  # it gets no row, rather than an invented one
    return _selected(curve, chooser, wanted, key), last, False


def _selected(curve: pd.Series, chooser: pd.Series, wanted: Value, key: tuple) -> float:
    if wanted.select == "slowness":
        after = 1 - curve[curve.index > 0]
        return fit_slowness(after, wanted.chance, wanted.points).slowness
    if wanted.select in ("final", "at"):
        return curve.iloc[-1] if wanted.epoch is None else curve.loc[wanted.epoch]
    epoch = chooser.idxmin()
    if epoch not in curve.index:
        raise DataError(f"{key}: {wanted.chooser} is lowest at epoch {epoch}, which has no {wanted.metric}")
    return curve.loc[epoch]


def by_epoch(rows: pd.DataFrame, metric: str, layer: str = "", window: int = 1) -> pd.Series:
    """Values of one metric of one run, indexed by epoch; the last one where an epoch has several.

    window: trailing mean over so many records.
    """
    rows = rows[(rows["metric"] == metric) & (rows["layer"] == layer)].sort_values(["epoch", "step"], kind="stable")
    if window > 1:
        rows = rows.assign(value=rows["value"].rolling(window, min_periods=1).mean())
    return rows.drop_duplicates("epoch", keep="last").set_index("epoch")["value"]
