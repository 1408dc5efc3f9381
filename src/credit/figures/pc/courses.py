"""Metrics against epochs, at the best point of a grid or at a given one (Figures 3f, 4d, 4f, 4k)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import column_label, metric_label
from credit.analysis.tables import VERIFIED
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import Curve, draw_curve
from credit.figures.looks import LINES, Style, method_styles
from credit.figures.pc._runs import RunOptions, chosen_rows, course, interval_handle, value_of, y_label
from credit.figures.references import draw_published, published, published_handle


@dataclass(frozen=True)
class Panel:
    """dataset: whose runs. metrics: each with a line style of its own, if there are several; total: their sum over
    layers. label: of the axis, where one metric does not say it. title: above the panel.
    """

    metric_options: ClassVar[tuple[str, ...]] = ("metrics",)
    dataset_options: ClassVar[tuple[str, ...]] = ("dataset",)

    dataset: str
    metrics: tuple[str, ...] = ("test_error",)
    total: bool = False
    label: str = ""
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """panels: settings of `Panel`, from left to right. metric, select, first, by: by which the best point of the grid
    `best` is chosen, where one is; last: the last epoch that is drawn. axis: what the axis counts. per_epoch: how many
    of these an epoch has. known: what the published values are.
    """

    entries: ClassVar[dict[str, str]] = {"panels": "Panel"}

    panels: tuple[dict, ...]
    last: Annotated[int, "> 0"] | None = None
    axis: str = "epoch"
    per_epoch: Annotated[int, "> 0"] = 1
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel for each entry: the mean over runs by epoch, with 68 % intervals by resampling as bands.

    table: tidy, with the metrics of the panels. options: see `Options`; references: published values by epoch. Errors
    are in %. Raises NothingLeft where nothing of any panel was run.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "courses", o["best"] or "")
    value = value_of(o)
    rows = chosen_rows(rows, value)
    panels = [Panel(**p) for p in o["panels"] if p["dataset"] in set(rows["dataset"])]
    if not panels:
        raise NothingLeft(f"courses: no panel was run, only {', '.join(sorted(set(rows['dataset'])))}")
    looks = method_styles(rows["method"], o["rules"])
    figure = Figure(figsize=(max(1.0 + 3.2 * len(panels), 4.4), 3.2), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        mine = rows[rows["dataset"] == panel.dataset]
        known = published(o["references"], dataset=panel.dataset)
        _panel(axes, _summed(mine, panel.metrics) if panel.total else mine, panel, looks, o, known)
        verified = mine[VERIFIED].all()
        axes.set_title(panel.title + ("" if verified else " †"))
    kinds = [m for p in panels if len(p.metrics) > 1 for m in p.metrics]
    lines = [Line2D([], [], color="#444444", ls=_line(kinds, m), label=metric_label(m)) for m in dict.fromkeys(kinds)]
    shown = rows[rows["dataset"].isin([p.dataset for p in panels])]
    chosen = [_said(shown, look.label, method, value.best) for method, look in looks.items()] if value.best else []
    if any(chosen):
        figure.suptitle("; ".join(filter(None, chosen)), fontsize=7, color=style.FAINT)
    methods = style.method_handles(looks.values())
    style.legend_below(figure, [*methods, *lines, interval_handle(), published_handle(o["known"])], rows)
    return figure


def _line(metrics, metric: str):
    return LINES[list(dict.fromkeys(metrics)).index(metric) % len(LINES)]


def _said(rows: pd.DataFrame, label: str, method: str, column: str) -> str:
    """At which points of the grid a method is drawn."""
    found = rows.loc[rows["method"] == method, column].unique()
    return f"{label}: {column_label(column)} {', '.join(f'{v:g}' for v in found)}" if len(found) else ""


def _summed(rows: pd.DataFrame, metrics: tuple[str, ...]) -> pd.DataFrame:
    """The rows with the sum of each of the metrics over its layers in place of these."""
    mine = rows[rows["metric"].isin(metrics) & (rows["layer"] != "")]
    keys = [c for c in mine if c not in ("layer", "value")]
    total = mine.groupby(keys, sort=False, dropna=False, as_index=False)["value"].sum().assign(layer="")
    return pd.concat([rows[~rows["metric"].isin(metrics)], total], ignore_index=True)


def _counted(curve: Curve, per_epoch: int) -> Curve:
    """A curve over what an epoch has so many of."""
    return curve._replace(epoch=curve.epoch * per_epoch, runs=curve.runs.set_axis(curve.runs.index * per_epoch))


def _panel(axes, rows: pd.DataFrame, panel: Panel, looks: Mapping[str, Style], o: Mapping, known: pd.DataFrame) -> None:
    present = [m for m in looks if (rows["method"] == m).any()]
    several = len(panel.metrics) > 1
    for place, method in enumerate(present):
        for metric in panel.metrics:
            look = looks[method]
            if several:
                look = look._replace(line=_line(panel.metrics, metric), label=f"{look.label}\n{metric_label(metric)}")
            counts = o["diverged"] if metric.endswith("_error") else None  # what an error counts with
            value = value_of(o, metric=metric, best="", by="", diverged=counts)
            curve = course(rows[rows["method"] == method], value, o["last"])
            if np.isfinite(curve.middle).any():
                draw_curve(axes, _counted(curve, o["per_epoch"]), look, place, len(present))
            theirs = published(known, method=method, metric=metric)
            if len(theirs):
                mark = {"color": look.colour, "ms": 6, "zorder": 4}
                x, y = theirs["epoch"] * o["per_epoch"], style.percent(metric)[0] * theirs["value"]
                draw_published(axes, x, y, look.label, o["known"], **mark)
    axes.set(xlabel=o["axis"], ylabel=panel.label or "\n".join(map(y_label, panel.metrics)))
    style.epoch_axis(axes.xaxis, 6)
    style.say_if_blank(axes)
