"""Figure 4.2 of the L-DRL paper: feedback weights of the output layer approach the transposed forward weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from credit.analysis.names import metric_label
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import Curve, draw_curve, runs_over_epochs
from credit.figures.dtp._layers import only_dataset
from credit.figures.looks import Style, method_styles
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle

DEVIATIONS = 3  # half the width of a band, in standard deviations
BAND = f"± {DEVIATIONS} standard deviations"
PANELS = (("angle_weights", "°"), ("distance_weights", ""))


@dataclass(frozen=True)
class Options(FigureOptions):
    """layer: whose feedback weights, as recorded. iterations: of the feedback weights in an epoch."""

    shows: ClassVar[tuple[str, ...]] = ("angle_weights", "distance_weights")
    layer_options: ClassVar[tuple[str, ...]] = ("layer",)
    one_dataset: ClassVar[bool] = True

    layer: str = "4"
    iterations: Annotated[int, "> 0"] = 1


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Left: angle [degrees] of the feedback weights to the transposed forward ones; right: relative distance; both
    against iterations.

    table: tidy, one data set, with angle_weights and distance_weights of the probe feedback_weights at evaluations.
    options: see `Options`; references: published values, by step. Lines: mean over runs; bands: 3 standard deviations.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig42")
    measured = rows[rows["metric"].isin([metric for metric, _ in PANELS]) & (rows["layer"] == o["layer"])]
    if measured.empty:
        raise NothingLeft(f"fig42: no angle_weights of layer {o['layer']} was recorded; nothing to draw")
    dataset, looks = only_dataset(rows, "fig42"), method_styles(measured["method"], o["rules"])
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    figure.get_layout_engine().set(wspace=0.08)  # the right label must not touch the left panel
    panels = figure.subplots(1, 2)
    for axes, (metric, unit) in zip(panels, PANELS, strict=True):
        _panel(axes, rows, looks, metric, o)
        known = published(o["references"], dataset=dataset, metric=metric, layer=o["layer"])
        for method, mine in known[known["method"].isin(looks)].groupby("method"):
            draw_published(axes, mine["step"], mine["value"], looks[method].label, color=looks[method].colour, zorder=4)
        axes.set(xlabel="iterations of the feedback weights", ylabel=metric_label(metric, unit))
        axes.set_ylim(bottom=-0.025 * axes.get_ylim()[1])  # what lies at 0 is whole
        axes.locator_params(axis="x", nbins=5)
    panels[0].set(yticks=range(0, 91, 15), ylim=(-2, max(93, panels[0].get_ylim()[1])))
    panels[0].set_title(style.panel_title(rows, dataset), loc="left")
    band = Patch(color="#444444", alpha=0.25, lw=0, label=BAND)
    style.legend_below(figure, [*style.method_handles(looks.values()), band, published_handle()], rows)
    return figure


def _panel(axes, rows: pd.DataFrame, looks: Mapping[str, Style], metric: str, o: Mapping[str, Any]) -> None:
    for place, (method, look) in enumerate(looks.items()):
        wide, gone = runs_over_epochs(rows[rows["method"] == method], metric, o["layer"])
        middle, half = wide.mean(axis=1), DEVIATIONS * wide.std(axis=1, ddof=1)
        numbers = (np.asarray(v, float) for v in (middle, middle - half, middle + half))
        curve = Curve(o["iterations"] * wide.index.to_numpy(), *numbers, wide, gone, BAND)
        draw_curve(axes, curve, look, place, len(looks))
    style.say_if_blank(axes)
