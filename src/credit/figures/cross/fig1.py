"""Figure 1: error of every method on every data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import dataset_order, metric_label
from credit.analysis.selection import member_values
from credit.analysis.tables import mean_ci
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import belongs, tell
from credit.figures.options import FigureOptions

LOG_RATIO = 8.0
NEAR = 0.2  # 0 is near where it is no further from the points than this part of their range
INTERVAL = "95 % interval"
MEAN, RUN, ALONE, BEYOND = f"mean and {INTERVAL}", "one run", "the only run", "interval goes on"  # in the legend


@dataclass(frozen=True)
class Options(FigureOptions):
    """metric: of the whole net. select, validation: see `credit.analysis.values.Value`. beside: another metric of the
    whole net, such as what a run costs, whose last value is drawn beside."""

    metric_options: ClassVar[tuple[str, ...]] = ("metric", "validation", "beside")

    metric: str = "test_error"
    select: Literal["final", "lowest", "best_validation", "lowest_validation"] = "final"
    validation: str | None = None
    beside: str | None = None


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel per data set, one row per method: mean with 95 % t interval, and the single runs; with `beside` a
    second panel, the means of that metric as bars.

    table: tidy, with the metric for the whole net, errors as fractions.
    options: see `Options`.
    Runs that diverged are left out of the mean and counted in the panel. Raises NothingLeft for an empty
    selection.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig1")
    runs = member_values(rows, o["metric"], o["select"], o["validation"])
    if runs.empty:
        raise NothingLeft(f"fig1: no run has the value {o['select']} of {o['metric']}; nothing to draw")
    scale, unit = style.percent(o["metric"])
    runs = runs.assign(value=scale * runs["value"])
    datasets, methods = dataset_order(runs["dataset"]), method_styles(runs["method"], o["rules"])
    columns = len(datasets) * (2 if o["beside"] else 1)
    figure = Figure(figsize=(max(1.1 + 2.6 * columns, 4), 1.3 + 0.27 * len(methods)), layout="constrained")
    panels = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    for axes, dataset in zip(panels[:: columns // len(datasets)], datasets, strict=True):
        _panel(axes, runs[runs["dataset"] == dataset], methods)
        axes.set_title(style.panel_title(rows, dataset))
        axes.set_xlabel(metric_label(o["metric"], unit))
    if o["beside"]:
        for axes, dataset in zip(panels[1::2], datasets, strict=True):
            _bars(axes, rows[rows["dataset"] == dataset], methods, o["beside"])
    panels[0].set_yticks(range(len(methods)), [look.label for look in methods.values()])
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    style.legend_below(figure, _handles(), rows)
    return figure


def _handles() -> list[Line2D]:
    """Legend entries of all that may be drawn in a panel."""
    marks = {MEAN: ("o", "-", 1.0), ALONE: ("o", "none", 1.0), RUN: (".", "none", 0.35), BEYOND: (">", "none", 1.0)}
    return [
        Line2D([], [], color="k", marker=marker, linestyle=line, alpha=alpha, label=label)
        for label, (marker, line, alpha) in marks.items()
    ]


def _panel(axes, runs: pd.DataFrame, methods: dict[str, Style]) -> None:
    means, ends, notes, intervals = [], [], [], []
    for place, (method, look) in enumerate(methods.items()):
        mine = runs[runs["method"] == method]
        values = mine["value"].dropna().to_numpy()
        lost = int(mine["diverged"].sum())
        m = mean_ci(values)
        if lost or m.n == 0:
            notes.append((place, m.mean, f"{lost} of {len(mine)} diverged" if lost else "not run"))
        if m.n == 0:
            continue
        means.append(m.mean)
        ends += list(values)
        mark = {"marker": look.marker, "markersize": 5.5, "label": MEAN if m.n > 1 else ALONE}
        mean = axes.plot(m.mean, place, **mark, color=look.colour, zorder=4)
        tell(mean, series=look.label, drawn="mean over runs" if m.n > 1 else ALONE, n=m.n)
        if m.n > 1:
            belongs(axes.plot([m.low, m.high], [place, place], color=look.colour, linewidth=1.6))
            tell(mean, x_lower=m.low, x_upper=m.high, band=INTERVAL)
            dots = {"alpha": 0.35, "markeredgewidth": 0, "label": RUN}
            singles = axes.plot(values, _beside(place, m.n), ".", color=look.colour, **dots)
            tell(singles, series=look.label, drawn=RUN, n=1)
            intervals.append((place, m.low, m.high, look.colour))
            # of two runs the interval may be huge: the axis cuts it then, so that the points stay apart
            ends += [max(m.low, values.min() / 2), min(m.high, values.max() * 2)]
    if means:
        _scale(axes, means, min(ends), max(ends))
    for place, low, high, colour in intervals:
        _arrows(axes, place, low, high, colour)
    for place, mean, text in notes:
        _note(axes, place, mean, text, [*methods.values()][place].label)


def _bars(axes, rows: pd.DataFrame, methods: dict[str, Style], metric: str) -> None:
    """Mean of every method as a bar with its value."""
    scale, unit = style.percent(metric)
    recorded = (rows["metric"] == metric).any()
    runs = member_values(rows, metric) if recorded else pd.DataFrame(columns=["method", "value"])
    means = {method: scale * runs.loc[runs["method"] == method, "value"].mean() for method in methods}
    known = {method: value for method, value in means.items() if np.isfinite(value)}
    for place, method in enumerate(methods):
        if method not in known:
            continue
        bar = axes.barh(place, known[method], 0.55, color=methods[method].colour, alpha=0.55)
        counted = int(runs.loc[runs["method"] == method, "value"].notna().sum())
        tell(bar, series=methods[method].label, drawn="mean over runs", n=counted)
        axes.annotate(f"{known[method]:.3g}", (known[method], place), (3, 0), textcoords="offset points", va="center")
    if known and min(known.values()) > 0 and max(known.values()) / min(known.values()) > LOG_RATIO:
        axes.set_xlim(min(known.values()) / 1.6, 2.5 * max(known.values()))
        style.log_axis(axes.xaxis)
    else:
        axes.margins(x=0.2)
    axes.set_xlabel(metric_label(metric, unit))
    if not known:
        style.say_if_blank(axes)


def _beside(place: int, n: int) -> np.ndarray:
    """Heights of `n` single runs, above and below their method's row."""
    return place + 0.26 * np.where(np.arange(n) % 2, 1, -1)


def _arrows(axes, place: int, low: float, high: float, colour: str) -> None:
    """At the ends of the axis arrows where an interval goes on."""
    left, right = axes.get_xlim()
    for end, marker, beyond in ((left, "<", low < left), (right, ">", high > right)):
        if beyond:
            mark = {"marker": marker, "linestyle": "none", "clip_on": False, "zorder": 4, "label": BEYOND}
            belongs(axes.plot(end, place, **mark, color=colour))


def _scale(axes, means: list[float], low: float, high: float) -> None:
    """Logarithmic where some methods are far away from the others; else from 0 where this is near."""
    if low > 0 and max(means) / min(means) > LOG_RATIO:
        axes.set_xlim(low / 1.15, high * 1.15)
        style.log_axis(axes.xaxis)
    else:
        margin = 0.06 * (high - low) or 0.05 * high or 1.0
        near = 0 < low < margin + NEAR * (high - low)
        axes.set_xlim(0 if near else low - margin, high + margin)


def _note(axes, place: int, mean: float, text: str, label: str) -> None:
    """A remark on a method, on that side of its row where there is more room."""
    low, high = axes.get_xlim()
    middle = np.sqrt(low * high) if axes.get_xscale() == "log" else (low + high) / 2
    at_right = not mean > middle
    note = axes.text(
        0.99 if at_right else 0.01,
        place,
        text,
        transform=axes.get_yaxis_transform(),
        ha="right" if at_right else "left",
        va="center",
        fontsize=6.5,
        color="#666666",
    )
    tell(note, series=label)
