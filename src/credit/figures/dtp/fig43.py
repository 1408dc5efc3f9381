"""Figure 4.3 of the L-DRL paper: how far updates are from those of backpropagation, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from credit.analysis.names import metric_label
from credit.analysis.selection import member_values
from credit.analysis.tables import mean_ci
from credit.analysis.values import Value
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.dtp._layers import layer_handles, layer_looks, only_dataset
from credit.figures.looks import Style
from credit.figures.numbers import bars_of, tell
from credit.figures.options import FigureOptions
from credit.figures.references import draw_published, published, published_handle

WIDTH = 0.8  # of all bars of a scheme
PANELS = ("angle_bp", "distance_bp")
SPREAD = "standard deviation"


@dataclass(frozen=True)
class Scheme:
    """A group of bars. method: whose; label: below it, in a few lines, the rule's name first; ours: not in the paper.
    beta: of the probe's `betas`, the one whose measurement is drawn, without published values. relative_to: what the
    probe divides its distances by.
    """

    method_options: ClassVar[tuple[str, ...]] = ("method",)
    shows: ClassVar[tuple[str, ...]] = ("angle_bp_{beta}", "distance_bp_{beta}")

    method: str
    label: str
    ours: bool = False
    beta: Annotated[float, "> 0"] | None = None
    relative_to: Literal["bp", "update"] = "bp"

    def metric(self, name: str) -> str:
        """What the probe calls a quantity of these bars."""
        return name if self.beta is None else f"{name}_{self.beta:g}"


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """schemes: settings of `Scheme`, from left to right. layers: {layer as recorded: its name}, lowest first."""

    shows: ClassVar[tuple[str, ...]] = ("angle_bp", "distance_bp")
    entries: ClassVar[dict[str, str]] = {"schemes": "Scheme"}
    layer_options: ClassVar[tuple[str, ...]] = ("layers",)
    one_dataset: ClassVar[bool] = True

    schemes: tuple[dict, ...]
    layers: dict = field(default_factory=dict)


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Above: angle [degrees] of the updates to backpropagation, as bars; below: relative distance, as points, since
    bars have no foot on a logarithmic axis. A group for each scheme, one bar or point for each layer, after the last
    epoch.

    table: tidy, one data set, with angle_bp and distance_bp by layer, of the probe update_distance. options: see
    `Options`; references: published values. Mean over runs; error bars: standard deviation.
    """
    o = style.chosen(options, Options)
    rows = style.selection(table, o, "fig43")
    measured = rows[rows["metric"].isin(PANELS)]
    schemes = [Scheme(**s) for s in o["schemes"] if s["method"] in set(measured["method"])]
    if not schemes:
        raise NothingLeft("fig43: no scheme of options.schemes recorded angle_bp; nothing to draw")
    dataset, names = (
        only_dataset(rows, "fig43"),
        o["layers"] or {k: f"layer {k}" for k in sorted(measured["layer"].unique())},
    )
    looks = dict(zip(names, layer_looks(list(names.values())), strict=True))
    figure = Figure(figsize=(max(1.2 + 0.85 * len(schemes), 4.6), 4.8), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, metric in zip(panels, PANELS, strict=True):
        known = published(o["references"], dataset=dataset, metric=metric)
        _values(axes, rows, schemes, looks, metric, known)
        axes.grid(visible=False, axis="x")
    panels[0].set(ylim=(0, max(95, panels[0].get_ylim()[1])), ylabel=metric_label("angle_bp", "°"))
    panels[1].set(xlim=(-0.6, len(schemes) - 0.4), ylabel=_distance_label(schemes))
    panels[0].set_yticks(range(0, 91, 15))
    panels[0].set_title(style.panel_title(rows, dataset), loc="left")
    style.log_axis(panels[1].yaxis)
    panels[1].yaxis.set_minor_locator(NullLocator())
    panels[1].set_xticks(range(len(schemes)), [s.label + ("\n(ours)" if s.ours else "") for s in schemes])
    figure.align_ylabels(panels)
    spread = Line2D([], [], color="k", marker="|", ls="none", ms=9, label=SPREAD)
    style.legend_below(figure, [*layer_handles(looks.values()), spread, published_handle()], rows)
    return figure


def _distance_label(schemes: Sequence[Scheme]) -> str:
    """What distances are relative to, which need not be the same for all schemes."""
    others = {scheme.label.partition("\n")[0]: None for scheme in schemes if scheme.relative_to == "update"}
    if not others:
        return metric_label("distance_bp")
    if all(scheme.relative_to == "update" for scheme in schemes):
        return "distance to BP,\nrelative to the update"
    return f"distance to BP, relative to BP\n({', '.join(others)}: to the update)"


def _values(
    axes, rows: pd.DataFrame, schemes: Sequence[Scheme], looks: Mapping[str, Style], metric: str, known: pd.DataFrame
) -> None:
    """One panel: bars of angles, points of distances. known: published values of its metric."""
    width = WIDTH / len(looks)
    for place, scheme in enumerate(schemes):
        mine = rows[rows["method"] == scheme.method]
        for k, (layer, look) in enumerate(looks.items()):
            x = place + (k - (len(looks) - 1) / 2) * width
            values = member_values(mine, Value(scheme.metric(metric), layer=layer))["value"]
            runs = mean_ci(values.dropna())
            drawn = None
            if runs.n and metric == "angle_bp":
                drawn = axes.bar(x, runs.mean, 0.92 * width, color=look.colour, label=[look.label])
            elif runs.n:
                drawn = axes.plot(
                    x, runs.mean, color=look.colour, marker=look.marker, ms=5, ls="none", label=look.label
                )
            tell(drawn, drawn="mean over runs", n=runs.n)
            if runs.n > 1:
                bars = axes.errorbar(x, runs.mean, runs.sd, fmt="none", ecolor="k", elinewidth=0.8, capsize=1.5)
                bars_of(bars, SPREAD)
                tell(drawn, lower=runs.mean - runs.sd, upper=runs.mean + runs.sd, band=SPREAD)
            theirs = known[(known["method"] == scheme.method) & (known["layer"] == layer)]
            if scheme.beta is None and len(theirs):
                mark = {"color": "#444444", "zorder": 4, "clip_on": False}
                draw_published(axes, [x] * len(theirs), theirs["value"], look.label, **mark)
