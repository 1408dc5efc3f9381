"""Events that are pooled over runs, and the scale and offset by which their means meet measured ones.

Source: Song et al. (2024), released code: reversal_task (Figure 6c). An event, such as a punished choice, counts by
itself, whichever run it is of. Means m_g of groups g of events meet measured means d_g with the error
sum_g (k m_g + b - d_g)^2, at the best point of a grid of k and b, as published, or at the best of all k >= 0 and b.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from credit.analysis.bootstrap import DRAWS, SEED
from credit.analysis.pooling import FIT, Pooling
from credit.analysis.tables import VERIFIED, mean_ci, one_setting
from credit.errors import NothingLeft


class Fit(NamedTuple):
    """Scale, offset and error, arrays (...) each."""

    scale: np.ndarray
    offset: np.ndarray
    error: np.ndarray


def fit(means: np.ndarray, data: np.ndarray, grid: tuple[list[float], list[float]] | None = None) -> Fit:
    """The best fit of means (..., G) to data (G,): the first best point of a grid (scales, offsets), or any k >= 0.

    Where no positive scale is better than none, the scale is 0 and the offset the mean of the data.
    """
    means, data = np.asarray(means, float), np.asarray(data, float)
    if grid is not None:
        scales, offsets = (np.array(side) for side in grid)
        errors = _errors(means[..., None, None, :], scales[:, None], offsets, data)
        place = errors.reshape(*means.shape[:-1], -1).argmin(-1)
        scale, offset = scales[place // len(offsets)], offsets[place % len(offsets)]
    else:
        m, d = means - means.mean(-1, keepdims=True), data - data.mean()
        size, meet = (m * m).sum(-1), (m * d).sum(-1)
        scale = np.where(meet > 0, meet / np.where(size > 0, size, 1.0), 0.0)
        offset = data.mean() - scale * means.mean(-1)
    return Fit(scale, offset, _errors(means, scale, offset, data))


def _errors(means: np.ndarray, scale: np.ndarray, offset: np.ndarray, data: np.ndarray) -> np.ndarray:
    return ((scale[..., None] * means + offset[..., None] - data) ** 2).sum(-1)


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
    """Rows of a summary: mean, spread and interval over events, of groups and of rises; the fit, and fitted means.

    n is the number of events; of the fit, of runs, and its spread and 95 % limits come of drawing runs again. A method
    without events of some group has no fit.
    """
    found, rows = events(table, wanted), []
    for (dataset, method), mine in found.groupby(["dataset", "method"], sort=False):
        of = table[(table["dataset"] == dataset) & (table["method"] == method)]
        lost = int(of.loc[of["metric"] == "diverged", "seed"].nunique())
        end = "", int(of["epoch"].max()), bool(of[VERIFIED].all())
        numbers = {name: mean_ci(values) for name, values in _numbers(mine, wanted).items()} | _fitted(mine, wanted)
        for name, (mean, sd, n, low, high) in numbers.items():
            rows.append((artefact, dataset, method, name, "events", mean, sd, n, lost, low, high, *end))
    return rows


def _numbers(mine: pd.DataFrame, wanted: Pooling) -> dict[str, pd.Series]:
    """{name: values of events} of one method."""
    found = {name: mine[name].dropna() for name in wanted.data}
    return found | {name: (mine[b] - mine[a]).dropna() for name, (a, b) in wanted.rises.items()}


def _fitted(mine: pd.DataFrame, wanted: Pooling) -> Mapping[str, tuple]:
    """{name: (mean, sd, n, low, high)} of the fit of one method, and of its fitted means."""
    names, data = list(wanted.data), np.array([*wanted.data.values()])
    runs = mine.groupby("seed")[names]
    sums, counts = runs.sum().to_numpy(), runs.count().to_numpy()
    if not counts.sum(0).all():
        return {}
    grid = wanted.grids.get(str(mine["method"].iloc[0]))
    best = fit(sums.sum(0) / counts.sum(0), data, grid)
    again = _drawn_again(sums, counts, data, grid)
    found = {}
    for name, value, values in zip(FIT, best, again, strict=True):
        sd, low, high = (values.std(ddof=1), *np.percentile(values, [2.5, 97.5])) if len(values) else (np.nan,) * 3
        found[name] = float(value), float(sd), len(sums), float(low), float(high)
    for name in names:
        mean, sd, *rest = mean_ci(best.scale * mine[name].dropna() + best.offset)
        found[f"fitted_{name}"] = (mean, sd, *rest)
    return found


def _drawn_again(sums: np.ndarray, counts: np.ndarray, data: np.ndarray, grid: tuple | None) -> Fit:
    """Fits to the events of runs (n, G) that are drawn again with replacement; none with fewer than two runs, and where
    a group has no event."""
    if len(sums) < 2:
        return Fit(*(np.empty(0) for _ in FIT))
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    total, number = sums[drawn].sum(1), counts[drawn].sum(1)
    whole = number.all(1)
    return fit(total[whole] / number[whole], data, grid)
