"""A number of each run against a setting that varies, such as the learning rate (Figures 3g, 4c, 4e, 4g, 4i)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from credit.analysis.names import column_label, dataset_order, dataset_title
from credit.analysis.selection import member_values
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve
from credit.figures.looks import Style, method_styles
from credit.figures.pc._runs import RunOptions, chosen_rows, course, draw_points, interval_handle, value_of, y_label
from credit.figures.references import draw_published, published, published_handle


@dataclass(frozen=True)
class Options(RunOptions):
    """best: the varied setting. titles: {data set: above its panel}. columns: of panels.
    curves: below each panel another one, with the course of the metric at the best value of every method. known: what
    the published values are.
    """

    keyed_by: ClassVar[dict[str, str]] = {"titles": "dataset"}

    best: str = "lr"
    titles: dict = field(default_factory=dict)
    columns: Annotated[int, "> 0"] = 3
    curves: bool = False
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel for each data set: the mean over runs of a number against the varied setting, with 68 % intervals by
    resampling, a line for each method; below it, where wanted, means over runs against epochs at its best value.

    table: tidy, with the metric and the column of the varied setting. options: see `Options`; references: published
    values, with that column too. Errors are in %. Raises NothingLeft where no run has the metric.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "rates", o["best"])
    value = value_of(o)
    runs, looks = (
        member_values(rows, value_of(o, best="", by="", each=o["best"])),
        method_styles(rows["method"], o["rules"]),
    )
    if runs.empty:
        raise NothingLeft(f"rates: no run recorded {o['metric']}; nothing to draw")
    datasets = dataset_order(rows["dataset"])
    across = min(o["columns"], len(datasets))
    down, high = -(-len(datasets) // across), 2 if o["curves"] else 1
    size = (max(1.0 + 2.5 * across, 4.4), 0.9 + 2.2 * down * high)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down * high, across, squeeze=False)
    best = chosen_rows(rows, value) if o["curves"] else None
    for place in range(down * across):
        line, column = divmod(place, across)
        panels = [grid[line * high + k][column] for k in range(high)]
        if place >= len(datasets):
            for axes in panels:
                axes.remove()
            continue
        dataset = datasets[place]
        _sweep(panels[0], runs[runs["dataset"] == dataset], looks, o)
        _known(panels[0], published(o["references"], dataset=dataset, metric=o["metric"]), looks, o)
        verified = rows.loc[rows["dataset"] == dataset, VERIFIED].all()
        title = o["titles"].get(dataset, dataset_title(dataset)) + ("" if verified else " †")
        panels[0].set(title=title, xlabel=column_label(o["best"]))
        _plain_ticks(panels[0])
        if o["curves"]:
            _courses(panels[1], best[best["dataset"] == dataset], looks, value)
        for axes, select in zip(panels, (o["select"], "final"), strict=False) if column == 0 else ():
            axes.set_ylabel(y_label(o["metric"], select))
    handles = [*style.method_handles(looks.values()), interval_handle(), published_handle(o["known"])]
    style.legend_below(figure, handles, rows)
    return figure


def _sweep(axes, runs: pd.DataFrame, looks: Mapping[str, Style], o: Mapping[str, Any]) -> None:
    scale = style.percent(o["metric"])[0]
    axes.set_xscale("log")
    for method, look in looks.items():
        mine = runs[runs["method"] == method]
        points = {x: scale * v.to_numpy(float) for x, v in mine.groupby(o["best"])["value"]}
        draw_points(axes, points, look)
    style.say_if_blank(axes)


def _plain_ticks(axes) -> None:
    """Plain numbers on an axis so short that it has few powers of ten."""
    low, high = axes.get_xlim()
    if high < 15 * low:
        style.log_axis(axes.xaxis)


def _known(axes, known: pd.DataFrame, looks: Mapping[str, Style], o: Mapping[str, Any]) -> None:
    scale = style.percent(o["metric"])[0]
    for method, mine in known[known["method"].isin(looks)].groupby("method"):
        mark = {"color": looks[method].colour, "ms": 7, "zorder": 1.9}
        draw_published(axes, mine[o["best"]], scale * mine["value"], looks[method].label, o["known"], **mark)


def _courses(axes, rows: pd.DataFrame, looks: Mapping[str, Style], value) -> None:
    present = [m for m in looks if (rows["method"] == m).any()]
    for place, method in enumerate(present):
        curve = course(rows[rows["method"] == method], value)
        if np.isfinite(curve.middle).any():
            draw_curve(axes, curve, looks[method], place, len(present))
    axes.set(xlabel=f"epoch, at the best {column_label(value.best)}")
    style.epoch_axis(axes.xaxis, 6)
    style.say_if_blank(axes)
