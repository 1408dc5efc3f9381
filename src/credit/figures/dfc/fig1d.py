"""Figure 1D of the DFC paper: the controller drives the output of single samples to its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.looks import BLUE, VERMILION
from credit.figures.options import FigureOptions

ONE = "one run, single samples: no band"


@dataclass(frozen=True)
class Options(FigureOptions):
    """What is drawn."""

    shows: ClassVar[tuple[str, ...]] = ("course_target_*",)


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """One column for each sample: above, output and target; below, the control signal from the first step on.

    table: with course_output_S, course_control_S by time point (in the column layer) and course_target_S, of the
    probe controller_course. Several seeds: the first is drawn.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig1d")
    rows = rows[rows["seed"] == rows["seed"].min()]
    samples = sorted(m.rpartition("_")[2] for m in rows["metric"].unique() if m.startswith("course_target_"))
    if not samples:
        raise NothingLeft("fig1d: no course_target_… was recorded; nothing to draw")
    figure = Figure(figsize=(0.3 + 2.6 * len(samples), 4.0), layout="constrained")
    grid = figure.subplots(2, len(samples), sharex=True, squeeze=False)
    for (top, bottom), sample in zip(grid.T, samples, strict=True):
        time, output = _course(rows, f"course_output_{sample}")
        _, control = _course(rows, f"course_control_{sample}")
        target = rows.loc[rows["metric"] == f"course_target_{sample}", "value"].iloc[0]
        top.axhline(target, color="black", linestyle="--", label="target")
        top.plot(time, output, color=BLUE, label="output")
        top.set_title(f"sample {sample}")
        bottom.plot(time[1:], control[1:], color=VERMILION, linestyle="-.", label="control")
        top.set_ylabel("output r [1]")
        bottom.set(xlabel="time [steps of the simulation]", ylabel="control u [1]")
    figure.align_ylabels(grid)
    handles = [handle for axes in grid[:, 0] for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=ONE, title_fontsize=7)
    return figure


def _course(rows: pd.DataFrame, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """(time points, values) in order."""
    mine = rows[rows["metric"] == metric]
    course = pd.Series(mine["value"].to_numpy(), mine["layer"].astype(int)).sort_index()
    return course.index.to_numpy(), course.to_numpy()
