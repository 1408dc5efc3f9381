"""One number per run: which metric, of which layer, at which epoch of its curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from credit.analysis.slowness import fit_slowness
from credit.analysis.tables import VERIFIED
from credit.analysis.values import Value
from credit.errors import DataError, NothingLeft, one_of

RUN = ["dataset", "method", "seed"]
LEVEL = 0.05  # at which a point of a grid is told from the best one


def member_values(table: pd.DataFrame, value: Value | str, select: str = "final", validation: str | None = None):
    """One value per run of a tidy table, in which only seeds, and the column that `value` tells apart, vary.

    value: what is wanted, or the name of a metric; then `select` and `validation` say the rest, see `Value`.
    Returns columns dataset, method, seed, the column of `value.best` or `value.each` if any, value (of a run that
    diverged: NaN, unless `value.diverged` says otherwise), epochs (the last one recorded, or the selected one for
    "at"), diverged, data_verified. A run that lacks the metric or the epoch gets no row. Nothing is chosen from a grid.
    Raises NothingLeft for a metric never recorded.
    """
    wanted = value if isinstance(value, Value) else Value(value, select=select, validation=validation)
    mine = table[table["layer"].isin({"", wanted.layer})]
    for name, layer in ((wanted.metric, wanted.layer), (wanted.chooser, wanted.chooser_layer)):
        recorded = mine.loc[mine["layer"] == layer, "metric"]
        if not (recorded == name).any():
            of = f"layer {layer!r}" if layer else "the whole net"
            raise NothingLeft(one_of("metric", name, recorded.unique()) + f" (of {of})")
    run = [*RUN, wanted.column] if wanted.column else RUN
    epochs = _epochs(mine[(mine["metric"] == wanted.metric) & (mine["layer"] == wanted.layer)])
    found = []
    for key, rows in mine.groupby(run, sort=False, dropna=False):
        chosen = _of_run(rows, wanted, key, epochs.get(key[0], ()))
        if chosen is not None:
            found.append((*key, *chosen, bool(rows[VERIFIED].all())))
    return pd.DataFrame(found, columns=[*run, "value", "epochs", "diverged", VERIFIED])


def _epochs(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """{data set: epochs at which some run was measured}."""
    return {dataset: np.sort(epochs.unique()) for dataset, epochs in rows.groupby("dataset")["epoch"]}


def _of_run(rows: pd.DataFrame, wanted: Value, key: tuple, epochs: Sequence[int]) -> tuple[float, int, bool] | None:
    """(value, epochs, diverged) of one run, None where it has no such value. epochs: of other runs."""
    last = int(rows["epoch"].max()) if wanted.epoch is None else wanted.epoch
    since = _diverged_in(rows, wanted)
    if since is not None and (wanted.diverged is None or wanted.select == "slowness"):
        return np.nan if wanted.diverged is None else wanted.diverged, last, True
    curve = curve_of(rows, wanted, epochs)
    chooser = by_epoch(rows, wanted.chooser, wanted.chooser_layer)
    if since is not None:
        after = curve[curve.index >= since] * 0 + np.inf
        chooser = curve if wanted.chooser == wanted.metric else pd.concat([chooser[chooser.index < since], after])
    if curve.empty or chooser.dropna().empty or (wanted.epoch is not None and wanted.epoch not in curve.index):
        return None  # it gets no row, rather than an invented one
    return _selected(curve, chooser, wanted, key), last, since is not None


def curve_of(rows: pd.DataFrame, wanted: Value, epochs: Sequence[int] = ()) -> pd.Series:
    """The metric of one run by epoch; where it diverged, from there on `wanted.diverged` at `epochs`, if that is given.

    epochs: at which runs are measured that do not diverge.
    """
    curve, since = by_epoch(rows, wanted.metric, wanted.layer, wanted.window), _diverged_in(rows, wanted)
    if since is None:
        return curve
    before = curve[curve.index < since]
    return before if wanted.diverged is None else _continued(before, since, epochs, wanted.diverged)


def _diverged_in(rows: pd.DataFrame, wanted: Value) -> int | None:
    """The epoch in which a run diverged, or whose value is not finite; None if it did not."""
    lost = rows.loc[rows["metric"] == "diverged", "epoch"]
    if len(lost):
        return int(lost.min())
    curve = by_epoch(rows, wanted.metric, wanted.layer, wanted.window)
    return int(curve.index[-1]) if len(curve) > 0 and pd.isna(curve.iloc[-1]) else None


def _continued(curve: pd.Series, since: int, epochs: Sequence[int], value: float) -> pd.Series:
    """A curve up to epoch `since`, from there on at a value, as long as other runs."""
    later = [epoch for epoch in epochs if epoch >= since] or [since]
    return pd.concat([curve, pd.Series(value, index=later, dtype=float)])


def _selected(curve: pd.Series, chooser: pd.Series, wanted: Value, key: tuple) -> float:
    if wanted.select == "slowness":
        after = 1 - curve[curve.index > 0]
        return fit_slowness(after, wanted.chance, wanted.points).slowness
    if wanted.select in ("final", "at"):
        return curve.iloc[-1] if wanted.epoch is None else curve.loc[wanted.epoch]
    if wanted.first is not None:
        curve, chooser = curve[curve.index <= wanted.first], chooser[chooser.index <= wanted.first]
    if wanted.select == "mean":
        return curve[curve.index > 0].mean()
    epoch = chooser.idxmin()
    if epoch not in curve.index:
        raise DataError(f"{key}: {wanted.chooser} is lowest at epoch {epoch}, which has no {wanted.metric}")
    return curve.loc[epoch]


def best_points(table: pd.DataFrame, value: Value, scores: pd.DataFrame | None = None) -> pd.DataFrame:
    """Columns dataset, method and that of the grid, `value.best`: the point with the lowest mean over seeds of
    `value.scorer` (the highest with `value.highest`), for every method on every data set; of equal ones the first in
    the order of the table.

    A point at which a run has no score, since it diverged, is out, unless there is no other. scores: of the runs, where
    they are known.
    """
    scores = member_values(table, value.scorer) if scores is None else scores
    score = scores.groupby([*RUN[:2], value.best], sort=False, dropna=False)["value"].agg(
        lambda v: v.mean(skipna=False)
    )
    score = (-score if value.highest else score).fillna(np.inf).reset_index(name="score")
    return score.loc[score.groupby(RUN[:2], sort=False)["score"].idxmin(), [*RUN[:2], value.best]]


def best_limits(table: pd.DataFrame, value: Value) -> dict[tuple[str, str], tuple[float, float]]:
    """{(dataset, method): (lowest, highest)} of the points of a grid that cannot be told from the best one.

    A point is told from it where the paired differences of its scores over seeds lie on the worse side of 0 by a
    one-sided t test at 5 %, divided by the number of other points (Bonferroni), or where a run has no score. NaN
    where there are fewer than two seeds, and where no point can be told from the best.
    """
    scores, found = member_values(table, value.scorer), {}
    best = {tuple(row[:2]): row[2] for row in best_points(table, value, scores).itertuples(index=False)}
    for place, mine in scores.groupby(RUN[:2], sort=False):
        wide = mine.pivot(index="seed", columns=value.best, values="value")
        n, others = len(wide), max(len(wide.columns) - 1, 1)
        if n < 2:
            found[place] = (np.nan, np.nan)
            continue
        behind = (wide.sub(wide[best[place]], axis=0)) * (-1 if value.highest else 1)
        t = behind.mean() / (behind.std(ddof=1) / np.sqrt(n))  # of equal differences: infinite, or NaN where all are 0
        out = behind.isna().any() | (t > stdtrit(n - 1, 1 - LEVEL / others))
        kept = [float(point) for point in wide.columns if not out[point] or point == best[place]]
        found[place] = (min(kept), max(kept)) if out.any() else (np.nan, np.nan)
    return found


def at_best(table: pd.DataFrame, value: Value) -> pd.DataFrame:
    """The rows of a table that are at its `best_points`."""
    return table.merge(best_points(table, value), on=[*RUN[:2], value.best])


def chosen_values(table: pd.DataFrame, value: Value) -> pd.DataFrame:
    """As `member_values`, with what `value.best` and `value.minus` say; of differences there are none of `minus`."""
    runs = member_values(at_best(table, value) if value.best else table, value)
    if not value.minus:
        return runs
    on = ["dataset", "seed", *([value.each] if value.each else [])]
    other = runs.loc[runs["method"] == value.minus, [*on, "value", "diverged", VERIFIED]]
    both = runs[runs["method"] != value.minus].merge(other, on=on, suffixes=("", "_other"))
    both["value"] = both["value"] - both["value_other"]
    for column in ("diverged", VERIFIED):
        mine, theirs = both[column].astype(bool), both[f"{column}_other"].astype(bool)
        both[column] = mine | theirs if column == "diverged" else mine & theirs
    return both[list(runs)]


def by_epoch(rows: pd.DataFrame, metric: str, layer: str = "", window: int = 1) -> pd.Series:
    """Values of one metric of one run, indexed by epoch; the last one where an epoch has several.

    window: trailing mean over so many records.
    """
    rows = rows[(rows["metric"] == metric) & (rows["layer"] == layer)].sort_values(["epoch", "step"], kind="stable")
    if window > 1:
        rows = rows.assign(value=rows["value"].rolling(window, min_periods=1).mean())
    return rows.drop_duplicates("epoch", keep="last").set_index("epoch")["value"]
