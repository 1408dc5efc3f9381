"""Figure 2 of the DFC paper: where random admissible feedback weights lie, and damped pseudoinverses among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from credit.errors import ConfigError
from credit.figures import style
from credit.figures.names import GREEN, ORANGE, VERMILION

LEVELS, GRID = 5, 120
MARKED = {"damped": ("damped pseudoinverses", ORANGE, "x"), "pseudoinverse": ("pseudoinverse", GREEN, "P")}
MARKED |= {"transpose": ("transpose", VERMILION, "X")}


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Points in the plane of the first two principal components, with the kernel density of the random ones.

    table: pc1 and pc2 of the probe admissible_feedback, its column layer naming the points. options: where. Several
    seeds: the first is drawn.
    """
    o = style.chosen(options, "fig2")
    rows = style.selection(table, o, "fig2")
    rows = rows[(rows["seed"] == rows["seed"].min()) & rows["metric"].isin(["pc1", "pc2"])]
    if rows.empty:
        raise ConfigError("fig2: no pc1 and pc2 were recorded; nothing to draw")
    points = rows.pivot_table(index="layer", columns="metric", values="value")
    kind = points.index.str.partition(".").get_level_values(0)
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    random = points[kind == "random"]
    filled = axes.contourf(*_density(random.to_numpy().T), levels=LEVELS, cmap="Blues", zorder=1)
    figure.colorbar(filled, ax=axes, label="probability density")
    axes.scatter(random["pc1"], random["pc2"], s=3, color="#0b2a5b", lw=0, zorder=2, label="random")
    for name, (label, colour, marker) in MARKED.items():
        mine = points[kind == name]
        size, width = (22, 1.0) if name == "damped" else (60, 0.6)
        edge = {} if name == "damped" else {"edgecolors": "white"}
        axes.scatter(
            mine["pc1"],
            mine["pc2"],
            s=size,
            color=colour,
            marker=marker,
            linewidths=width,
            zorder=3,
            label=label,
            **edge,
        )
    axes.set(xlabel="PC 1", ylabel="PC 2", xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5], aspect="equal")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _density(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid and Gaussian kernel density (Scott's bandwidth) of points (2, K)."""
    low, high = points.min(1), points.max(1)
    margin = 0.12 * (high - low)
    x, y = np.meshgrid(*(np.linspace(a, b, GRID) for a, b in zip(low - margin, high + margin, strict=True)))
    return x, y, gaussian_kde(points)(np.stack([x.ravel(), y.ravel()])).reshape(x.shape)
