"""A measure of every layer, run by run, such as the prospective index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from credit.analysis.names import metric_label
from credit.analysis.selection import by_epoch
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle


@dataclass(frozen=True)
class Options(FigureOptions):
    """metric: by layer, as recorded. label: of the axis of layers. known: what the published values are."""

    metric_options: ClassVar[tuple[str, ...]] = ("metric",)
    one_dataset: ClassVar[bool] = True

    metric: str = "prospective_index"
    label: str = "hidden layer, from the input"
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Strips of points, one for each run, for every layer and method: the last value that was recorded.

    table: tidy, one data set, with the metric by layer. options: see `Options`; references: published values of runs.
    Raises NothingLeft where no run has the metric.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "by_layer")
    mine = rows[(rows["metric"] == o["metric"]) & (rows["layer"] != "")]
    if mine.empty:
        raise NothingLeft(f"by_layer: no {o['metric']} was recorded; nothing to draw")
    layers, looks = sorted(mine["layer"].unique(), key=int), method_styles(mine["method"], o["rules"])
    known = published(o["references"], metric=o["metric"])
    figure = Figure(figsize=(max(1.4 + 0.9 * len(layers), 4.4), 3.2), layout="constrained")
    axes = figure.subplots()
    offsets = dict(zip(looks, (np.arange(len(looks)) - (len(looks) - 1) / 2) * 0.5 / len(looks), strict=True))
    for place, layer in enumerate(layers):
        for method, look in looks.items():
            at = place + offsets[method]
            runs = mine[(mine["method"] == method) & (mine["layer"] == layer)]
            last = [by_epoch(run, o["metric"], layer).iloc[-1] for _, run in runs.groupby("seed")]
            mark = {"marker": look.marker, "s": 32, "alpha": 0.75, "linewidths": 0.4, "edgecolors": "white"}
            dots = axes.scatter(at + _spread(len(last)), last, color=look.colour, label=look.label, zorder=3, **mark)
            tell(dots, drawn="one run", n=1)
            theirs = published(known, method=method, layer=layer)["value"]
            if len(theirs):
                mark = {"color": look.colour, "ms": 5, "zorder": 2}
                draw_published(axes, at + 0.12 + _spread(len(theirs)), theirs, look.label, o["known"], **mark)
    axes.set_xticks(range(len(layers)), layers)
    axes.grid(visible=False, axis="x")
    axes.set(
        xlabel=o["label"], ylabel=metric_label(o["metric"]), title=style.panel_title(rows, rows["dataset"].iloc[0])
    )
    style.legend_below(figure, [*style.method_handles(looks.values()), published_handle(o["known"])], rows)
    return figure


def _spread(n: int) -> np.ndarray:
    """Places of n points beside each other."""
    return (np.arange(n) - (n - 1) / 2) * 0.012
