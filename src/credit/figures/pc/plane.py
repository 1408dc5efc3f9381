"""Two outputs, or two weights, update by update, as a path in their plane (Figures 3a, 3d, the 1-2-2 example)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib import cm, colors
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from credit.analysis.names import column_label
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import belongs, tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle

LEVELS = "level sets of the loss"
SHADES = "viridis"


@dataclass(frozen=True)
class Panel:
    """dataset: whose runs. metrics, layers: as recorded, of the two axes; labels: of these. title: above the panel.

    levels: values of the loss ½ Σ (gain × coordinate - target)² whose level sets are drawn; target, gains: of the two
    coordinates. The target is a cross.
    """

    metric_options: ClassVar[tuple[str, ...]] = ("metrics",)
    dataset_options: ClassVar[tuple[str, ...]] = ("dataset",)
    layer_options: ClassVar[tuple[str, ...]] = ("layers",)
    lengths: ClassVar[dict[str, int]] = {"labels": 2, "metrics": 2, "layers": 2, "target": 2, "gains": 2}

    dataset: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("prediction", "prediction")
    layers: tuple[str, ...] = ("1", "2")
    title: str = ""
    levels: tuple[float, ...] = ()
    target: tuple[float, ...] = (1.0, 1.0)
    gains: tuple[float, ...] = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """panels: settings of `Panel`, from left to right. by: the varied setting that colours tell apart; left out, they
    tell the iterations. last: the last iteration that is drawn, counted from 1. x_limits, y_limits: of the axes.
    known: what the published points are.
    """

    entries: ClassVar[dict[str, str]] = {"panels": "Panel"}
    column_options: ClassVar[tuple[str, ...]] = ("by",)
    grids: ClassVar[bool] = True
    lengths: ClassVar[dict[str, int]] = {"x_limits": 2, "y_limits": 2}

    panels: tuple[dict, ...]
    by: str | None = None
    last: Annotated[int, "> 0"] | None = None
    x_limits: tuple[float, ...] = field(default_factory=tuple)
    y_limits: tuple[float, ...] = field(default_factory=tuple)
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel for each entry: the points of every method, in the order of the epochs, of which each is an update, as
    mean over runs; the colour tells the iteration, or the varied setting.

    table: tidy, with the metrics by layer. options: see `Options`; references: published points by epoch. Raises
    NothingLeft where nothing of any panel was run.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "plane", o["by"] or "")
    rows = rows[rows["epoch"] <= (np.inf if o["last"] is None else o["last"])]
    panels = [p for p in (Panel(**entry) for entry in o["panels"]) if len(_points(rows, p, o["by"]))]
    if not panels:
        raise NothingLeft(f"plane: no panel was run, only {', '.join(sorted(set(rows['dataset'])))}")
    looks = method_styles(rows["method"], o["rules"])
    figure = Figure(figsize=(1.6 + 3.0 * len(panels), 3.5), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    drawn = {p.title + p.dataset + p.labels[0]: _points(rows, p, o["by"]) for p in panels}
    shade = _shades(np.concatenate([points["colour"] for points in drawn.values()]), log=o["by"] is not None)
    for axes, panel, points in zip(grid, panels, drawn.values(), strict=True):
        for method, look in looks.items():
            _paths(axes, points[points["method"] == method], look, shade)
            known = published(o["references"], method=method)
            _known(axes, _points(known, panel, o["by"] if o["by"] in known else None), look, o)
        axes.set(xlabel=panel.labels[0], ylabel=panel.labels[1], title=panel.title)
        limits = {axis: o[f"{axis}_limits"] for axis in "xy"}
        axes.set(**{f"{axis}lim": values for axis, values in limits.items() if values})
        if panel.levels:
            _levels(axes, panel)
    bar = figure.colorbar(shade, ax=grid, label=column_label(o["by"]) if o["by"] else "iteration", aspect=30)
    bar.outline.set_linewidth(0.5)
    if not o["by"]:
        bar.locator = MaxNLocator(6, integer=True)
    handles = [*style.method_handles(looks.values()), Line2D([], [], color="#999999", lw=0.8, label=LEVELS)]
    style.legend_below(figure, [*handles, published_handle(o["known"])], rows)
    return figure


def _points(rows: pd.DataFrame, panel: Panel, by: str | None) -> pd.DataFrame:
    """Columns method, path, epoch, colour, x, y: means over runs, in the order of the epochs; path: which one."""
    of = rows[rows["dataset"] == panel.dataset]
    keys = ["method", *([by] if by else []), "epoch"]
    sides = [
        of[(of["metric"] == metric) & (of["layer"] == layer)].groupby(keys)["value"].mean()
        for metric, layer in zip(panel.metrics, panel.layers, strict=True)
    ]
    both = pd.concat(dict(zip("xy", sides, strict=True)), axis=1, join="inner").reset_index().sort_values("epoch")
    path = both[by] if by else 0
    return both.assign(path=path, colour=(both[by] if by else both["epoch"]).astype(float))


def _shades(values: np.ndarray, log: bool) -> cm.ScalarMappable:
    low, high = values.min(), max(values.max(), values.min() * 1.001)
    scale = colors.LogNorm(low, high) if log else colors.Normalize(low, high)
    return cm.ScalarMappable(scale, SHADES)


def _paths(axes, points: pd.DataFrame, look: Style, shade: cm.ScalarMappable) -> None:
    for _, path in points.groupby("path"):
        line = {"color": look.colour, "linestyle": look.line, "lw": 0.7, "zorder": 2, "label": look.label}
        belongs(axes.plot(path["x"], path["y"], **line))
        few = len(path) < 200  # more lie over each other
        mark = {
            "marker": look.marker,
            "s": 20 if few else 7,
            "linewidths": 0.3,
            "edgecolors": look.colour if few else "none",
        }
        dots = axes.scatter(path["x"], path["y"], c=shade.to_rgba(path["colour"]), zorder=3, label=look.label, **mark)
        tell(dots, drawn="path, mean over runs", colour=path["colour"])


def _known(axes, points: pd.DataFrame, look: Style, o: Mapping[str, Any]) -> None:
    if len(points):
        mark = {"markerfacecolor": "none", "color": look.colour, "ms": 6, "zorder": 4}
        draw_published(axes, points["x"], points["y"], look.label, o["known"], **mark)


def _levels(axes, panel: Panel) -> None:
    """Level sets of the loss over what is shown, and the target."""
    spans = [np.linspace(*limits, 200) for limits in (axes.get_xlim(), axes.get_ylim())]
    x, y = np.meshgrid(*spans)
    loss = sum(0.5 * (g * u - t) ** 2 for g, u, t in zip(panel.gains, (x, y), panel.target, strict=True))
    found: Sequence = axes.contour(x, y, loss, levels=sorted(panel.levels), colors="#999999", linewidths=0.8, zorder=1)
    found.set_label(LEVELS)
    target = axes.plot(*(t / g for g, t in zip(panel.gains, panel.target, strict=True)), "+", color="#444444", ms=8)
    tell(target, series="target")
