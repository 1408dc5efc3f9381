"""A number of each run against a condition, such as depth, batch size or amount of data (Figures 3e, 3h, 4b, 4h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from credit.analysis.selection import chosen_values
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import tell
from credit.figures.pc._runs import RunOptions, draw_points, interval_handle, value_of, y_label
from credit.figures.references import draw_published, published, published_handle


@dataclass(frozen=True)
class Panel:
    """at: {data set: its place on the axis}. title: above it."""

    keyed_by: ClassVar[dict[str, str]] = {"at": "dataset"}
    numbers: ClassVar[tuple[str, ...]] = ("at",)

    at: dict
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """panels: settings of `Panel`, from left to right. label, y_limits: of their axis of values. log: a logarithmic
    one; even: places are names, side by side, from the smallest or from the largest. dots: every run is a dot, and
    there is no mean. pool: a varied setting whose values count like runs. known: what the published values are.
    """

    entries: ClassVar[dict[str, str]] = {"panels": "Panel"}
    column_options: ClassVar[tuple[str, ...]] = ("best", "pool")
    lengths: ClassVar[dict[str, int]] = {"y_limits": 2}

    panels: tuple[dict, ...]
    label: str
    log: bool = False
    even: Literal["rising", "falling"] | None = None
    dots: bool = False
    pool: str | None = None
    y_limits: tuple[float, ...] = field(default_factory=tuple)
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel for each group of conditions: the mean over runs of a number against the condition, a line for each
    method, with 68 % intervals by resampling; or every run as a dot.

    table: tidy, with the metric; data sets are conditions. options: see `Options`; references: published values.
    Errors are in %. Raises NothingLeft where no condition was run.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "conditions", o["best"] or o["pool"] or "")
    runs = chosen_values(rows, value_of(o, each=o["pool"] or ""))
    scale, looks = style.percent(o["metric"])[0], method_styles(runs["method"], o["rules"])
    present = set(runs["dataset"])
    panels = [Panel(**p) for p in o["panels"] if present & {*p["at"]}]
    if not panels:
        raise NothingLeft(f"conditions: none of options.panels was run, only {', '.join(sorted(present))}")
    figure = Figure(figsize=(max(1.0 + 3.0 * len(panels), 4.4), 3.2), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        order = sorted(panel.at, key=panel.at.get, reverse=o["even"] == "falling")
        places = {d: place if o["even"] else float(panel.at[d]) for place, d in enumerate(order)}
        for method, look in looks.items():
            mine = runs[runs["method"] == method]
            points = {x: scale * mine.loc[mine["dataset"] == d, "value"].to_numpy(float) for d, x in places.items()}
            _method(axes, points, look, o["dots"])
            _known(axes, published(o["references"], method=method, metric=o["metric"]), places, look, o, scale)
        _label(axes, rows, panel, places, o)
    grid[0].set_ylabel(y_label(o["metric"], o["select"]))
    if o["y_limits"]:
        grid[0].set_ylim(*o["y_limits"])
    handles = [*style.method_handles(looks.values()), interval_handle(), published_handle(o["known"])]
    style.legend_below(figure, handles, rows[rows["dataset"].isin([d for p in panels for d in p.at])])
    return figure


def _method(axes, points: Mapping[float, np.ndarray], look: Style, dots: bool) -> None:
    points = {x: runs[np.isfinite(runs)] for x, runs in points.items() if np.isfinite(runs).any()}
    if not dots:
        draw_points(axes, points, look)
        return
    xs = np.repeat([*points], [len(runs) for runs in points.values()])
    mark = {"marker": look.marker, "s": 14, "alpha": 0.6, "linewidths": 0.3, "edgecolors": "white"}
    drawn = axes.scatter(xs, np.concatenate([[], *points.values()]), color=look.colour, label=look.label, **mark)
    tell(drawn, drawn="one run", n=1)


def _known(axes, known: pd.DataFrame, places: Mapping[str, float], look: Style, o: Mapping, scale: float) -> None:
    """Published means over runs, in the colour of their method."""
    means = known[known["dataset"].isin(places)].groupby("dataset")["value"].mean()
    if len(means):
        xs = [places[d] for d in means.index]
        mark = {"color": look.colour, "ms": 7, "zorder": 1.9}
        draw_published(axes, xs, scale * means, look.label, o["known"], **mark)


def _label(axes, rows: pd.DataFrame, panel: Panel, places: Mapping[str, float], o: Mapping[str, Any]) -> None:
    mark = "" if rows.loc[rows["dataset"].isin(places), VERIFIED].all() else " †"
    axes.set(xlabel=o["label"], title=panel.title + mark)
    if o["log"]:
        axes.set_xscale("log")
    if o["even"] or o["log"]:
        axes.set_xticks([*places.values()], [f"{panel.at[d]:g}" for d in places])
        axes.xaxis.set_minor_locator(NullLocator())
    elif all(float(at).is_integer() for at in panel.at.values()):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
    if not axes.collections:  # neither dots nor intervals
        style.say_if_blank(axes)
