"""Measured quantities against training, one panel each: Figures 3, S1 and S5 to S12 of the DFC paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import METHODS, family, metric_label
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve, median_curve
from credit.figures.looks import DASHED, METHOD_STYLES, SOLID, Style, method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions

AXES = {"epoch": "epoch", "step": "mini-batches"}
MARK = {"color": "#7f7f7f", "linewidth": 2.0}


@dataclass(frozen=True)
class Panel:
    """What one panel shows.

    metric, layer: as recorded. title: above it. label: of the y axis, by default from the metric. limits: of the y
    axis. line: a value to be marked; marks: what the legend calls it; log: logarithmic; window: of the centred mean, by
    default the figure's; x: "epoch", or "step" for each measurement by itself; on: "pretrain" for what was measured
    before the first epoch, by default what was later. said: instead of a panel, a sentence with the largest value over
    layers, methods, epochs and runs.
    """

    metric_options: ClassVar[tuple[str, ...]] = ("metric",)
    layer_options: ClassVar[tuple[str, ...]] = ("layer",)
    lengths: ClassVar[dict[str, int]] = {"limits": 2}

    metric: str
    layer: str = ""
    title: str = ""
    label: str | None = None
    limits: tuple[float, ...] | None = None
    line: float | None = None
    marks: str = "marked value"
    log: bool = False
    window: Annotated[int, "> 0"] | None = None
    x: Literal["epoch", "step"] = "epoch"
    on: Literal["train", "pretrain"] = "train"
    said: bool = False


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """panels: settings of `Panel`. columns: panels in a line. groups: instead, lists of methods, each of which gets a
    line of all panels, or, where there is one panel, a panel in a line under its rule's name. labels:
    {method: name in the legend} where its own does not say enough. window: of the centred mean, in epochs or, for
    panels against steps, in measurements.
    """

    entries: ClassVar[dict[str, str]] = {"panels": "Panel"}
    method_options: ClassVar[tuple[str, ...]] = ("groups",)
    keyed_by: ClassVar[dict[str, str]] = {"labels": "method"}

    panels: tuple[dict, ...]
    groups: tuple[list, ...] | None = None
    labels: dict = field(default_factory=dict)
    columns: Annotated[int, "> 0"] = 3
    window: Annotated[int, "> 0"] = 1


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Median over runs with quartiles, after a centred mean of each run.

    table: tidy, one data set. options: see `Options`. A method without a quantity has no curve there. As in the paper,
    lines of variants with fixed feedback are dashed, all others solid.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "panels")
    chosen = [Panel(**settings) for settings in o["panels"]]
    panels = [panel for panel in chosen if not panel.said]
    if not set(rows["metric"]) & {p.metric for p in panels}:
        names = ", ".join(dict.fromkeys(p.metric for p in panels))
        raise NothingLeft(f"panels: {names}: none was recorded; nothing to draw")
    looks = {
        m: look._replace(line=SOLID if m in METHOD_STYLES else DASHED)
        for m, look in style.renamed(method_styles(rows["method"], o["rules"]), o["labels"]).items()
    }
    groups = [[m for m in looks if m in group] for group in o["groups"] or [list(looks)]]
    groups = [group for group in groups if group]
    if not groups:
        raise NothingLeft(f"panels: no method of options.groups was run, only {', '.join(looks)}; nothing to draw")
    wanted = len(groups) * len(panels)
    columns = len(panels) if o["groups"] and len(panels) > 1 else min(o["columns"], wanted)
    lines = -(-wanted // columns)
    figure = Figure(figsize=(0.6 + 2.3 * columns, 0.8 + 1.75 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    places = iter(grid.flat)
    for number, group in enumerate(groups):
        for panel in panels:
            axes = next(places)
            _draw_panel(axes, panel, rows, {m: looks[m] for m in group}, o["window"])
            alone = METHODS.get(family(group[0], o["rules"].get(group[0])), panel.title) if o["groups"] else panel.title
            axes.set_title(alone if len(panels) == 1 else panel.title if number == 0 else "")
    unused = list(places)
    for axes in unused:
        axes.remove()
    figure.align_ylabels([axes for axes in grid.flat if axes not in unused])
    drawn = [looks[m] for m in looks if any(m in group for group in groups)]
    marked = [Line2D([], [], **MARK, label=m) for m in dict.fromkeys(p.marks for p in panels if p.line is not None)]
    style.legend_below(figure, [*style.method_handles(drawn), *marked], rows)
    if sentences := [_said(rows, panel.metric) for panel in chosen if panel.said]:
        figure.suptitle("\n".join(sentences), fontsize=7, color=style.FAINT)
    return figure


def _said(rows: pd.DataFrame, metric: str) -> str:
    """A metric in a sentence, for those that would be a line along an axis."""
    values = rows.loc[rows["metric"] == metric, "value"].abs()
    if not values.notna().any():
        return f"{metric_label(metric)}: not recorded"
    return f"{metric_label(metric)}: at most {values.max():.1e} in every layer, method, epoch and run"


def _draw_panel(axes, panel: Panel, rows: pd.DataFrame, looks: Mapping[str, Style], window: int) -> None:
    mine = rows[(rows["epoch"] == 0) == (panel.on == "pretrain")] if panel.x == "step" else rows
    if panel.line is not None:
        tell(axes.axhline(panel.line, **MARK, zorder=1.5, label=panel.marks), series=panel.marks)
    for place, (method, look) in enumerate(looks.items()):
        curve = median_curve(mine[mine["method"] == method], panel.metric, panel.layer, panel.window or window, panel.x)
        draw_curve(axes, curve, look, place, len(looks))
    style.say_if_blank(axes)
    if panel.limits is not None:
        axes.set_ylim(*_widened(axes, panel.limits))
    if panel.log and min((y for _, y in _points(axes)), default=0.0) > 0:
        style.log_axis(axes.yaxis)
    if panel.x == "epoch":
        style.epoch_axis(axes.xaxis, 4)
    else:
        axes.locator_params(axis="x", nbins=4)
    label = metric_label(panel.metric, "°" if "angle" in panel.metric else "") if panel.label is None else panel.label
    axes.set_ylabel(label)
    axes.set_xlabel(AXES[panel.x])


def _widened(axes, limits: tuple[float, float]) -> tuple[float, float]:
    """The published limits, or further ones where curves would leave them."""
    (low, high), drawn = limits, [y for _, y in _points(axes)]
    margin = 0.04 * (high - low)
    below, above = min(drawn, default=low), max(drawn, default=high)
    return (below - margin if below < low else low), (above + margin if above > high else high)


def _points(axes) -> Iterator[tuple[float, float]]:
    for line in axes.lines:
        x, y = line.get_data()
        if len(x) == len(y) and line.get_transform() == axes.transData:
            yield from ((a, b) for a, b in zip(x, y, strict=True) if b == b)
