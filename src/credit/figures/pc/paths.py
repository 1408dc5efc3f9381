"""How far weights wander against how far they get, by learning rate (which rule is the less erratic one)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import column_label, dataset_order, metric_label
from credit.analysis.selection import member_values
from credit.analysis.values import Value
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import bars_of, belongs, tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle

SPREAD = "half a standard error"
SIZES = (2.5, 7.0)  # of markers, from the smallest to the largest value of the varied setting


@dataclass(frozen=True)
class Options(FigureOptions):
    """across, along: the metrics of the two axes. by: the varied setting. titles: {data set: above its panel}, which
    are the panels; all data sets if left out. known: what the published values are.
    """

    metric_options: ClassVar[tuple[str, ...]] = ("across", "along")
    column_options: ClassVar[tuple[str, ...]] = ("by",)
    keyed_by: ClassVar[dict[str, str]] = {"titles": "dataset"}
    grids: ClassVar[bool] = True

    across: str = "final_length"
    along: str = "path_length"
    by: str = "lr"
    titles: dict | None = None
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One point for each method and value of the varied setting: means over runs after the last epoch, with half a
    standard error in either direction; larger markers are larger values.

    table: tidy, with both metrics. options: see `Options`; references: published values, with the varied setting.
    Raises NothingLeft where they were not recorded.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "paths", o["by"])
    names = (o["across"], o["along"])
    runs = {m: member_values(rows, Value(m, each=o["by"])) for m in names}
    titles = o["titles"] or dict.fromkeys(dataset_order(rows["dataset"]), "")
    present = [d for d in dataset_order(titles) if all((r["dataset"] == d).any() for r in runs.values())]
    if not present:
        raise NothingLeft(f"paths: no run of {', '.join(titles)} recorded {' and '.join(names)}; nothing to draw")
    looks = method_styles(rows["method"], o["rules"])
    figure = Figure(figsize=(max(1.0 + 3.4 * len(present), 4.4), 3.6), layout="constrained")
    grid = figure.subplots(1, len(present), squeeze=False)[0]
    for axes, dataset in zip(grid, present, strict=True):
        mine = {m: r[r["dataset"] == dataset] for m, r in runs.items()}
        for method, look in looks.items():
            _method(axes, *(r[r["method"] == method] for r in mine.values()), look, o["by"])
            _known(axes, [published(o["references"], dataset=dataset, method=method, metric=m) for m in names], look, o)
        mark = "" if rows.loc[rows["dataset"] == dataset, "data_verified"].all() else " †"
        axes.set(xlabel=metric_label(names[0]), title=titles[dataset] + mark)
    grid[0].set_ylabel(metric_label(names[1]))
    spread = Line2D([], [], color="#444444", marker="|", ls="none", ms=9, label=SPREAD)
    sizes = [
        Line2D([], [], color="#444444", marker="o", ls="none", ms=size, label=f"{word} {column_label(o['by'])}")
        for size, word in zip(SIZES, ("smallest", "largest"), strict=True)
    ]
    _for_the_legend(grid[0], sizes)
    handles = [*style.method_handles(looks.values()), spread, *sizes, published_handle(o["known"])]
    style.legend_below(figure, handles, rows)
    return figure


def _for_the_legend(axes, handles: list[Line2D]) -> None:
    """Points outside of the axes, since only what is drawn is listed."""
    for handle in handles:
        belongs(axes.plot([2], [2], transform=axes.transAxes, label=handle.get_label(), clip_on=True, alpha=0))


def _method(axes, across: pd.DataFrame, along: pd.DataFrame, look: Style, by: str) -> None:
    both = across.merge(along, on=["seed", by], suffixes=("_x", "_y"))
    points = both.groupby(by)[["value_x", "value_y"]]
    means, errors, counts = points.mean(), points.sem().fillna(0.0) / 2, points.size()
    if means.empty:
        return
    mark = {"color": look.colour, "marker": look.marker, "ls": "none", "markeredgewidth": 0.5, "label": look.label}
    for at, size in zip(means.index, np.linspace(*SIZES, len(means)), strict=True):
        (x, y), (dx, dy) = means.loc[at], errors.loc[at]
        limits = {"x_lower": x - dx, "x_upper": x + dx, "lower": y - dy, "upper": y + dy, "band": SPREAD}
        said = {"series": f"{look.label}, {column_label(by)} {at:g}", "drawn": "mean over runs", "n": counts[at]}
        tell(axes.plot(x, y, ms=size, **mark), **said, **limits)
    bars = {"fmt": "none", "ecolor": look.colour, "elinewidth": 0.8}
    drawn = axes.errorbar(means["value_x"], means["value_y"], errors["value_y"], errors["value_x"], **bars)
    bars_of(drawn, SPREAD)


def _known(axes, known: list[pd.DataFrame], look: Style, o: Mapping[str, Any]) -> None:
    """Published means over runs."""
    if not all(map(len, known)):
        return
    x, y = (k.groupby(o["by"])["value"].mean() for k in known)
    mark = {"color": look.colour, "ms": 7, "zorder": 4, "markerfacecolor": "none"}
    draw_published(axes, x, y.reindex(x.index), look.label, o["known"], **mark)
