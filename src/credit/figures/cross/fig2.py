"""Figure 2: learning curves of every method on every data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from credit.analysis.names import dataset_order, metric_label
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve, ended_handle, fit_y, mark_ends, mean_curve
from credit.figures.looks import method_styles
from credit.figures.options import FigureOptions

FIRST_EPOCH = 1  # before training every method is at chance, which would only squeeze the curves


@dataclass(frozen=True)
class Options(FigureOptions):
    """metrics: of the whole net, one row each. labels: {method: name in the legend}, where its own says too little."""

    metric_options: ClassVar[tuple[str, ...]] = ("metrics",)
    keyed_by: ClassVar[dict[str, str]] = {"labels": "method"}

    metrics: tuple[str, ...] = ("test_error", "train_loss")
    labels: dict = field(default_factory=dict)


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Metrics against the epoch, one row each, one column per data set: mean and band over runs.

    table: tidy, with the metrics of the whole net, errors as fractions (drawn in %).
    options: see `Options`.
    Bands are 95 % t intervals of the mean, or the range where fewer than five runs are left. A metric that
    no method recorded has no row. Raises NothingLeft for an empty selection.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig2")
    trained = rows[(rows["epoch"] >= FIRST_EPOCH) & (rows["layer"] == "")]
    shown = [metric for metric in o["metrics"] if (trained["metric"] == metric).any()]
    if not shown:
        raise NothingLeft(f"fig2: no {' or '.join(o['metrics'])} from epoch {FIRST_EPOCH} on; nothing to draw")
    datasets = dataset_order(trained["dataset"])
    methods = style.renamed(method_styles(trained["method"], o["rules"]), o["labels"])
    size = (1.0 + 2.9 * len(datasets), 0.7 + 2.1 * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(shown), len(datasets), sharex="col", squeeze=False)
    for column, dataset in zip(grid.T, datasets, strict=True):
        mine = rows[rows["dataset"] == dataset]
        by_method = {m: mine[mine["method"] == m] for m in methods}
        for axes, metric in zip(column, shown, strict=True):
            scale, _ = style.percent(metric)
            curves = {m: mean_curve(r, metric, scale, FIRST_EPOCH) for m, r in by_method.items()}
            for place, (method, curve) in enumerate(curves.items()):
                draw_curve(axes, curve, methods[method], place, len(curves))
            fit_y(axes, curves.values())
            mark_ends(axes, curves.values(), methods.values())
        column[0].set_title(style.panel_title(rows, dataset))
        column[-1].set_xlabel("epoch")
        style.epoch_axis(column[-1].xaxis, 6)
    for axes, metric in zip(grid[:, 0], shown, strict=True):
        axes.set_ylabel(metric_label(metric, style.percent(metric)[1]))
    figure.align_ylabels(grid[:, 0])
    style.legend_below(figure, [*style.method_handles(methods.values()), ended_handle()], rows)
    return figure
