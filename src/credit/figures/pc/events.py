"""Means of events pooled over runs, such as values at and after a punishment, beside measured ones (Figure 6c)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.bootstrap import bootstrap_interval
from credit.analysis.events import events
from credit.analysis.pooling import pooling
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import LINES, Style, method_styles
from credit.figures.numbers import bars_of, tell
from credit.figures.options import FigureOptions
from credit.figures.pc._runs import BARS, INTERVAL, interval_handle
from credit.figures.references import draw_published, published, published_handle

MEASURED = "#7f7f7f"


@dataclass(frozen=True)
class Panel:
    """dataset, method: whose events. title: above the panel, the method if left out."""

    dataset_options: ClassVar[tuple[str, ...]] = ("dataset",)
    method_options: ClassVar[tuple[str, ...]] = ("method",)

    dataset: str
    method: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """events: see `credit.analysis.pooling`. panels: settings of `Panel`, from left to right. lines: {name: metrics at
    each of `places`}. places: names on the axis. scales: {method: [scale, offset]} of what is drawn; with it there is a
    panel of the measured means. measured: what that panel is called. label: of the axis. known: what the published
    values are.
    """

    entries: ClassVar[dict[str, str]] = {"panels": "Panel"}
    lengths: ClassVar[dict[str, int | str]] = {"lines": "places", "scales": 2}
    keyed_by: ClassVar[dict[str, str]] = {"scales": "method"}

    events: dict
    panels: tuple[dict, ...]
    places: tuple[str, ...]
    lines: dict
    scales: dict = field(default_factory=dict)
    label: str = "value"
    measured: str = "measured"
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel for each entry: means over events with 68 % intervals by resampling events, a line for each kind.

    table: tidy, with the metrics of the events. options: see `Options`; references: published means of the same. Raises
    NothingLeft where nothing of any panel was run.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "events")
    wanted = pooling(o)
    found = events(rows, wanted)
    panels = [Panel(**p) for p in o["panels"]]
    panels = [p for p in panels if ((found["dataset"] == p.dataset) & (found["method"] == p.method)).any()]
    if not panels:
        raise NothingLeft(f"events: no panel was run, only {', '.join(sorted(set(rows['dataset'])))}")
    looks = method_styles([p.method for p in panels], o["rules"])
    count = len(panels) + bool(o["scales"])
    figure = Figure(figsize=(max(1.0 + 1.7 * count, 4.6), 3.2), layout="constrained")
    grid = figure.subplots(1, count, sharey=bool(o["scales"]), squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=False):
        mine = found[(found["dataset"] == panel.dataset) & (found["method"] == panel.method)]
        known = published(o["references"], dataset=panel.dataset, method=panel.method)
        _panel(axes, mine, known, looks[panel.method], o)
        verified = rows.loc[rows["dataset"] == panel.dataset, VERIFIED].all()
        axes.set_title((panel.title or looks[panel.method].label) + ("" if verified else " †"))
    if o["scales"]:
        for line, (name, metrics) in zip(LINES, o["lines"].items(), strict=False):
            means = [wanted.data[m] for m in metrics]
            mark = {"color": MEASURED, "marker": "s", "ls": line, "label": o["measured"]}
            tell(grid[-1].plot(range(len(means)), means, **mark), series=name, drawn=f"{o['measured']}, mean")
        grid[-1].set_title(o["measured"])
    for axes in grid:
        axes.set_xticks(range(len(o["places"])), o["places"])
        axes.set_xlim(-0.35, len(o["places"]) - 0.65)
    grid[0].set_ylabel(o["label"])
    kinds = [Line2D([], [], color="#444444", ls=ls, label=name) for ls, name in zip(LINES, o["lines"], strict=False)]
    measured = Line2D([], [], color=MEASURED, marker="s", ls="none", label=o["measured"])
    handles = [*style.method_handles(s._replace(line="none") for s in looks.values()), *kinds, measured]
    style.legend_below(figure, [*handles, interval_handle(), published_handle(o["known"])], rows)
    return figure


def _panel(axes, mine: pd.DataFrame, known: pd.DataFrame, look: Style, o: Mapping[str, Any]) -> None:
    scale, offset = o["scales"].get(mine["method"].iloc[0], (1.0, 0.0))
    for k, (name, metrics) in enumerate(o["lines"].items()):
        values = [scale * mine[metric].dropna().to_numpy() + offset for metric in metrics]
        there = [place for place, v in enumerate(values) if len(v)]
        means = [values[place].mean() for place in there]
        mark = {"marker": look.marker, "ls": LINES[k % len(LINES)], "label": f"{look.label}\n{name}"}
        line = axes.plot(there, means, color=look.colour, **mark)
        tell(line, drawn="mean over events", n=[len(values[place]) for place in there])
        limits = np.array([bootstrap_interval(values[place]) for place in there]).reshape(-1, 2).T
        if np.isfinite(limits).any():
            bars_of(axes.errorbar(there, means, np.abs(limits - means), ecolor=look.colour, **BARS), INTERVAL)
            tell(line, lower=limits[0], upper=limits[1], band=INTERVAL)
        theirs = [(place, published(known, metric=metric)["value"]) for place, metric in enumerate(metrics)]
        spots = [(place, scale * v.iloc[0] + offset) for place, v in theirs if len(v)]
        if spots:
            mark = {"color": look.colour, "ms": 7, "zorder": 1.9}
            draw_published(axes, *zip(*spots, strict=True), f"{look.label}, {name}", o["known"], **mark)
