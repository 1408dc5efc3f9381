"""Test accuracy against epoch with the fits of slowness, as in the PEPITA paper."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import dataset_order
from credit.analysis.slowness import BEFORE_DECAY, fit_slowness
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve, ended_handle, mark_ends, mean_curve
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions

FITTED = "fit A k / (s + k)"
COLLAPSE = 0.1
FIT = {"color": "#444444", "linewidth": 0.9, "linestyle": (0, (1.2, 1.2))}


@dataclass(frozen=True)
class Options(FigureOptions):
    """points: number of points that are fitted, chance level included, or {experiment: number}. chance: the accuracy
    before training as a fraction, or {dataset: fraction}. titles: {experiment: text}.
    """

    shows: ClassVar[tuple[str, ...]] = ("test_error",)
    keyed_by: ClassVar[dict[str, str]] = {"points": "experiment", "chance": "dataset", "titles": "experiment"}

    points: Annotated[int, "> 1"] | dict = 60
    chance: Annotated[float, "[0, 1]"] | dict = 0.1
    titles: dict = field(default_factory=dict)


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One panel per experiment (rows) and data set (columns): mean over runs with band, and A k / (s + k).

    table: tidy, with test_error of the whole net as a fraction.
    options: see `Options`.
    Bands are 95 % t intervals of the mean, or the range where fewer than five runs are left. Raises NothingLeft for an
    empty selection.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "curves")
    rows = rows[rows["metric"].isin(["test_error", "diverged"])]
    if rows.empty:
        raise NothingLeft("curves: no test_error was recorded; nothing to draw")
    accuracy = rows.assign(value=rows["value"].where(rows["metric"] == "diverged", 1 - rows["value"]))
    experiments, datasets = list(dict.fromkeys(rows["experiment"])), dataset_order(rows["dataset"])
    methods = method_styles(rows["method"], o["rules"])
    figure = Figure(figsize=(1.0 + 2.9 * len(datasets), 0.9 + 2.3 * len(experiments)), layout="constrained")
    grid = figure.subplots(len(experiments), len(datasets), squeeze=False)
    for line, experiment in zip(grid, experiments, strict=True):
        for axes, dataset in zip(line, datasets, strict=True):
            mine = accuracy[(accuracy["experiment"] == experiment) & (accuracy["dataset"] == dataset)]
            _panel(axes, mine, methods, _of(o["points"], experiment, BEFORE_DECAY), _of(o["chance"], dataset, 0.1))
            kind = f", {o['titles'][experiment]}" if experiment in o["titles"] else ""
            axes.set_title(style.panel_title(rows, dataset) + kind)
        line[0].set_ylabel("test accuracy [%]")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    fit = Line2D([], [], **FIT, label=FITTED)
    style.legend_below(figure, [*style.method_handles(methods.values()), fit, ended_handle()], rows)
    return figure


def _panel(axes, rows: pd.DataFrame, methods: dict[str, Style], points: int, chance: float) -> None:
    """Curves of one experiment on one data set; the axis leaves out what lies far below the end of the curves."""
    present = [m for m in methods if (rows["method"] == m).any()]
    shown, drawn, broken = [], [], []
    for place, method in enumerate(present):
        curve = mean_curve(rows[rows["method"] == method], "test_error", 100.0, 1)
        draw_curve(axes, curve, methods[method], place, len(present))
        drawn.append(curve)
        shown.append(curve.runs.to_numpy(float).ravel())
        fitted = curve.middle[: points - 1]
        if collapses(fitted, 100 * chance):
            broken.append(methods[method].label)
        elif len(fitted):
            fit = fit_slowness(fitted, 100 * chance, points)
            epochs = np.linspace(1, len(fitted), 200)
            tell(
                axes.plot(epochs, fit.curve(epochs), **FIT, zorder=5, label=FITTED),
                series=methods[method].label,
                drawn=FITTED,
            )
    mark_ends(axes, drawn, [methods[method] for method in present])
    if broken:
        said = textwrap.fill(f"no fit, accuracy collapses: {', '.join(broken)}", 46)
        axes.text(0.98, 0.02, said, transform=axes.transAxes, ha="right", va="bottom", fontsize=6, color=style.FAINT)
    values = np.concatenate(shown) if shown else np.array([])
    values = values[np.isfinite(values)]
    if not len(values):
        style.say_if_blank(axes, "not run")
        return
    low = max(values.min(), np.quantile(values, 0.02))
    margin = 0.05 * max(values.max() - low, 0.5)
    axes.set_ylim(low - margin, values.max() + margin)
    style.epoch_axis(axes.xaxis, 6)


def collapses(curve: np.ndarray, chance: float) -> bool:
    """Whether a curve (n,) loses more than COLLAPSE of what it had gained over chance: A k / (s + k) never falls."""
    best = np.maximum.accumulate(curve) if len(curve) else curve
    return bool((best - curve > COLLAPSE * np.maximum(best - chance, 0)).any() and best.max() > chance)


def _of(setting: Any, key: str, default: Any) -> Any:
    """A setting, or its entry for `key` where it is a mapping."""
    return setting.get(key, default) if isinstance(setting, dict) else setting
