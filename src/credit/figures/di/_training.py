"""Curves of one metric over updates, one panel per data set: what both MNIST figures are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from credit.analysis.names import dataset_order, metric_label
from credit.figures import style
from credit.figures.curves import draw_curve, fit_y, mean_curve
from credit.figures.di._models import model_styles


def training_curves(table: pd.DataFrame, o: Mapping[str, Any], figure: str, unit: str) -> Figure:
    """Mean and band over runs of the metric of the options `o` against updates, of which each takes one `unit`.

    table: tidy, evaluated every few updates. Raises NothingLeft for an empty selection.
    """
    rows = style.selection(table, o, figure)
    datasets, styles = dataset_order(rows["dataset"]), model_styles(rows["method"], o["rules"])
    scale, percent = style.percent(o["metric"])
    drawing = Figure(figsize=(1.0 + 2.8 * max(len(datasets), 1.2), 3.2), layout="constrained")
    panels = drawing.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    shown = []
    for axes, dataset in zip(panels, datasets, strict=True):
        mine = rows[rows["dataset"] == dataset]
        for place, (method, look) in enumerate(styles.items()):
            curve = mean_curve(mine[mine["method"] == method], o["metric"], scale, over="step")
            shown.append(curve)
            draw_curve(axes, curve, look, place, len(styles))
        axes.set_title(style.panel_title(rows, dataset))
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    fit_y(panels[0], shown)
    for axes in panels:
        style.say_if_blank(axes)
    panels[0].set_ylabel(metric_label(o["metric"], percent))
    style.legend_below(drawing, style.method_handles(styles.values()), rows)
    return drawing
