"""Theorem 4.3 of the L-DRL paper: updates divided by beta against backpropagation's, as beta falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from credit.analysis.names import metric_label
from credit.analysis.tables import VERIFIED, where
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.dtp._layers import PUBLISHED, layer_looks, published, published_handle
from credit.figures.looks import Style, method_styles
from credit.figures.options import FigureOptions

BETA = "beta"
LIMITS = {"angle_bp": (1e-14, 100.0), "distance_bp": (1e-16, 10.0)}  # what is smaller is drawn at the lower one
PANELS = (("angle_bp", "°"), ("distance_bp", ""))


@dataclass(frozen=True)
class Column:
    """A net. dataset: the experiment's name of it; title: above its panels."""

    dataset: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """nets: settings of `Column`, from left to right."""

    shows: ClassVar[tuple[str, ...]] = ("angle_bp", "distance_bp")
    entries: ClassVar[dict[str, str]] = {"nets": "Column"}
    grids: ClassVar[bool] = True

    nets: tuple[dict, ...]


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Angle [degrees] and relative distance to backpropagation against beta: a line of panels for each kind of
    feedback, one column of either for each net, one curve for each layer, after the last epoch.

    table: tidy, with angle_bp and distance_bp by layer and the column beta; data sets are nets. options: see `Options`;
    references: recordings of the official code. Lines: median over runs.
    """
    o = style.chosen(options, Options)
    rows = where(table, o["where"])
    rows = rows[rows["metric"].isin([metric for metric, _ in PANELS])]
    if rows.empty or BETA not in rows:
        raise NothingLeft("theorem: no angle_bp was recorded for several beta; nothing to draw")
    present = set(rows["dataset"])
    nets = {column["dataset"]: column["title"] for column in o["nets"] if column["dataset"] in present}
    if not nets:
        raise NothingLeft(
            f"theorem: no net of options.nets was run, only {', '.join(sorted(present))}; nothing to draw"
        )
    methods, layers = method_styles(rows["method"], o["rules"]), sorted(rows["layer"].unique())
    looks = dict(zip(layers, layer_looks([f"layer {layer}" for layer in layers]), strict=True))
    figure = Figure(figsize=(0.8 + 3.1 * len(nets), 0.9 + 1.5 * len(methods)), layout="constrained")
    grid = figure.subplots(len(methods), 2 * len(nets), sharex=True, squeeze=False)
    for line, (method, look) in zip(grid, methods.items(), strict=True):
        mine = rows[rows["method"] == method]
        for place, (metric, unit) in enumerate(PANELS):
            block = line[place * len(nets) : (place + 1) * len(nets)]
            for axes, net in zip(block, nets, strict=True):
                known = published(o["references"], dataset=net, method=method, metric=metric)
                _panel(axes, mine[mine["dataset"] == net], looks, metric, known)
            before = f"{look.label}\n" if place == 0 else ""
            block[0].set_ylabel(before + metric_label(metric, unit))
            for axes in block[1:]:
                axes.tick_params(labelleft=False)
    for axes, (net, title) in zip(grid[0], [*nets.items()] * 2, strict=True):
        verified = rows.loc[rows["dataset"] == net, VERIFIED].all()
        axes.set_title(title + ("" if verified else " †"))
    for axes in grid[-1]:
        axes.set_xlabel("β")
    handles = style.method_handles(looks.values())
    if not published(o["references"]).empty:
        handles.append(published_handle("recorded from the official code"))
    style.legend_below(figure, handles, rows)
    return figure


def _panel(axes, rows: pd.DataFrame, looks: Mapping[str, Style], metric: str, known: pd.DataFrame) -> None:
    """One net with one kind of feedback. known: recorded values."""
    low, high = LIMITS[metric]
    axes.set(xscale="log", yscale="log", ylim=(low / 3, high * 3))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_locator(NullLocator())
    for layer, look in looks.items():
        values = at_the_end(rows[(rows["metric"] == metric) & (rows["layer"] == layer)])
        axes.plot(values.index, values.clip(lower=low), color=look.colour, marker=look.marker, ms=3, lw=1.0)
        theirs = known[known["layer"] == layer]
        if len(theirs):
            axes.plot(theirs[BETA], theirs["value"].clip(lower=low), **PUBLISHED, color=look.colour, ms=5, zorder=1.5)
    style.say_if_blank(axes)


def at_the_end(rows: pd.DataFrame) -> pd.Series:
    """Median over seeds of the values after the last epoch, by beta."""
    last = rows[rows["epoch"] == rows.groupby([BETA, "seed"])["epoch"].transform("max")]
    return last.groupby(BETA)["value"].median()
