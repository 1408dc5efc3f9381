"""Metrics of single runs against epochs: a thin line for each run, or one for each value of a varied setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import column_label, metric_label
from credit.analysis.selection import by_epoch
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import LINES, Style, method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle

FEW = 3  # runs, up to which lines are not thin


@dataclass(frozen=True)
class Panel:
    """dataset: whose runs; method: of which, all if left out. metrics, layers: as recorded, drawn alike. label: of the
    axis. title: above the panel.
    """

    metric_options: ClassVar[tuple[str, ...]] = ("metrics",)
    dataset_options: ClassVar[tuple[str, ...]] = ("dataset",)
    method_options: ClassVar[tuple[str, ...]] = ("method",)
    layer_options: ClassVar[tuple[str, ...]] = ("layers",)
    lengths: ClassVar[dict[str, str]] = {"layers": "metrics"}

    dataset: str
    label: str
    metrics: tuple[str, ...]
    layers: tuple[str, ...]
    method: str | None = None
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """columns: panels in a row. panels: settings of `Panel`, in rows; those of one row share their axis of values. by:
    the varied setting that line styles tell apart. every: of the published values, one in so many is drawn. x_label: of
    the epochs. known: what the published values are.
    """

    entries: ClassVar[dict[str, str]] = {"panels": "Panel"}
    column_options: ClassVar[tuple[str, ...]] = ("by",)
    grids: ClassVar[bool] = True

    panels: tuple[dict, ...]
    columns: int = 2
    by: str | None = None
    every: int = 1
    x_label: str = "epoch"
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel for each entry, with a line for each run: no means.

    table: tidy, with the metrics by layer. options: see `Options`; references: published values by epoch. Raises
    NothingLeft where nothing of any panel was run.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "traces", o["by"] or "")
    panels = [p for p in (Panel(**entry) for entry in o["panels"]) if len(_of(rows, p))]
    if not panels:
        raise NothingLeft(f"traces: no panel was run, only {', '.join(sorted(set(rows['dataset'])))}")
    looks = method_styles(rows["method"], o["rules"])
    across = min(o["columns"], len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(max(1.0 + 2.6 * across, 4.6), 0.9 + 2.2 * down), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey="row", squeeze=False).ravel()
    lines = dict(zip(sorted(rows[o["by"]].dropna().unique(), reverse=True), LINES * len(rows))) if o["by"] else {}
    for axes, panel in zip(grid, panels, strict=False):
        _panel(axes, _of(rows, panel), published(o["references"], dataset=panel.dataset), panel, looks, lines, o)
        verified = rows.loc[rows["dataset"] == panel.dataset, VERIFIED].all()
        axes.set(ylabel=panel.label, title=panel.title + ("" if verified else " †"))
        axes.label_outer()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes in grid[max(len(panels) - across, 0) : len(panels)]:
        axes.set_xlabel(o["x_label"])
        axes.tick_params(labelbottom=True)
    named = [Line2D([], [], color="#444444", ls=ls, label=_said(o["by"], value)) for value, ls in lines.items()]
    methods = style.method_handles(look._replace(marker="") for look in looks.values())
    style.legend_below(figure, [*methods, *named, published_handle(o["known"])], rows)
    return figure


def _of(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    mine = rows[(rows["dataset"] == panel.dataset) & rows["metric"].isin(panel.metrics)]
    return mine if panel.method is None else mine[mine["method"] == panel.method]


def _said(by: str, value: float) -> str:
    return f"{column_label(by)} {value:g}"


def _panel(
    axes, rows: pd.DataFrame, known: pd.DataFrame, panel: Panel, looks: Mapping[str, Style], lines: Mapping,
    o: Mapping[str, Any],
) -> None:  # fmt: skip
    known = known if panel.method is None else published(known, method=panel.method)
    drawn = list(_runs(rows, panel, o["by"]))
    several = len({(method, value) for method, value, _ in drawn}) < len(drawn) / FEW
    for method, value, curve in drawn:
        look = looks[method]
        label = look.label if value is None else f"{look.label}\n{_said(o['by'], value)}"
        thin = {"lw": 0.5, "alpha": 0.7} if several else {}
        line = axes.plot(curve.index, curve, color=look.colour, ls=lines.get(value, "-"), label=label, **thin)
        said = f"{label}, {curve.name}" if len(panel.metrics) > 1 else label
        tell(line, series=said, drawn="one run", n=1)
    for method, mine in known[known["method"].isin(rows["method"])].groupby("method"):
        for metric, layer in zip(panel.metrics, panel.layers, strict=True):
            theirs = mine[(mine["metric"] == metric) & (mine["layer"] == layer)]
            theirs = theirs[theirs["epoch"] % o["every"] == 0]
            if len(theirs):
                mark = {"color": looks[method].colour, "ms": 4, "zorder": 4}
                draw_published(axes, theirs["epoch"], theirs["value"], looks[method].label, o["known"], **mark)
    style.epoch_axis(axes.xaxis, 6)


def _runs(rows: pd.DataFrame, panel: Panel, by: str | None) -> Iterator[tuple[str, float | None, pd.Series]]:
    """(method, value of the varied setting, values by epoch) of every run and metric."""
    for (method, value, _), mine in rows.assign(_by=rows[by] if by else 0.0).groupby(["method", "_by", "seed"]):
        for metric, layer in zip(panel.metrics, panel.layers, strict=True):
            curve = by_epoch(mine, metric, layer)
            if len(curve):
                yield (
                    method,
                    value if by else None,
                    curve.rename(metric_label(metric) + (f", layer {layer}" if layer else "")),
                )
