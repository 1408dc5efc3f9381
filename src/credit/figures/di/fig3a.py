"""Figure 3a-f of the DI paper: linear regression; error, stability of the dynamics, angles to exact inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from credit.figures import style
from credit.figures.curves import fit_y
from credit.figures.di import _regression as regression
from credit.figures.di._models import model_styles
from credit.figures.numbers import tell
from credit.figures.options import FigureOptions

PANELS = {
    "lambda_max": "largest Re λ",
    "angle_feedback": "∠(B, −Wᵀ) [°]",
    "angle_ndi": "∠(DI, NDI) [°]",
    "angle_pbp": "∠(DI, PBP) [°]",
}
TITLES = {"plain": "a  plain updates", "normalized": "b  normalised updates"}


@dataclass(frozen=True)
class Options(FigureOptions):
    """first: samples shown below."""

    shows: ClassVar[tuple[str, ...]] = ("log10_nse",)

    first: Annotated[int, "> 0"] = 500


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Above: normalised squared error of all samples against the number seen, plain and with normalised updates.
    Below, for the first of them and the models that simulate DI: largest eigenvalue, and three angles [degrees].

    table: tidy, with log10_nse of the whole net and the probes of layer "1". options: see `Options`; references: the
    official runs. Lines: medians over runs; bands: quartiles; thin: the first run.
    """
    o = style.chosen(options, Options)
    rows = regression.normalised(style.selection(table, o, "fig3a"), "fig3a")
    styles = model_styles(rows["method"], o["rules"])
    probed = {m: look for m, look in styles.items() if m.partition("-")[0] == "di"}
    datasets = [d for d in TITLES if d in set(rows["dataset"])] or sorted(set(rows["dataset"]))
    figure = Figure(figsize=(8.6, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 4, height_ratios=[1.25, 1])
    wide = 4 // len(datasets)
    for k, dataset in enumerate(datasets):
        axes = figure.add_subplot(grid[0, k * wide : (k + 1) * wide])
        mine, official = rows[rows["dataset"] == dataset], regression.of_dataset(o["references"], dataset)
        fit_y(axes, regression.draw_models(axes, mine, styles, regression.ERROR, official=official))
        axes.set(title=TITLES.get(dataset, dataset), xlabel="samples", ylabel="normalised squared error")
    below = next(iter(TITLES)) if datasets[0] in TITLES else datasets[0]
    first = rows[(rows["dataset"] == below) & (rows["step"] <= o["first"])]
    official = regression.of_dataset(o["references"], below)
    for k, (metric, label) in enumerate(PANELS.items()):
        axes = figure.add_subplot(grid[1, k])
        curves = regression.draw_models(axes, first, probed, metric, "1", official)
        axes.set(title="cdef"[k], xlabel="samples", ylabel=label)
        style.say_if_blank(axes, "not recorded" if below in datasets else f"{below} updates: not run")
        if metric == "lambda_max":
            tell(axes.axhline(0, color="k", linestyle="--", linewidth=0.8), series="limit of stability")
        else:
            regression.degrees(axes, curves)
    handles = style.method_handles(styles.values()) + regression.explanations()
    style.legend_below(figure, handles, rows)
    return figure
