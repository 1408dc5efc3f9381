"""Figure 2 of the DFC paper: where random admissible feedback weights lie, and damped pseudoinverses among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import GREEN, ORANGE, VERMILION
from credit.figures.numbers import belongs, tell
from credit.figures.options import FigureOptions

LEVELS, GRID = 5, 120
DENSITY = "density of random Q [1 / norm²]"
ZOOM = "drawn larger on the right"
MARKED = {"damped": ("damped pseudoinverses", ORANGE, "x"), "pseudoinverse": ("pseudoinverse", GREEN, "P")}
MARKED |= {"transpose": ("transpose", VERMILION, "X")}


@dataclass(frozen=True)
class Options(FigureOptions):
    """What is drawn."""

    shows: ClassVar[tuple[str, ...]] = ("pc1", "pc2")


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Points in the plane of the first two principal components, with the kernel density of the random ones; beside it
    the part that holds the pseudoinverses.

    table: pc1 and pc2 of the probe admissible_feedback, its column layer naming the points. Several seeds:
    the first is drawn.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig2")
    rows = rows[(rows["seed"] == rows["seed"].min()) & rows["metric"].isin(["pc1", "pc2"])]
    if rows.empty:
        raise NothingLeft("fig2: no pc1 and pc2 were recorded; nothing to draw")
    points = rows.pivot_table(index="layer", columns="metric", values="value")
    kind = points.index.str.partition(".").get_level_values(0)
    figure = Figure(figsize=(7.0, 3.9), layout="constrained")
    whole, near = figure.subplots(1, 2, width_ratios=[1.35, 1.0])
    random = points[kind == "random"]
    filled = whole.contourf(*_density(random.to_numpy().T), levels=LEVELS, cmap="Blues", zorder=1)
    tell(filled, series="random, density")
    for axes, scale in ((whole, 1.0), (near, 3.0)):
        axes.scatter(random["pc1"], random["pc2"], s=3 * scale, color="#0b2a5b", lw=0, zorder=2, label="random")
        for name, (label, colour, marker) in MARKED.items():
            mine, look = points[kind == name], {"color": colour, "marker": marker, "lw": 1.0, "zorder": 3}
            if len(mine):
                axes.scatter(mine["pc1"], mine["pc2"], s=12 * scale, **look, label=label)
        axes.set(xlabel="PC 1 [norm of Q]", ylabel="PC 2 [norm of Q]", aspect="equal")
    whole.set(xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
    _zoom(whole, near, points[kind != "random"])
    bar = figure.colorbar(filled, ax=whole, location="top", label=DENSITY)  # where no line to the other panel is
    bar.set_ticks(filled.levels)
    figure.legend(*near.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _zoom(whole, axes, points: pd.DataFrame) -> None:
    """A square around the points, which lines join with its place in the whole."""
    low, high = points.min().to_numpy(), points.max().to_numpy()
    middle, half = (low + high) / 2, 0.75 * (high - low).max() + 1e-3
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.locator_params(nbins=4)
    axes.set_title(f"around the pseudoinverses, {round(np.ptp(whole.get_xlim()) / np.ptp(axes.get_xlim()))}×")
    box = whole.indicate_inset_zoom(axes, edgecolor="black", alpha=1.0, lw=0.8, zorder=4)
    box.rectangle.set_label(ZOOM)
    belongs(box)


def _density(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid and Gaussian kernel density (Scott's bandwidth) of points (2, K)."""
    low, high = points.min(1), points.max(1)
    margin = 0.12 * (high - low)
    x, y = np.meshgrid(*(np.linspace(a, b, GRID) for a, b in zip(low - margin, high + margin, strict=True)))
    return x, y, gaussian_kde(points)(np.stack([x.ravel(), y.ravel()])).reshape(x.shape)
