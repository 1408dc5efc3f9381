"""Theorem 4.3 of the L-DRL paper: updates divided by beta against backpropagation's, as beta falls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from credit.analysis.names import metric_label
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import MEDIAN
from credit.figures.dtp._layers import layer_looks
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle

# what is smaller, which may be rounding, is drawn at the lower one
LIMITS = {"angle_bp": (1e-4, 100.0), "distance_bp": (1e-6, 10.0)}
RECORDED = "recorded from the official code"
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
    options: see `Options`; references: recordings of the official code. Lines: median over runs; values below `LIMITS`
    are drawn there, where the axis says so.
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
    style.legend_below(figure, [*style.method_handles(looks.values()), published_handle(RECORDED)], rows)
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
            first.set_ylabel(f"{look.label}\n{metric_label(metric, unit)}")
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
    powers = range(round(math.log10(low)), round(math.log10(high)) + 1, 2)
    lowest, *others = (f"10^{{{p}}}" for p in powers)
    axes.set_yticks([10.0**p for p in powers], [rf"$\leq {lowest}$", *(f"${label}$" for label in others)])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_locator(NullLocator())
    sizes = np.linspace(5.5, 2.5, len(looks))  # layers that coincide lie within each other
    for (layer, look), size in zip(looks.items(), sizes, strict=True):
        values = at_the_end(rows[(rows["metric"] == metric) & (rows["layer"] == layer)])
        mark = {"marker": look.marker, "ms": size, "lw": 1.0, "label": look.label}
        ours = axes.plot(values.index, values.clip(lower=low), color=look.colour, **mark)
        tell(ours, drawn=MEDIAN, n=rows["seed"].nunique())
        theirs = known[known["layer"] == layer]
        if len(theirs):
            mark = {"ms": 7, "zorder": 1.5, "color": look.colour}
            draw_published(axes, theirs["beta"], theirs["value"].clip(lower=low), look.label, RECORDED, **mark)
    style.say_if_blank(axes)


def at_the_end(rows: pd.DataFrame) -> pd.Series:
    """Median over seeds of the values after the last epoch, by beta."""
    last = rows[rows["epoch"] == rows.groupby(["beta", "seed"])["epoch"].transform("max")]
    return last.groupby("beta")["value"].median()
