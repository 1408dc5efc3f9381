"""What the two regression figures share: medians with bands, one run of ours, and the official runs as points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from credit.errors import NothingLeft
from credit.figures.curves import Curve, draw_curve, median_curve
from credit.figures.looks import Style
from credit.figures.numbers import tell

ERROR = "nse"  # made of log10_nse
ONE, RECORDED = "one run", "official runs"  # in the legend
SINGLE = {"linewidth": 0.5, "alpha": 0.8, "zorder": 2.5}
OFFICIAL = {"marker": ".", "markersize": 3.0, "markeredgewidth": 0, "linestyle": "none", "alpha": 0.75}


def normalised(rows: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Rows with log10_nse made "nse": divided by the largest value of all models and steps of a data set and seed.

    That is how the paper normalises; the tables divide by the error before training. Raises NothingLeft without any.
    """
    errors = rows[rows["metric"] == "log10_nse"]
    if errors.empty:
        raise NothingLeft(f"{figure}: no log10_nse was recorded; nothing to draw")
    largest = errors.groupby(["dataset", "seed"])["value"].transform("max")
    made = errors.assign(metric=ERROR, value=10.0 ** (errors["value"] - largest))
    return pd.concat([rows[rows["metric"] != "log10_nse"], made], ignore_index=True)


def draw_models(
    axes, rows: pd.DataFrame, styles: Mapping[str, Style], metric: str, layer: str = "", official=None, window: int = 1
) -> list[Curve]:
    """One curve per model, with its first run as a thin line; official runs (a tidy table or None) as points.

    rows, official: of one data set. window: measurements of the centred mean; without one, the first run has its line.
    Returns the curves.
    """
    curves = []
    for place, (method, look) in enumerate(styles.items()):
        mine = rows[rows["method"] == method]
        curve = median_curve(mine, metric, layer, window, over="step")
        curves.append(curve)
        if not len(curve.epoch):
            continue
        draw_curve(axes, curve, look, place, len(styles))
        if curve.runs.shape[1] and window == 1:
            one = axes.plot(curve.epoch, curve.runs.iloc[:, 0], color=look.colour, **SINGLE, label=ONE)
            tell(one, series=look.label, drawn=ONE, n=1)
        if official is not None:
            theirs = official[
                (official["method"] == method)
                & (official["metric"] == metric)
                & (official["layer"] == layer)
                & (official["step"] <= curve.epoch.max())
            ]
            mark = {**OFFICIAL, "zorder": 2.6, "label": RECORDED}
            runs = axes.plot(theirs["step"], theirs["value"], color=look.colour, **mark)
            tell(runs, series=look.label, drawn=RECORDED)
    return curves


def of_dataset(official: pd.DataFrame | None, dataset: str) -> pd.DataFrame | None:
    """The official runs of one data set, their log10_nse made "nse" as well; None without any."""
    if official is None:
        return None
    mine = official[official["dataset"] == dataset]
    errors = mine["metric"] == "log10_nse"
    return mine.assign(
        metric=mine["metric"].where(~errors, ERROR), value=mine["value"].where(~errors, 10.0 ** mine["value"])
    )


def explanations() -> list:
    """Legend entries of what may be drawn beside the medians."""
    grey = "#444444"
    return [
        Patch(color=grey, alpha=0.25, lw=0, label="quartiles"),
        Line2D([], [], color=grey, lw=0.5, label=ONE),
        Line2D([], [], color=grey, **{**OFFICIAL, "markersize": 5}, label=RECORDED),
    ]


def degrees(axes, curves: Iterable[Curve]) -> None:
    """An axis of angles from just below 0 as far as medians and bands go; single runs do not stretch it."""
    top = max([5.0, *(np.nanmax(curve.high, initial=0.0) for curve in curves)])
    axes.set_ylim(-0.04 * top, 1.08 * top)
