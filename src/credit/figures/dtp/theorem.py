"""Theorem 4.3 of the L-DRL paper: updates divided by beta against backpropagation's, as beta falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from credit.analysis.names import metric_label
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.dtp._layers import PUBLISHED, layer_looks, published, published_handle
from credit.figures.looks import Style, method_styles
from credit.figures.options import FigureOptions

LIMITS = {"angle_bp": (1e-14, 100.0), "distance_bp": (1e-16, 10.0)}  # what is smaller is drawn at the lower one
PANELS = (("angle_bp", "°"), ("distance_bp", ""))


@dataclass(frozen=True)
class Column:
    """A net. dataset: the experiment's name of it; title: above its panels."""

    dataset_options: ClassVar[tuple[str, ...]] = ("dataset",)

    dataset: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """nets: settings of `Column`, from left to right."""

    shows: ClassVar[tuple[str, ...]] = ("angle_bp_*", "distance_bp_*")
    entries: ClassVar[dict[str, str]] = {"nets": "Column"}

    nets: tuple[dict, ...]


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Angle [degrees] and relative distance to backpropagation against beta: a line of panels for each kind of
    feedback, one column of either for each net, one curve for each layer, after the last epoch.

    table: tidy, with angle_bp_BETA and distance_bp_BETA by layer, of the probe update_distance; data sets are nets.
    options: see `Options`; references: recordings of the official code. Lines: median over runs.
    """
    o = style.chosen(options, Options)
    rows = by_beta(style.selection(table, o, "theorem"))
    if rows.empty:
        raise NothingLeft("theorem: no angle_bp_… was recorded; nothing to draw")
    known = by_beta(published(o["references"]))
    present = set(rows["dataset"])
    nets = {column["dataset"]: column["title"] for column in o["nets"] if column["dataset"] in present}
    if not nets:
        raise NothingLeft(f"theorem: no net of options.nets was run, only {', '.join(sorted(present))}")
    methods, layers = method_styles(rows["method"], o["rules"]), sorted(rows["layer"].unique())
    looks = dict(zip(layers, layer_looks([f"layer {layer}" for layer in layers]), strict=True))
    figure = Figure(figsize=(0.8 + 3.1 * len(nets), 0.9 + 1.5 * len(methods)), layout="constrained")
    grid = figure.subplots(len(methods), 2 * len(nets), sharex=True, squeeze=False)
    columns = [(metric, net) for metric, _ in PANELS for net in nets]
    for line, method in zip(grid, methods, strict=True):
        for axes, (metric, net) in zip(line, columns, strict=True):
            of = {"method": method, "metric": metric, "dataset": net}
            _panel(axes, published(rows, **of), looks, metric, published(known, **of))
    _label(grid, rows, methods, nets)
    handles = style.method_handles(looks.values())
    handles += [] if known.empty else [published_handle("recorded from the official code")]
    style.legend_below(figure, handles, rows)
    return figure


def by_beta(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of angle_bp_BETA and distance_bp_BETA, with a column beta and these metrics without it."""
    parts = table["metric"].astype(str).str.extract(rf"^({'|'.join(LIMITS)})_(.+)$")
    mine = parts[0].notna()
    return table[mine].assign(metric=parts.loc[mine, 0], beta=parts.loc[mine, 1].astype(float))


def _label(grid, rows: pd.DataFrame, methods: Mapping[str, Style], nets: Mapping[str, str]) -> None:
    """Titles and labels of the panels; the tick labels of a quantity stand at its first column alone."""
    for line, look in zip(grid, methods.values(), strict=True):
        for place, (metric, unit) in enumerate(PANELS):
            first, *others = line[place * len(nets) : (place + 1) * len(nets)]
            first.set_ylabel((f"{look.label}\n" if place == 0 else "") + metric_label(metric, unit))
            for axes in others:
                axes.tick_params(labelleft=False)
    for axes, (net, title) in zip(grid[0], [*nets.items()] * 2, strict=True):
        axes.set_title(title + ("" if rows.loc[rows["dataset"] == net, VERIFIED].all() else " †"))
    for axes in grid[-1]:
        axes.set_xlabel("β")


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
            axes.plot(theirs["beta"], theirs["value"].clip(lower=low), **PUBLISHED, color=look.colour, ms=5, zorder=1.5)
    style.say_if_blank(axes)


def at_the_end(rows: pd.DataFrame) -> pd.Series:
    """Median over seeds of the values after the last epoch, by beta."""
    last = rows[rows["epoch"] == rows.groupby(["beta", "seed"])["epoch"].transform("max")]
    return last.groupby("beta")["value"].median()
