"""The look of all figures, and files that are the same bytes whenever the numbers are the same.

Figures are made without pyplot: no global state, no display, nothing to close.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from credit.analysis.names import dataset_title
from credit.analysis.tables import CONFIDENCE, VERIFIED, one_setting, where
from credit.errors import NothingLeft
from credit.figures.looks import Style
from credit.figures.options import FigureOptions, check
from credit.provenance.files import whole_file

SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same letters
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 3.2,
    "pdf.fonttype": 42,  # TrueType: text in the PDF stays text
    "svg.hashsalt": "credit",
    "savefig.dpi": 200,
}
FAINT = "#666666"
BANDS = ("quartiles", f"{100 * CONFIDENCE:g} % interval", "range of runs")  # labels of `credit.figures.curves`
FOOTNOTE = "† from a copy of the data whose checksum is not the published one"


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """SETTINGS on top of matplotlib's own defaults, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator: draw under `settings`."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs) -> Figure:
        with settings():
            return draw(*args, **kwargs)

    return wrapper


def save(figure: Figure, pdf: str | Path, png: str | Path, note: str = "") -> None:
    """Write PDF (fonts embedded) and PNG (200 dpi), each whole or not at all, without dates and versions.

    note: stands above the figure, which becomes so much higher.
    """
    metadata = {"pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")), "png": {"Software": None}}
    with settings():
        if note:
            _head(figure, note)
        for path, kind in ((pdf, "pdf"), (png, "png")):
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata[kind])


def _head(figure: Figure, note: str) -> None:
    """Make room above a figure for a note, and write it there."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is there stays as it is, and keeps its size
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(note, int(18 * width), break_on_hyphens=False)
    whole = height + 0.06 + 0.12 * len(lines)
    for axes in figure.axes:
        x, y, w, h = axes.get_position(original=True).bounds
        axes.set_position((x, y * height / whole, w, h * height / whole))
    for text in figure.texts:
        text.set_y(text.get_position()[1] * height / whole)
    figure.set_size_inches(width, whole)
    figure.text(0.01, 1 - 0.04 / whole, "\n".join(lines), va="top", fontsize=6, color=FAINT, parse_math=False)


def drawn(draw: Callable[..., Figure], table: pd.DataFrame, options: Mapping[str, Any]) -> Figure:
    """What `draw` makes of a table; where there is nothing to draw, a figure that says why."""
    try:
        return draw(table, options)
    except NothingLeft as note:
        print(note, file=sys.stderr)
        return _saying(str(note))


@styled
def _saying(sentence: str) -> Figure:
    figure = Figure(figsize=(6.0, 1.2))
    lines = textwrap.fill(sentence, 90, break_on_hyphens=False)
    figure.text(0.5, 0.5, lines, ha="center", va="center", color=FAINT, parse_math=False)
    return figure


def say_if_blank(axes, sentence: str = "not recorded") -> None:
    """Say so in axes that have no curve and no point."""
    drawn = any(len(line.get_xdata()) and line.get_transform() == axes.transData for line in axes.lines)
    if drawn or any(text.get_text() == sentence for text in axes.texts):
        return
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", color=FAINT)
    if len(axes.get_shared_y_axes().get_siblings(axes)) == 1:
        axes.set_yticks([])


def chosen(options: Mapping[str, Any], declared: type[FigureOptions]) -> dict[str, Any]:
    """The options that a figure declares with defaults filled in, and what every figure is handed beside them.

    rules: {method: learning rule}. references: published curves, a tidy table, or None. Raises ConfigError for other
    options, and for values that they cannot have.
    """
    handed = {key: options.get(key, default) for key, default in (("rules", {}), ("references", None))}
    own = {key: value for key, value in options.items() if key not in handed}
    module = declared.__module__
    return check(module, own, f"{module.rpartition('.')[2]}: options") | handed


def selection(table: pd.DataFrame, options: Mapping[str, Any], figure: str, but: str = "") -> pd.DataFrame:
    """Rows that options.where leaves. Raises NothingLeft when there are none, ConfigError when a grid was left in.

    but: a column of which the figure tells the values apart.
    """
    rows = one_setting(where(table, options["where"]), but)
    if rows.empty:
        raise NothingLeft(
            f"{figure}: nothing to draw; of {len(table)} rows options.where = {options['where']!r} leaves none"
        )
    return rows


def percent(metric: str) -> tuple[float, str]:
    """Factor and unit in which a metric is drawn: errors and accuracies in %."""
    return (100.0, "%") if metric.endswith(("_error", "_accuracy")) else (1.0, "")


def panel_title(rows: pd.DataFrame, dataset: str) -> str:
    """Title of a data set's panel, marked where its numbers come from an unverified copy of the data."""
    verified = rows.loc[rows["dataset"] == dataset, VERIFIED].all()
    return dataset_title(dataset) + ("" if verified else " †")


def renamed(styles: Mapping[str, Style], labels: Mapping[str, str]) -> dict[str, Style]:
    """Styles of methods, some of them under a name that says more than their own."""
    return {name: look._replace(label=labels.get(name, look.label)) for name, look in styles.items()}


def method_handles(styles: Iterable[Style]) -> list[Line2D]:
    """Legend entries of methods."""
    return [Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, label=s.label) for s in styles]


def legend_below(figure: Figure, handles: Sequence[Artist], rows: pd.DataFrame) -> None:
    """One legend for the whole figure, below all axes; it says so where some of the data is unverified.

    handles: all that there could be; those are listed whose label something drawn has, see `labels_drawn`.
    """
    shown = labels_drawn(figure)
    listed = [handle for handle in handles if handle.get_label() in shown]
    notes = [bands_and_runs(shown, rows)] if listed else []
    note = "\n".join(filter(None, [*notes, "" if rows[VERIFIED].all() else FOOTNOTE])) or None
    if listed or note:
        columns = _columns([handle.get_label() for handle in listed], figure.get_figwidth())
        figure.legend(handles=listed, loc="outside lower center", ncols=columns, title=note, title_fontsize=7)


def bands_and_runs(shown: Iterable[str], rows: pd.DataFrame) -> str:
    """What the shown bands are, and how many runs there are, in one line: `bands: quartiles; n = 5 runs`.

    Methods, data sets or settings with fewer runs than others give a range.
    """
    by = [column for column in ("experiment", "dataset", "method") if column in rows]
    counts = rows.groupby(by)["seed"].nunique() if len(rows) else pd.Series([0])
    low, high = counts.min(), counts.max()
    runs = f"n = {low} run{'s' if low > 1 else ''}" if low == high else f"n = {low} to {high} runs"
    bands = [band for band in BANDS if band in shown]
    return f"bands: {' or '.join(bands)}; {runs}" if bands else runs


def labels_drawn(figure: Figure) -> set[str]:
    """Labels of the lines, points, bands and bars that hold anything.

    What belongs to two entries of a legend, such as a method and a layer, has both labels, one a line.
    """
    found = [a for axes in figure.axes for a in (*axes.lines, *axes.collections, *axes.patches) if _holds_anything(a)]
    return {part for artist in found for part in (artist.get_label(), *artist.get_label().split("\n"))}


def _holds_anything(artist: Artist) -> bool:
    if isinstance(artist, Line2D):
        return bool(np.isfinite(np.asarray(artist.get_xydata(), float)).all(axis=1).any())
    if isinstance(artist, PathCollection):
        return len(artist.get_offsets()) > 0
    if isinstance(artist, Collection):
        return any(np.isfinite(path.vertices).all(axis=1).any() for path in artist.get_paths())
    return True


def _columns(labels: Sequence[str], width: float) -> int:
    """Columns of a legend that find room in `width` [inches], for the fewest lines, all about as long."""
    needed = [max(0.55 + 0.065 * len(label), 1.15) for label in labels]  # of a handle and its text
    fitting = (n for n in range(len(needed), 1, -1) if sum(max(part) for part in np.array_split(needed, n)) <= width)
    lines = -(-len(needed) // next(fitting, 1))
    return -(-len(needed) // max(lines, 1)) or 1


def log_axis(axis) -> None:
    """Logarithmic scale, labelled with plain numbers (2, 5, 10) unless it spans more than three decades."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = sorted(axis.get_view_interval())
    ratio = high / low
    if ratio < 4:
        axis.set_major_locator(MaxNLocator(5))
        axis.set_minor_locator(NullLocator())
    elif ratio < 1e3:
        subs = (1, 2, 3, 5, 7) if ratio < 15 else (1, 2, 5) if ratio < 150 else (1, 3)
        axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    if ratio < 1e3:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def epoch_axis(axis, ticks: int) -> None:
    """Whole epochs, about `ticks` labels."""
    axis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
