"""Curves over epochs: one value per run and epoch, smoothed, summarised over runs, drawn with a band."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy.special import stdtrit

from credit.analysis.tables import CONFIDENCE
from credit.figures.looks import Style
from credit.figures.numbers import belongs, tell
from credit.figures.style import BANDS, log_axis, say_if_blank

DIVERGED = "one run, until it diverged"
MEDIAN = "median over runs"
QUARTILES, INTERVAL, RANGE = BANDS
ENDED = "runs end before the others"
ENDING = {"linestyle": "none", "marker": "|", "markersize": 13, "markeredgewidth": 1.4, "zorder": 4}
FEW = 5  # the t interval of fewer runs is so wide that it hides the curves


class Curve(NamedTuple):
    """Middle line and band over runs, each (n,) for n epochs, and what became of the runs.

    epoch: where they were measured; steps, if they were asked for. band: what a legend may call it. kind: what the
    middle line is.
    """

    epoch: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: pd.DataFrame  # (epochs, runs that reached the end)
    diverged: pd.DataFrame  # (epochs, runs that did not)
    band: str = ""
    kind: str = "mean over runs"


def runs_over_epochs(
    rows: pd.DataFrame, metric: str, layer: str = "", over: str = "epoch"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values of one metric of one method on one data set: index `over`, "epoch" or "step", one column per seed.

    Several values within an epoch are averaged. Returns the runs that reached the end, and the diverged ones.
    """
    lost = set(rows.loc[rows["metric"] == "diverged", "seed"])
    rows = rows[(rows["metric"] == metric) & (rows["layer"] == layer)]
    wide = rows.pivot_table(index=over, columns="seed", values="value", aggfunc="mean", dropna=False)
    gone = [seed for seed in wide if seed in lost]
    return wide.drop(columns=gone).dropna(how="all"), wide[gone].dropna(how="all")


def smooth(wide: pd.DataFrame, window: int, over: str = "epoch") -> pd.DataFrame:
    """Mean over up to `window` epochs around each, as far on one side as on the other; undefined values stay undefined.

    Towards the first and the last value of a run the window shrinks to that value alone, so that a curve starts and
    ends where its run does, and rises are neither delayed nor bent. over: what the table is indexed by; a window of
    steps counts measurements.
    """
    if window <= 1 or wide.empty:
        return wide
    places = np.arange(len(wide)) if over == "step" else wide.index.to_numpy(float)
    return wide.apply(lambda run: _smoothed(run, places, (window - 1) / 2), raw=True)


def _smoothed(run: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
    """Means (n,) of the defined values of a run (n,) that lie within `reach` of each, or as near as its nearer end."""
    defined = ~np.isnan(run)
    result = np.full(len(run), np.nan)
    if not defined.any():
        return result
    x, y = places[defined], run[defined]
    near = np.minimum(reach, np.minimum(x - x[0], x[-1] - x))
    first, last = np.searchsorted(x, x - near, "left"), np.searchsorted(x, x + near, "right")
    result[defined] = [y[a:b].mean() for a, b in zip(first, last, strict=True)]
    return result


def mean_curve(rows: pd.DataFrame, metric: str, scale: float = 1.0, first_epoch: int = 0, over: str = "epoch") -> Curve:
    """Mean over runs with the 95 % t interval of the mean; with fewer than FEW runs, their range."""
    wide, gone = (scale * w.loc[w.index >= first_epoch] for w in runs_over_epochs(rows, metric, over=over))
    middle, n = wide.mean(axis=1), wide.notna().sum(axis=1)
    if wide.shape[1] < FEW:
        band, low, high = RANGE, wide.min(axis=1), wide.max(axis=1)
    else:
        band = INTERVAL
        half = stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * wide.std(axis=1, ddof=1) / np.sqrt(n)
        low, high = middle - half, middle + half
    return Curve(wide.index.to_numpy(), *(np.asarray(v, float) for v in (middle, low, high)), wide, gone, band)


def median_curve(rows: pd.DataFrame, metric: str, layer: str = "", window: int = 1, over: str = "epoch") -> Curve:
    """Median over runs with the band between the quartiles, after smoothing each run."""
    wide, gone = (smooth(w, window, over) for w in runs_over_epochs(rows, metric, layer, over))
    # pandas knows no quantile of no runs
    quartiles = (wide.quantile(q, axis=1) if wide.size else wide.mean(axis=1) for q in (0.5, 0.25, 0.75))
    return Curve(wide.index.to_numpy(), *(np.asarray(v, float) for v in quartiles), wide, gone, QUARTILES, MEDIAN)


def draw_curve(
    axes, curve: Curve, style: Style, place: int, of: int, zorder: float = 3.0, series: str | None = None
) -> None:
    """One method: line, band, sparse markers; runs that diverged as thin lines that end in a cross. They are labelled.

    place, of: this curve's number among the `of` curves of the axes. Markers of different curves sit at
    different epochs, so that curves which coincide can still be told apart. series: what the numbers beside the figure
    call it, by default its label.
    """
    n = len(curve.epoch)
    if n:
        gap = max(n // 6, 1)
        line = axes.plot(
            curve.epoch,
            curve.middle,
            color=style.colour,
            linestyle=style.line,
            marker=style.marker,
            markevery=(int(gap * (place + 0.5) / of), gap),
            markeredgewidth=0.8,
            zorder=zorder,
            label=style.label,
        )
        tell(line, series=series, drawn=curve.kind, n=curve.runs.notna().sum(axis=1).to_numpy())
        if (curve.high > curve.low).any():
            look = {"color": style.colour, "alpha": 0.18, "lw": 0, "zorder": 2}
            belongs(axes.fill_between(curve.epoch, curve.low, curve.high, **look, label=curve.band))
            tell(line, lower=curve.low, upper=curve.high, band=curve.band)
    for _, run in curve.diverged.items():
        run = run.dropna()
        look = {"linewidth": 0.6, "alpha": 0.7, "zorder": zorder, "label": style.label}
        tell(axes.plot(run.index, run, color=style.colour, **look), series=series, drawn=DIVERGED, n=1)
        belongs(axes.plot(run.index[-1:], run.iloc[-1:], color=style.colour, marker="x", linestyle="none", zorder=4))


def mark_ends(axes, curves: Iterable[Curve], styles: Iterable[Style]) -> None:
    """A bar at the end of every curve that ends before the longest of the axes: its runs were shorter."""
    drawn = [(curve, look) for curve, look in zip(curves, styles, strict=True) if np.isfinite(curve.middle).any()]
    ends = [curve.epoch[np.isfinite(curve.middle)][-1] for curve, _ in drawn]
    for end, (curve, look) in zip(ends, drawn, strict=True):
        if end < max(ends):
            height = curve.middle[np.isfinite(curve.middle)][-1]
            belongs(axes.plot([end], [height], **ENDING, color=look.colour, label=ENDED))


def ended_handle() -> Line2D:
    """Legend entry of `mark_ends`."""
    return Line2D([], [], **ENDING, color="#444444", label=ENDED)


def fit_y(axes, curves: Iterable[Curve]) -> None:
    """Logarithmic y axis, if all values are positive, around the single runs.

    Neither bands nor runs that diverged stretch it, unless there is nothing else.
    """
    curves = list(curves)
    values = _finite(c.runs for c in curves)
    values = values if len(values) else _finite(c.diverged for c in curves)
    if not len(values):
        say_if_blank(axes)
        return
    low, high = values.min(), values.max()
    if low > 0:
        margin = (high / low) ** 0.06 if high > low else 1.1
        axes.set_ylim(low / margin, high * margin)
        log_axis(axes.yaxis)
    else:
        margin = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _finite(tables: Iterable[pd.DataFrame]) -> np.ndarray:
    values = np.concatenate([[], *(t.to_numpy(float).ravel() for t in tables)])
    return values[np.isfinite(values)]
