"""Figure 3: the student-teacher task of DFC's Figure 3: loss and alignment of the updates, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from credit.analysis.names import metric_label
from credit.errors import ConfigError, NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve, fit_y, median_curve
from credit.figures.looks import METHOD_STYLES, Style, method_styles
from credit.figures.options import FigureOptions

ZERO = 1e-3  # degrees, of the rounding of an arc cosine in float32
NO_ANGLE = "0° for every method,\nthe same direction"


@dataclass(frozen=True)
class Options(FigureOptions):
    """loss: of the upper panels. angles: a row each. window: epochs of the centred mean of angles (1: none)."""

    metric_options: ClassVar[tuple[str, ...]] = ("loss", "angles")
    one_dataset: ClassVar[bool] = True

    loss: str = "test_loss"
    angles: tuple[str, ...] = ("angle_bp", "angle_mn")
    window: Annotated[int, "> 0"] = 1


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Loss above; below, one row per angle between updates, one column per layer.

    table: tidy, one data set, with the loss of the whole net and any of the angles [degrees] per layer ("1" is
    next to the input) and for the whole net ("").
    options: see `Options`.
    Lines are medians over runs, bands go from the first to the third quartile. A method without an angle (it
    does not change that layer) has no curve there. Raises NothingLeft for an empty selection, ConfigError for
    a wrong window or several data sets.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig3")
    angles = _recorded(rows, o)
    numbered = sorted(set(rows.loc[rows["metric"].isin(angles), "layer"]) - {""}, key=int)
    layers = [*numbered, ""]
    styles = method_styles(rows["method"], o["rules"])
    methods = [(rows[rows["method"] == name], look) for name, look in styles.items()]
    size = (1.0 + 1.75 * max(len(layers), 3), 2.6 + 1.6 * len(angles))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(1 + len(angles), len(layers))
    first = [figure.add_subplot(grid[0, :])]
    _loss(first[0], methods, o["loss"])
    first[0].set_title(style.panel_title(rows, rows["dataset"].iloc[0]))
    for i, metric in enumerate(angles, start=1):
        panels = [figure.add_subplot(grid[i, j]) for j in range(len(layers))]
        for axes, layer in zip(panels, layers, strict=True):
            _angle(axes, methods, metric, layer, o["window"])
            if i == 1:
                axes.set_title(f"layer {layer}" if layer else "whole network")
            if i == len(angles):
                axes.set_xlabel("epoch")
        _same_degrees(panels)
        for axes in panels:
            _say_if_zero(axes)
        panels[0].set_ylabel(metric_label(metric, "°"))
        first.append(panels[0])
    figure.align_ylabels(first)
    style.legend_below(figure, style.method_handles(styles.values()), rows)
    return figure


def _recorded(rows: pd.DataFrame, o: dict[str, Any]) -> list[str]:
    """Those of the wanted angles that are in the table."""
    datasets = sorted(set(rows["dataset"]))
    if len(datasets) > 1:
        raise ConfigError(f"fig3: draws one data set, found {', '.join(datasets)}; set options.where.dataset")
    found = set(rows["metric"])
    if not found & {o["loss"], *o["angles"]}:
        raise NothingLeft(f"fig3: {', '.join([o['loss'], *o['angles']])}: none was recorded; nothing to draw")
    return [angle for angle in o["angles"] if angle in found]


def _loss(axes, methods: list[tuple[pd.DataFrame, Style]], metric: str) -> None:
    curves = [median_curve(rows, metric) for rows, _ in methods]
    for place, (curve, (_, look)) in enumerate(zip(curves, methods, strict=True)):
        draw_curve(axes, curve, look, place, len(curves))
    fit_y(axes, curves)
    axes.set_ylabel(metric_label(metric))
    axes.set_xlabel("epoch")
    style.epoch_axis(axes.xaxis, 10)


def _angle(axes, methods: list[tuple[pd.DataFrame, Style]], metric: str, layer: str, window: int) -> None:
    for place, (rows, look) in enumerate(methods):
        curve = median_curve(rows, metric, layer, window)
        # BP's angle to itself is 0 by definition: it stays, but behind the others
        draw_curve(axes, curve, look, place, len(methods), zorder=2.5 if look == METHOD_STYLES["bp"] else 3.0)
    style.say_if_blank(axes)
    style.epoch_axis(axes.xaxis, 4)


def _say_if_zero(axes) -> None:
    """A sentence in place of axes in which every curve lies on 0."""
    drawn = [line.get_ydata() for line in axes.lines if np.isfinite(line.get_ydata()).any()]
    if not drawn or np.nanmax(np.abs(np.concatenate(drawn))) > ZERO:
        return
    for artist in (*axes.lines, *axes.collections):
        artist.set_visible(False)
    axes.set_axis_off()
    axes.text(0.5, 0.5, NO_ANGLE, transform=axes.transAxes, ha="center", va="center", color=style.FAINT)


def _same_degrees(panels) -> None:
    """0 to 90 degrees, further if the curves go further, the same in all panels of a row."""
    drawn = [np.nanmax(line.get_ydata(), initial=0.0) for axes in panels for line in axes.lines]
    top = max([90.0, *drawn])
    for axes in panels:
        axes.set_ylim(-3, top + 3)
        axes.set_yticks(range(0, int(top) + 1, 30))
        axes.tick_params(labelleft=axes is panels[0])
