"""Figures S2 to S4 of the DFC paper: how feedback weights align while they learn, for several values of a setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from credit.analysis.names import dataset_order, metric_label
from credit.analysis.tables import where
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.curves import draw_curve, median_curve
from credit.figures.looks import SOLID, Style
from credit.figures.numbers import belongs, tell
from credit.figures.options import FigureOptions

PSEUDOINVERSE = "angle_feedback_pinv_"
SYMBOLS = {"feedback_alpha": "α", "feedback_k_p": "$k_p$"}


class Line(NamedTuple):
    """One curve: what the legend says of it, its metric, and the rows it is drawn from."""

    label: str
    metric: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Options(FigureOptions):
    """by: column of the varied setting, one curve for each of its values; without it, one curve for each damping that
    was recorded. damping: with `by`, that of the pseudoinverse. window: measurements of the centred mean.
    """

    shows: ClassVar[tuple[str, ...]] = ("angle_feedback_pinv_*", "angle_feedback_transpose", "condition2")
    grids: ClassVar[bool] = True
    column_options: ClassVar[tuple[str, ...]] = ("by",)
    together: ClassVar[tuple[str, ...]] = ("by", "damping")

    by: str | None = None
    damping: Annotated[float, ">= 0"] | None = None
    window: Annotated[int, "> 0"] = 1


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Angle of Q to damped pseudoinverses, to the transposed Jacobian, and condition 2, against the updates of Q.

    table: tidy; data sets are rows of panels. options: see `Options`. Lines: median over seeds; bands: quartiles.
    """
    o = style.chosen(options, Options)
    rows = where(table, o["where"])
    if rows.empty or (o["by"] and o["by"] not in rows):
        raise NothingLeft(f"feedback_learning: no run with {o['by'] or 'these settings'} is left; nothing to draw")
    datasets = dataset_order(rows["dataset"])
    titles = [f"Q to the pseudoinverse, γ = {o['damping']:g}" if o["by"] else "Q to the pseudoinverse"]
    titles += ["Q to the transposed Jacobian", "condition 2"]
    name = f"{SYMBOLS.get(o['by'], o['by'])} of the controller" if o["by"] else "damping γ"
    figure = Figure(figsize=(8.6, 0.9 + 2.0 * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), 3, sharex=True, squeeze=False)
    for line, dataset in zip(grid, datasets, strict=True):
        for axes, lines in zip(line, _panels(rows[rows["dataset"] == dataset], o), strict=True):
            _draw_lines(axes, lines, o["window"], name)
            axes.set_ylabel(metric_label("condition2") if axes is line[2] else "angle [°]")
            axes.set_ylim(*((None, 1.0) if axes is line[2] else (0.0, None)))
        line[0].set_title(f"{dataset} hidden units", loc="left", fontweight="bold", pad=18)
        for axes, title in zip(line, titles, strict=True):
            tell(axes, title=f"{dataset} hidden units: {title}")
    for axes, title in zip(grid[0], titles, strict=True):
        belongs(axes.text(0.5, 1.03, title, transform=axes.transAxes, ha="center", va="bottom"))
    for axes in grid[-1]:
        axes.set_xlabel("updates of the feedback weights")
    handles = max((_entries(line[0]) for line in grid), key=len)
    figure.legend(handles=handles, loc="outside right center", title=name)
    figure.suptitle(style.bands_and_runs(style.labels_drawn(figure), rows), fontsize=7, color=style.FAINT)
    return figure


def _entries(axes) -> list[Line2D]:
    """The first line of every label."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return list({line.get_label(): line for line in reversed(named)}.values())[::-1]


def _panels(rows: pd.DataFrame, o: dict[str, Any]) -> Iterator[list[Line]]:
    """The curves of the three panels of a row."""
    if o["by"]:
        groups = [(f"{value:g}", mine) for value, mine in rows.groupby(o["by"])]
        for metric in (f"{PSEUDOINVERSE}{o['damping']:g}", "angle_feedback_transpose", "condition2"):
            yield [Line(label, metric, mine) for label, mine in groups]
        return
    found = [m for m in rows["metric"].unique() if m.startswith(PSEUDOINVERSE)]
    if not found:
        raise NothingLeft(f"feedback_learning: no {PSEUDOINVERSE}… was recorded; nothing to draw")
    dampings = sorted(found, key=lambda m: float(m.removeprefix(PSEUDOINVERSE)))
    yield [Line(m.removeprefix(PSEUDOINVERSE), m, rows) for m in dampings]
    for metric in ("angle_feedback_transpose", "condition2"):
        yield [Line("", metric, rows)]


def _draw_lines(axes, lines: list[Line], window: int, name: str) -> None:
    """Curves of an ordered setting in the order of a colour map that stays ordered for every eye and in grey."""
    for place, line in enumerate(lines):
        colour = "#404040" if len(lines) == 1 else matplotlib.colormaps["viridis"](0.92 * place / (len(lines) - 1))
        curve = median_curve(line.rows, line.metric, window=window, over="step")
        look = Style(line.label, colour, "osv^DPX<>"[place % 9], SOLID)
        draw_curve(axes, curve, look, place, len(lines), series=f"{name} {line.label}" if line.label else "Q")
    style.say_if_blank(axes)
