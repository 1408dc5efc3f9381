"""Least-squares fits of runs to measured group means, and the best point of a grid by them.

Source: Song et al. (2024), released code: coin_fig3_new, fear_conditioning (Figure 5f). A model's means over seeds m_g
of groups g meet the means d_g of all measured values with a scale k, sum_g (k m_g - d_g)^2, or with a scale and an
offset. Of every method the point of the grid counts that has the smallest error; of equal ones that with the smallest
standard error of its scaled values, then the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from credit.analysis.bootstrap import DRAWS, SEED, spread
from credit.analysis.fitting import DATA, Fitting, number_of
from credit.analysis.tables import VERIFIED, varied_columns
from credit.errors import DataError, NothingLeft

TIED = 1e-9  # relative difference of errors that is rounding
FLAT = 1e-12  # spread of group means beside their size that is rounding: no scale can be told from it


class Fit(NamedTuple):
    """Scale, offset (0 without one) and error of P models, (P,) each, or () of a single one."""

    scale: np.ndarray
    offset: np.ndarray
    error: np.ndarray


def least_squares(model: np.ndarray, data: np.ndarray, offset: bool = False) -> Fit:
    """The fit of model means (..., G) to data means (G,).

    The scale is 0 where all model means are 0, or equal and there is an offset.
    """
    model, data = np.asarray(model, float), np.asarray(data, float)
    m, d = (x - x.mean(-1, keepdims=True) if offset else x for x in (model, data))
    size, square = np.abs(model).max(-1), (m * m).sum(-1)
    flat = np.sqrt(square) <= FLAT * size if offset else square == 0
    scale = np.where(flat, 0.0, (m * d).sum(-1) / np.where(flat, 1.0, square))
    shift = (data.mean(-1) - scale * model.mean(-1)) if offset else np.zeros_like(scale)
    return Fit(scale, shift, squares(model, scale, shift, data))


def squares(model: np.ndarray, scale: np.ndarray, offset: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Errors (...) of model means (..., G), scaled and shifted by numbers (...), as sums of squares over groups."""
    return ((scale[..., None] * model + offset[..., None] - data) ** 2).sum(-1)


def best(errors: np.ndarray, spreads: np.ndarray) -> int:
    """Index of the smallest error (P,), of equal ones that of the smallest spread (P,), then the first.

    Points whose error is NaN are out. Raises NothingLeft where all are.
    """
    errors, spreads = np.asarray(errors, float), np.asarray(spreads, float)
    if np.isnan(errors).all():
        raise NothingLeft("a fit: every point of the grid lacks a value of some seed and group")
    tied = errors <= np.nanmin(errors) * (1 + TIED)
    least = np.where(tied, np.where(np.isnan(spreads), np.inf, spreads), np.inf)
    return int(np.flatnonzero(tied & (least <= least[tied].min() * (1 + TIED)))[0])


@dataclass(frozen=True)
class Fitted:
    """The best fit of one method under one condition.

    at: the point of the grid; raw: values of runs (n, G), values: the same scaled; data: {group: measured values};
    error_sd, error_low, error_high: of the error when seeds are drawn again, with 95 % limits; drawn: {name: the
    same} of the scale, the offset and the fitted means, and of the point of the grid, whose limits are NaN where it
    may be any.
    """

    condition: str
    method: str
    at: dict[str, Any]
    scale: float
    offset: float | None  # None: there is none
    error: float
    raw: pd.DataFrame
    data: dict[str, np.ndarray]
    error_sd: float
    error_low: float
    error_high: float
    epochs: int
    verified: bool
    drawn: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def values(self) -> pd.DataFrame:
        """Scaled values of runs, (n, G)."""
        return self.raw * self.scale + (self.offset or 0.0)


def measured(references: pd.DataFrame | None, groups: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{group: measured values (n,)}. Raises DataError for a group without any."""
    found = {}
    for group in groups:
        mine = () if references is None else (references["method"] == DATA) & (references["metric"] == group)
        found[group] = np.array([]) if references is None else references.loc[mine, "value"].dropna().to_numpy(float)
        if not len(found[group]):
            raise DataError(f"a fit: the references hold no measured values of group {group!r} (method {DATA!r})")
    return found


def fits(table: pd.DataFrame, references: pd.DataFrame | None, settings: Fitting) -> list[Fitted]:
    """The best fit of every method under every condition, in their order.

    table: tidy. references: measured values, tidy, with the method "data" and a group's name as metric. A point at
    which a run lacks a value, since it diverged, is out. Raises NothingLeft where no condition has runs of all groups.
    """
    data, found = measured(references, settings.groups), []
    for condition in settings.conditions:
        runs = _of_condition(table, settings, condition)
        for method in runs["method"].unique():
            mine = runs[runs["method"] == method]
            if set(mine["group"]) == set(settings.groups):
                found.append(_fitted(condition, method, mine, data, settings))
    if not found:
        raise NothingLeft(f"a fit: no method has runs of all groups ({', '.join(settings.groups)})")
    return found


def _of_condition(table: pd.DataFrame, settings: Fitting, condition: str) -> pd.DataFrame:
    """Last values of all runs: columns dataset, method, seed, varied ones, group, value (NaN where a run diverged)."""
    names, parts = list(table["dataset"].unique()), []
    for group, wanted in settings.groups.items():
        datasets = settings.datasets(condition, group, names)
        mine = table[table["dataset"].isin(datasets) & (table["layer"] == "")]
        keys = ["dataset", "method", "seed", *varied_columns(table)]
        rows = mine[mine["metric"] == wanted.metric].sort_values(["epoch", "step"], kind="stable")
        rows = rows.drop_duplicates(keys, keep="last").sort_index()
        lost = mine.loc[mine["metric"] == "diverged", keys].drop_duplicates()
        lost = lost[lost["method"].isin(rows["method"])].assign(value=np.nan, epoch=0, **{VERIFIED: True})
        if len(lost):
            rows = pd.concat([rows[[*keys, "value", "epoch", VERIFIED]], lost]).drop_duplicates(keys, keep="last")
        parts.append(rows[[*keys, "value", "epoch", VERIFIED]].assign(group=group, grid=len(datasets) > 1))
    return pd.concat(parts, ignore_index=True)


def _fitted(condition: str, method: str, runs: pd.DataFrame, data: Mapping, settings: Fitting) -> Fitted:
    groups = list(settings.groups)
    known = {"dataset", "method", "seed", "value", "epoch", VERIFIED, "group", "grid"}
    point = [c for c in runs if c not in known and runs[c].notna().any()] + (["dataset"] if runs["grid"].any() else [])
    names = point or ["method"]
    wide = runs.pivot(index=[*names, "seed"], columns="group", values="value")[groups]
    order = pd.MultiIndex.from_frame(runs[names].drop_duplicates())
    points = [wide.xs(key, level=list(range(len(names)))) for key in order]
    means = np.array([p.to_numpy().mean(0) for p in points])
    spreads = np.array([_standard_error(p.to_numpy()) for p in points])
    aims = np.array([data[g].mean() for g in groups])
    fit = least_squares(means, aims, settings.offset)
    chosen = best(fit.error, np.abs(fit.scale) * spreads)
    raw, at = points[chosen], dict(zip(names, order[chosen], strict=True)) if point else {}
    offset = float(fit.offset[chosen]) if settings.offset else None
    return Fitted(
        condition, method, at, float(fit.scale[chosen]), offset, float(fit.error[chosen]), raw,
        dict(data), *resampled_error(raw.to_numpy(), aims, settings.offset), int(runs["epoch"].max()),
        bool(runs[VERIFIED].all()),
        _drawn(points, [dict(zip(names, key, strict=True)) if point else {} for key in order], chosen, aims, settings),
    )  # fmt: skip


def _drawn(
    points: list[pd.DataFrame], at: list[dict[str, Any]], chosen: int, aims: np.ndarray, settings: Fitting
) -> dict[str, tuple[float, float, float]]:
    """{name: (standard deviation, low, high)} over seeds drawn again; of the grid's parameters the limits alone.

    points: runs (n, G) of every point, at: its settings. A parameter that goes from one end of its grid to the other
    when seeds are drawn again is not known: its limits are NaN.
    """
    n = len(points[chosen])
    if n < 2:
        return {}
    drawn = np.random.default_rng(SEED).integers(n, size=(DRAWS, n))
    means = points[chosen].to_numpy()[drawn].mean(1)
    fit = least_squares(means, aims, settings.offset)
    found = {"fit_scale": spread(fit.scale)} | ({"fit_offset": spread(fit.offset)} if settings.offset else {})
    for k, group in enumerate(settings.groups):
        found[f"fitted_{group}"] = spread(fit.scale * means[:, k] + fit.offset)
    whole = [i for i, runs in enumerate(points) if len(runs) == n and not runs.isna().to_numpy().any()]
    counts = np.array([np.bincount(row, minlength=n) for row in drawn]) / n
    again = np.stack([counts @ points[i].to_numpy() for i in whole], 1)  # (draws, points, G)
    best_of = least_squares(again, aims, settings.offset).error.argmin(1)
    of_point = [parameters(at[i]) for i in whole]
    for name in of_point[0]:
        grid = np.array([one[name] for one in of_point])
        low, high = (float(np.quantile(grid[best_of], q, method="nearest")) for q in (0.025, 0.975))
        free = len(np.unique(grid)) > 1 and (low, high) == (grid.min(), grid.max())
        found[f"fit_{name}"] = (np.nan, np.nan, np.nan) if free else (np.nan, low, high)
    return found


def _standard_error(runs: np.ndarray) -> float:
    """Mean over groups of the standard errors of the mean over runs (n, G)."""
    return float((runs.std(0, ddof=1) / np.sqrt(len(runs))).mean()) if len(runs) > 1 else np.nan


def resampled_error(runs: np.ndarray, data: np.ndarray, offset: bool) -> tuple[float, float, float]:
    """Standard deviation and 95 % percentile limits of the error of a fit, over resampled runs (n, G) fitted anew.

    NaN with fewer than two runs.
    """
    if len(runs) < 2:
        return np.nan, np.nan, np.nan
    drawn = np.random.default_rng(SEED).integers(len(runs), size=(DRAWS, len(runs)))
    return spread(least_squares(runs[drawn].mean(1), data, offset).error)


def parameters(at: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a point of the grid, {name: value}; of a data set that is named after a setting, that one."""
    found = {name: float(value) for name, value in at.items() if name != "dataset"}
    pair = number_of(at["dataset"]) if "dataset" in at else None
    return found | (dict([pair]) if pair else {})
