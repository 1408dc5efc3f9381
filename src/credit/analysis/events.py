"""Events that are pooled over runs, and the scale and offset by which their means meet measured ones.

Source: Song et al. (2024), released code: reversal_task (Figure 6c). An event, such as a punished choice, counts by
itself, whichever run it is of. Means m_g of groups g of events meet measured means d_g with the error
sum_g (k m_g + b - d_g)^2, at the best point of a grid of k and b, as published, or at the best of all k >= 0 and b.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from credit.analysis.bootstrap import DRAWS, SEED, spread
from credit.analysis.fits import Fit, least_squares, squares
from credit.analysis.pooling import FIT, Pooling
from credit.analysis.tables import VERIFIED, mean_ci, one_setting
from credit.errors import NothingLeft


def fit(means: np.ndarray, data: np.ndarray, grid: tuple[list[float], list[float]] | None = None) -> Fit:
    """The best fit of means (..., G) to data (G,): the first best point of a grid (scales, offsets), or any k >= 0.

    Where no positive scale is better than none, the scale is 0 and the offset the mean of the data.
    """
    means, data = np.asarray(means, float), np.asarray(data, float)
    if grid is not None:
        scales, offsets = (np.array(side) for side in grid)
        errors = squares(means[..., None, None, :], scales[:, None], offsets, data)
        place = errors.reshape(*means.shape[:-1], len(scales) * len(offsets)).argmin(-1)
        scale, offset = scales[place // len(offsets)], offsets[place % len(offsets)]
    else:
        free = least_squares(means, data, offset=True)
        scale, offset = np.maximum(free.scale, 0.0), np.where(free.scale > 0, free.offset, data.mean())
    return Fit(scale, offset, squares(means, scale, offset, data))


def events(table: pd.DataFrame, wanted: Pooling) -> pd.DataFrame:
    """Events of all runs that count: columns dataset, method, seed, epoch, event, a metric each (NaN: not this event).

    table: tidy; runs that diverged have none. Raises NothingLeft where no run has recorded any, ConfigError for a grid.
    """
    one_setting(table)
    lost = table.loc[table["metric"] == "diverged", ["dataset", "method", "seed"]].drop_duplicates()
    rows = table[table["metric"].isin(wanted.data) & (table["layer"] == "") & (table["epoch"] > wanted.after)]
    rows = rows.merge(lost.assign(lost=True), "left", ["dataset", "method", "seed"])
    rows = rows[rows["lost"].isna() & rows["value"].notna()].copy()
    if rows.empty:
        raise NothingLeft(f"no run recorded {', '.join(wanted.data)} after epoch {wanted.after}")
    keys = ["dataset", "method", "seed", "epoch", "event"]
    rows["event"] = rows.groupby([*keys[:-1], "metric"]).cumcount()
    wide = rows.pivot(index=keys, columns="metric", values="value").reset_index()
    return wide.reindex(columns=[*keys, *wanted.data])


def pooled(table: pd.DataFrame, artefact: str, wanted: Pooling) -> list[tuple]:
    """Rows of a summary: means over events of groups, with spread and interval over events; then rises, the fit and
    fitted means, with spread and 95 % limits over runs drawn again, since events of one run depend on each other.

    n is the number of events of groups, of runs of all else; `se` and `runs` are over runs drawn again for all of them.
    A method without events of some group has groups alone.
    """
    found, rows = events(table, wanted), []
    for (dataset, method), mine in found.groupby(["dataset", "method"], sort=False):
        of = table[(table["dataset"] == dataset) & (table["method"] == method)]
        lost = int(of.loc[of["metric"] == "diverged", "seed"].nunique())
        end = "", int(of["epoch"].max()), bool(of[VERIFIED].all())
        again, runs = _of_runs(mine, wanted), mine["seed"].nunique()
        numbers = again | {name: mean_ci(mine[name].dropna()) for name in wanted.data}
        for name in [*wanted.data, *(name for name in again if name not in wanted.data)]:
            mean, sd, n, low, high = numbers[name]
            se = again[name][1] if name in again else np.nan
            place = (artefact, dataset, method, name, "events")
            rows.append((*place, mean, sd, n, lost, low, high, *end, se, runs, lost, np.nan))
    return rows


def _of_runs(mine: pd.DataFrame, wanted: Pooling) -> dict[str, tuple]:
    """{name: (mean, sd, n, low, high)} of groups, rises, fit and fitted means of one method, over runs drawn again."""
    rises = {name: mine[b] - mine[a] for name, (a, b) in wanted.rises.items()}
    runs = mine.assign(**rises).groupby("seed")[[*wanted.data, *rises]]
    sums, counts = runs.sum().to_numpy(), runs.count().to_numpy()
    if not counts.sum(0).all():
        return {}
    data, grid = np.array([*wanted.data.values()]), wanted.grids.get(str(mine["method"].iloc[0]))
    means, again = sums.sum(0) / counts.sum(0), _drawn_again(sums, counts)
    groups = slice(len(data))
    best, others = fit(means[groups], data, grid), fit(again[:, groups], data, grid)
    values = dict(zip(rises, means[len(data) :], strict=True)) | dict(zip(FIT, best, strict=True))
    draws = dict(zip(rises, again[:, len(data) :].T, strict=True)) | dict(zip(FIT, others, strict=True))
    for k, name in enumerate(wanted.data):
        values[name], draws[name] = means[k], again[:, k]
        values[f"fitted_{name}"] = best.scale * means[k] + best.offset
        draws[f"fitted_{name}"] = best.scale * again[:, k] + best.offset
    spreads = {name: spread(drawn) for name, drawn in draws.items()}
    return {name: (float(value), spreads[name][0], len(sums), *spreads[name][1:]) for name, value in values.items()}


def _drawn_again(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means (draws, G) of events of runs (n, G) that are drawn again with replacement; draws without events of some
    group are left out, and there are none of fewer than two runs."""
    if len(sums) < 2:
        return np.empty((0, sums.shape[1]))
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    total, number = sums[drawn].sum(1), counts[drawn].sum(1)
    whole = number.all(1)
    return total[whole] / number[whole]
