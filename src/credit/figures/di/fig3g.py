"""Figure 3g-k of the DI paper: nonlinear regression; error, stability of the dynamics, angles to exact inverses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.errors import ConfigError
from credit.figures import style
from credit.figures.curves import fit_y
from credit.figures.di import _regression as regression
from credit.figures.di._models import model_styles
from credit.figures.looks import DASHED, SOLID, Style
from credit.figures.options import FigureOptions

LAYERS, NAME = {"1": SOLID, "2": DASHED}, "layer {}"
PANELS = (  # metric, rule, label, whether it leaps from sample to sample
    ("decay_rate", "di", "−largest Re λ [1]", False),
    ("angle_feedback", "di", "∠(B, −Wᵀ) [°]", False),
    ("angle_ndi", "di", "∠(DI, NDI) [°]", True),
    ("angle_ndi", "sdi", "∠(SDI, NDI) [°]", True),
)


@dataclass(frozen=True)
class Options(FigureOptions):
    """window: measurements of the centred mean of the angles between deltas, which leap from sample to sample."""

    shows: ClassVar[tuple[str, ...]] = ("log10_nse",)
    one_dataset: ClassVar[bool] = True

    window: Annotated[int, "> 0"] = 1


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Left: normalised squared error of all samples against the number seen. Right: stability of the two layer pairs of
    DI, and angles [degrees] of its feedback to -W^T and of the deltas of DI and SDI to those of NDI.

    table: tidy, one data set, with log10_nse of the whole net and the probes of layers "1" and "2". options:
    references: the official runs. Lines: medians over runs; bands: quartiles; thin: the first run. Models whose
    dynamics is unstable have no point in the logarithmic panel.
    """
    o = style.chosen(options, Options)
    rows = regression.normalised(style.selection(table, o, "fig3g"), "fig3g")
    datasets = sorted(set(rows["dataset"]))
    if len(datasets) > 1:
        raise ConfigError(f"fig3g: draws one data set, found {', '.join(datasets)}; set options.where.dataset")
    rows, official = _rates(rows), regression.of_dataset(o["references"], datasets[0])
    official = None if official is None else _rates(official)
    styles = model_styles(rows["method"], o["rules"])
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=[1.5, 1, 1])
    axes = figure.add_subplot(grid[:, 0])
    fit_y(axes, regression.draw_models(axes, rows, styles, regression.ERROR, official=official))
    axes.set(title="g", ylabel="normalised squared error [1]")
    _samples(axes, rows)
    for k, (metric, rule, label, leaps) in enumerate(PANELS):
        axes = figure.add_subplot(grid[k // 2, 1 + k % 2])
        chosen = {m: s for m, s in styles.items() if m.partition("-")[0] == rule}
        _panel(axes, rows, chosen, metric, official, o["window"] if leaps else 1)
        axes.set(title="hijk"[k], ylabel=label)
        _samples(axes, rows)
    lines = [Line2D([], [], color="#444444", linestyle=line, label=NAME.format(i)) for i, line in LAYERS.items()]
    handles = [*style.method_handles(styles.values()), *lines, *regression.explanations()]
    style.legend_below(figure, handles, rows)
    return figure


def _samples(axes, rows: pd.DataFrame) -> None:
    """Samples on a logarithmic axis from the first measurement on, with 0 before it, so that official runs, which are
    twenty times shorter, have room.
    """
    steps = rows.loc[rows["step"] > 0, "step"]
    axes.set_xlabel("samples seen")
    if len(steps):
        axes.set_xscale("symlog", linthresh=steps.min(), linscale=0.3)
        axes.set_xlim(0, 1.15 * steps.max())


def _panel(
    axes,
    rows: pd.DataFrame,
    styles: Mapping[str, Style],
    metric: str,
    official: pd.DataFrame | None,
    window: int,
) -> None:
    curves = []
    for layer, line in LAYERS.items():
        looks = {m: look._replace(line=line, label=f"{look.label}\n{NAME.format(layer)}") for m, look in styles.items()}
        curves += regression.draw_models(axes, rows, looks, metric, layer, official, window)
    if metric == "decay_rate":
        fit_y(axes, curves)
        if axes.get_yscale() == "log":
            axes.invert_yaxis()
        return
    style.say_if_blank(axes)
    regression.degrees(axes, curves)


def _rates(rows: pd.DataFrame) -> pd.DataFrame:
    """lambda_max with its sign turned, missing where the dynamics is unstable."""
    mine = rows["metric"] == "lambda_max"
    turned = (-rows["value"]).where(rows["value"] < 0)
    return rows.assign(metric=rows["metric"].where(~mine, "decay_rate"), value=rows["value"].where(~mine, turned))
