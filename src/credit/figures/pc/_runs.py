"""What the figures of prospective configuration share: what a run is reduced to, means over runs, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from credit.analysis.bootstrap import PUBLISHED, bootstrap_interval
from credit.analysis.names import metric_label
from credit.analysis.selection import at_best, curve_of
from credit.analysis.values import Value
from credit.figures import style
from credit.figures.curves import Curve
from credit.figures.looks import Style
from credit.figures.numbers import bars_of, tell
from credit.figures.options import FigureOptions

INTERVAL = f"{100 * PUBLISHED:g} % interval"
OF_A_RUN = {"mean": "mean ", "lowest": "lowest "}
BARS = {"elinewidth": 0.9, "capsize": 2.0, "fmt": "none"}


@dataclass(frozen=True)
class RunOptions(FigureOptions):
    """metric, select, first, diverged, best, by, highest: what a run is reduced to, see
    `credit.analysis.values.Value`."""

    metric_options: ClassVar[tuple[str, ...]] = ("metric", "by")
    column_options: ClassVar[tuple[str, ...]] = ("best",)
    grids: ClassVar[bool] = True

    metric: str = "test_error"
    select: Literal["final", "lowest", "mean", "best_validation", "lowest_validation"] = "final"
    first: Annotated[int, "> 0"] | None = None
    diverged: float | None = None
    best: str | None = None
    by: str | None = None
    highest: bool = False


def value_of(o: Mapping[str, Any], **other: Any) -> Value:
    """The value that options describe, with other settings laid over them."""
    names = ("metric", "select", "first", "diverged", "highest")
    return Value(**{**{k: o[k] for k in names}, "best": o["best"] or "", "by": o["by"] or "", **other})


def y_label(metric: str, select: str = "final") -> str:
    """Label of the axis of a metric; of the mean or the lowest value of a run it says so."""
    return OF_A_RUN.get(select, "") + metric_label(metric, style.percent(metric)[1])


def draw_points(axes, points: Mapping[float, np.ndarray], look: Style) -> None:
    """A line through the means of runs at each x, with intervals. points: {x: values of runs (n,)}."""
    xs = [x for x, runs in points.items() if np.isfinite(runs).any()]
    means = np.array([np.nanmean(points[x]) for x in xs])
    mark = {"marker": look.marker, "linestyle": look.line, "markeredgewidth": 0.8, "label": look.label}
    line = axes.plot(xs, means, color=look.colour, **mark)
    tell(line, drawn="mean over runs", n=[np.isfinite(points[x]).sum() for x in xs])
    limits = np.array([bootstrap_interval(points[x]) for x in xs]).reshape(-1, 2).T
    if np.isfinite(limits).any():
        bars_of(axes.errorbar(xs, means, np.abs(limits - means), ecolor=look.colour, **BARS), INTERVAL)
        tell(line, lower=limits[0], upper=limits[1], band=INTERVAL)


def interval_handle() -> Line2D:
    """Legend entry of the intervals of points, and of bands."""
    return Line2D([], [], color="#444444", marker="|", ls="none", ms=9, markeredgewidth=1.0, label=INTERVAL)


def course(rows: pd.DataFrame, value: Value, last: int | None = None) -> Curve:
    """Mean over runs by epoch with intervals, of one method on one data set, from epoch 1 to `last`.

    Runs that diverged stay with `value.diverged`; without it, they are in the means until they diverge.
    """
    epochs = np.sort(rows.loc[rows["metric"] == value.metric, "epoch"].unique())
    wide = pd.DataFrame({seed: curve_of(run, value, epochs) for seed, run in rows.groupby("seed")})
    wide = wide[(wide.index > 0) & (wide.index <= (np.inf if last is None else last))].sort_index()
    scale = style.percent(value.metric)[0]
    runs = scale * wide.to_numpy(float)
    low, high = bootstrap_interval(runs.T)
    middle = np.full(len(runs), np.nan)
    sound = np.isfinite(runs).any(1) if runs.size else np.zeros(len(runs), bool)
    middle[sound] = np.nanmean(runs[sound], axis=1)
    return Curve(wide.index.to_numpy(), middle, low, high, scale * wide, wide.iloc[:, :0], INTERVAL)


def chosen_rows(rows: pd.DataFrame, value: Value) -> pd.DataFrame:
    """The rows at the best point of the grid, where the value has one."""
    return at_best(rows, value) if value.best else rows
