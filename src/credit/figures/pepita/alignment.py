"""Alignment of PEPITA's forward weights with its projection, and growth of the first layer's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from credit.analysis.names import dataset_order, metric_label
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve, median_curve
from credit.figures.looks import method_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions

PANELS = (("angle_projection", "", "°"), ("weight_norm", "1", ""))


@dataclass(frozen=True)
class Options(FigureOptions):
    """What is drawn."""

    shows: ClassVar[tuple[str, ...]] = ("angle_projection", "weight_norm")


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Angle between F and W_1^T ... W_L^T (above) and the Frobenius norm of W_1 (below), one column per data set.

    table: tidy, with angle_projection [degrees] of the whole net and weight_norm of layer 1, measured at evaluations,
    the first of them before training (epoch 0). Lines are medians over runs, bands go from the first
    to the third quartile. Raises NothingLeft when nothing of this was recorded.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "alignment")
    measured = rows[rows["metric"].isin([metric for metric, _, _ in PANELS])]
    if measured.empty:
        raise NothingLeft("alignment: neither angle_projection nor weight_norm was recorded; nothing to draw")
    datasets, methods = dataset_order(measured["dataset"]), method_styles(measured["method"], o["rules"])
    figure = Figure(figsize=(1.0 + 2.6 * len(datasets), 4.2), layout="constrained")
    grid = figure.subplots(len(PANELS), len(datasets), sharex="col", squeeze=False)
    for column, dataset in zip(grid.T, datasets, strict=True):
        for axes, (metric, layer, _) in zip(column, PANELS, strict=True):
            for place, (method, look) in enumerate(methods.items()):
                mine = rows[(rows["dataset"] == dataset) & (rows["method"] == method)]
                draw_curve(axes, median_curve(mine, metric, layer), look, place, len(methods))
            style.say_if_blank(axes)
        tell(column[0].axhline(90, color="#666666", linewidth=0.7, linestyle=":"), series="right angle")
        column[0].set_title(style.panel_title(rows, dataset))
        column[-1].set_xlabel("epoch")
        style.epoch_axis(column[-1].xaxis, 6)
    for axes, (metric, _, unit) in zip(grid[:, 0], PANELS, strict=True):
        axes.set_ylabel(metric_label(metric, unit))
    figure.align_ylabels(grid[:, 0])
    style.legend_below(figure, style.method_handles(methods.values()), rows)
    return figure
