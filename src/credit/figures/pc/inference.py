"""Where a value node is at every iteration of inference, in some of the updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import LINES, method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """metric: of the probe inference_course. epochs: of which the course is drawn, each an update. label: of the axis.
    every: of the published values, one in so many is drawn. known: what they are.
    """

    metric_options: ClassVar[tuple[str, ...]] = ("metric",)
    one_dataset: ClassVar[bool] = True

    epochs: tuple[int, ...]
    metric: str = "node_1_1"
    label: str = "hidden value"
    every: int = 1
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """The mean over runs of the node against the iteration of inference, a line for each of the updates.

    table: tidy, with the metric by iteration, in the column of layers. options: see `Options`; references: published
    values in the same columns. Raises NothingLeft where no run has recorded any.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "inference")
    mine = rows[(rows["metric"] == o["metric"]) & rows["epoch"].isin(o["epochs"])]
    if mine.empty:
        raise NothingLeft(f"inference: no run recorded {o['metric']} in the epochs {', '.join(map(str, o['epochs']))}")
    looks, lines = method_styles(mine["method"], o["rules"]), dict(zip(o["epochs"], LINES * len(o["epochs"])))
    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes = figure.subplots()
    for (method, epoch), of in mine.groupby(["method", "epoch"]):
        look = looks[method]
        curve = _course(of)
        line = axes.plot(curve.index, curve, color=look.colour, ls=lines[epoch], label=f"{look.label}\n{_said(epoch)}")
        tell(line, drawn="mean over runs", n=of["seed"].nunique())
        theirs = _course(published(o["references"], method=method, metric=o["metric"]).query("epoch == @epoch"))
        if len(theirs):
            theirs = theirs[theirs.index % o["every"] == 0]
            mark = {"color": look.colour, "ms": 4.5, "zorder": 4}
            draw_published(axes, theirs.index, theirs, f"{look.label}, {_said(epoch)}", o["known"], **mark)
    axes.set(xlabel="iteration of inference", ylabel=o["label"])
    kinds = [Line2D([], [], color="#444444", ls=line, label=_said(epoch)) for epoch, line in lines.items()]
    methods = style.method_handles(look._replace(marker="") for look in looks.values())
    style.legend_below(figure, [*methods, *kinds, published_handle(o["known"])], rows)
    return figure


def _course(rows: pd.DataFrame) -> pd.Series:
    """Means over runs by iteration."""
    return rows.assign(iteration=rows["layer"].str.removeprefix("t").astype(int)).groupby("iteration")["value"].mean()


def _said(epoch: int) -> str:
    return f"update {epoch}"
