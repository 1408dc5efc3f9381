"""Runs fitted to measured values, group by group (Figure 5f, and fear conditioning)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.bootstrap import bootstrap_interval
from credit.analysis.fits import Fitted, fits
from credit.analysis.fitting import fitting
from credit.analysis.names import dataset_title
from credit.analysis.tables import where
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import Style, method_styles
from credit.figures.numbers import bars_of, tell
from credit.figures.options import FigureOptions
from credit.figures.pc._runs import BARS, INTERVAL, interval_handle
from credit.figures.references import draw_published, published, published_handle

GREY = "#8a8a8a"


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """fit: groups, conditions and offset, see `credit.analysis.fitting`. label: of the axis of values. data: what the
    measured values are of. titles: {condition: above its panel}. columns: of panels, with several conditions. known:
    what the published values are.
    """

    grids: ClassVar[bool] = True

    fit: dict
    label: str = "value, scaled"
    data: str = "measured"
    titles: dict = field(default_factory=dict)
    columns: Annotated[int, "> 0"] = 2
    known: str = "published, read off the figure"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Scaled values of all runs at the best point of every method, and the values measured.

    Means have 68 % intervals by resampling. With one condition there is a panel for each method and one for the
    measurement, with several one for each condition.

    table: tidy, with the whole grid. options: see `Options`; references: the measured values, as those of the method
    "data", and published means of methods, with the group's name as metric. Raises NothingLeft where nothing was run.
    """
    o = style.chosen(options, Options)
    rows = where(table, o["where"])
    if rows.empty:
        raise NothingLeft(f"fitted: nothing to draw; options.where = {o['where']!r} leaves no rows")
    settings = fitting(o)
    found = fits(rows, o["references"], settings)
    looks = method_styles((one.method for one in found), o["rules"])
    apart = len(settings.conditions) == 1
    panels = _by_method(found, looks, o) if apart else _by_condition(found, looks, list(settings.conditions), o)
    across = len(panels) if apart else min(o["columns"], len(panels))
    down, wide = -(-len(panels) // across), 0.5 + 0.34 * len(settings.groups) * (1 if apart else 1 + 0.3 * len(looks))
    size = max(0.6 + wide * across, 4.4), 0.9 + 2.2 * down
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, sharey=apart, squeeze=False).ravel()
    for axes, (title, mine, shows_data) in zip(grid, panels, strict=False):
        _strips(axes, mine, looks, list(settings.groups), found[0].data if shows_data else {}, o)
        axes.set_title(title, color=looks[mine[0].method].colour if apart and mine else "black")
        _aims(axes, found[0].data, f"mean of {o['data']}")
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes in grid[::across][:down]:
        axes.set_ylabel(o["label"])
    measured = Line2D([], [], color=GREY, marker="o", ms=4, ls="none", alpha=0.8, label=o["data"])
    mean = Line2D([], [], color=GREY, lw=1.0, label=f"mean of {o['data']}")
    handles = [*style.method_handles(looks.values()), measured, mean, interval_handle(), published_handle(o["known"])]
    style.legend_below(figure, handles, rows)
    return figure


Panel = tuple[str, list[Fitted], bool]  # title, fits, whether the measured values are shown


def _by_method(found: Sequence[Fitted], looks: Mapping[str, Style], o: Mapping[str, Any]) -> list[Panel]:
    ordered = [one for method in looks for one in found if one.method == method]
    return [*((looks[one.method].label, [one], False) for one in ordered), (o["data"], [], True)]


def _by_condition(
    found: Sequence[Fitted], looks: Mapping[str, Style], conditions: Sequence[str], o: Mapping[str, Any]
) -> list[Panel]:
    panels = []
    for condition in conditions:
        mine = [one for method in looks for one in found if (one.condition, one.method) == (condition, method)]
        if mine:
            panels.append((o["titles"].get(condition, dataset_title(condition)), mine, True))
    return panels


def _strips(
    axes, mine: Sequence[Fitted], looks: Mapping[str, Style], groups: Sequence[str], data: Mapping[str, np.ndarray],
    o: Mapping[str, Any],
) -> None:  # fmt: skip
    strips = len(mine) + bool(data)
    places = dict(zip(range(strips), (np.arange(strips) - (strips - 1) / 2) * 0.8 / strips, strict=True))
    for at, group in enumerate(groups):
        for k, one in enumerate(mine):
            _strip(axes, at + places[k], one.values[group].to_numpy(), looks[one.method], strips)
            theirs = published(o["references"], method=one.method, dataset=one.condition, metric=group)["value"]
            if len(theirs):
                look, spots = looks[one.method], [at + places[k] + 0.26 / strips] * len(theirs)
                draw_published(axes, spots, theirs, look.label, o["known"], color=look.colour, ms=6, zorder=5)
        if data:
            spots = at + places[strips - 1] + _spread(len(data[group]), strips)
            axes.plot(spots, data[group], "o", color=GREY, ms=2.2, alpha=0.8, mew=0, label=o["data"])
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.grid(visible=False, axis="x")


def _strip(axes, at: float, values: np.ndarray, look: Style, strips: int) -> None:
    mark = {"marker": look.marker, "ls": "none", "ms": 2.6, "mew": 0, "alpha": 0.45, "label": look.label}
    tell(axes.plot(at + _spread(len(values), strips), values, color=look.colour, **mark), drawn="one run", n=1)
    mean, (low, high) = values.mean(), bootstrap_interval(values)
    middle = axes.plot([at], [mean], marker="_", color=look.colour, ms=16 / strips, mew=1.6, zorder=4)
    tell(middle, series=look.label, drawn="mean over runs", n=len(values))
    if np.isfinite(low):
        bars = axes.errorbar([at], [mean], [[mean - low], [high - mean]], ecolor=look.colour, zorder=4, **BARS)
        bars_of(bars, INTERVAL)
        tell(middle, lower=low, upper=high, band=INTERVAL)


def _aims(axes, data: Mapping[str, np.ndarray], label: str) -> None:
    """Means of the measured values, to which the fit was made."""
    for at, values in enumerate(data.values()):
        axes.hlines(values.mean(), at - 0.45, at + 0.45, color=GREY, lw=1.0, zorder=1, label=label)


def _spread(n: int, strips: int) -> np.ndarray:
    """Places of n points beside each other."""
    return (np.arange(n) - (n - 1) / 2) * 0.5 / strips / max(n, 1)
