"""The numbers that a figure shows, read from the finished figure: what was handed to matplotlib, not computed again.

Every line, point, bar, level set and note of a figure has rows. What an artist cannot know by itself (how many runs
are behind it, what its band means) is said where it is drawn, by `tell`; bands and error bars, and what repeats others'
points, are then no rows of their own (`belongs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.container import Container, ErrorbarContainer
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

COLUMNS = [
    "panel", "title", "series", "drawn", "line", "x_axis", "x", "x_name", "x_lower", "x_upper", "y_axis", "y", "y_name",
    "lower", "upper", "band", "n", "colour_axis", "colour",
]  # fmt: skip
TEXT = {"title", "series", "drawn", "x_axis", "x_name", "y_axis", "y_name", "band", "colour_axis"}
NOTE = "note: "  # a sentence in the figure follows; it may be of a series
_TOLD = "credit_numbers"  # attribute of an artist that was told


@dataclass(frozen=True)
class Told:
    """What is said of an artist; None where nothing is. Arrays are as long as its points.

    series: whose numbers they are, by default the artist's label. drawn: what they are, such as "median over runs".
    lower, upper: of y, x_lower, x_upper: of x; band: what these limits mean. n: runs (or events) behind a point.
    colour: what its colour stands for. x, y: in place of the artist's own. title: of axes, in place of what stands
    above them.
    """

    series: str | None = None
    drawn: str | None = None
    x: Any = None
    y: Any = None
    lower: Any = None
    upper: Any = None
    x_lower: Any = None
    x_upper: Any = None
    band: str | None = None
    n: Any = None
    colour: Any = None
    title: str | None = None
    silent: bool = False


def tell(what: Artist | Container | Iterable[Artist] | None, /, **facts: Any) -> None:
    """Say of what was just drawn what it cannot know, see `Told`. A container, or a list: of each of its artists."""
    for artist in _artists(what):
        known = getattr(artist, _TOLD, Told())
        given = {f.name: getattr(known, f.name) for f in fields(Told)} | facts
        setattr(artist, _TOLD, Told(**given))


def belongs(what: Artist | Container | Iterable[Artist]) -> None:
    """Say that this shows what another artist's rows hold: a band, error bars, markers on a line."""
    tell(what, silent=True)


def _artists(drawn: Any) -> Iterator[Artist]:
    if isinstance(drawn, Artist):
        yield drawn
    elif drawn is not None:
        for part in drawn:
            yield from _artists(part)


def numbers(figure: Figure) -> pd.DataFrame:
    """Rows of COLUMNS, one for each point, in the order of the panels and of drawing.

    panel: counted from 1, None for what stands outside of them. line: counts the artists of a panel, and the pieces of
    a level set. Axes, titles and names of places are those that the figure shows, also where panels share them. Raises
    TypeError for a kind of drawing that is not known here and of which nothing was told.
    """
    panels = _panels(figure)
    parts = [part for number, axes in enumerate(panels, start=1) for part in _of_panel(number, axes, panels)]
    parts += [_note(text) for text in figure.texts if text.get_text()]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    found = found.reindex(columns=COLUMNS)
    text = {column: found[column].astype(object).fillna("") for column in TEXT}
    counts = {column: found[column].astype(float).astype("Int64") for column in ("panel", "line", "n")}
    return found.assign(**text, **counts)


def _note(text: Text) -> pd.DataFrame:
    return pd.DataFrame({"series": [_told(text).series or ""], "drawn": NOTE + _line(text.get_text())})


def _line(text: str) -> str:
    return " ".join(text.split())


# ---- panels


def _panels(figure: Figure) -> list[list[Axes]]:
    """Axes with numbers; those that lie on each other are one panel. Colour bars are none."""
    found: dict[tuple, list[Axes]] = {}
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            continue
        place = axes.get_subplotspec()
        found.setdefault((id(place.get_gridspec()), place.num1, place.num2), []).append(axes)
    return list(found.values())


def _of_panel(number: int, layers: list[Axes], panels: list[list[Axes]]) -> Iterator[pd.DataFrame]:
    line = 0
    for axes in layers:
        _tell_of_bars(axes)
        about = {
            "panel": number, "title": _title(layers, panels), "x_axis": _label(axes, layers, panels, "x"),
            "y_axis": _label(axes, layers, panels, "y"), "colour_axis": _colour_label(axes),
        }  # fmt: skip
        inside = {*axes.lines, *axes.collections, *axes.patches, *axes.images}
        for artist in axes.get_children():
            if artist not in inside or getattr(artist, _TOLD, Told()).silent:
                continue
            for piece in _pieces(artist, axes):
                line += 1
                yield _named(piece, axes).assign(**about, line=line).pipe(_without_colour)
        for text in axes.texts:
            if (
                not isinstance(text, Annotation) and not _told(text).silent
            ):  # those repeat the number that they stand at
                yield _note(text).assign(panel=number, title=about["title"])


def _tell_of_bars(axes: Axes) -> None:
    """Of error bars of which nothing was told, the limits are those of the points that they are drawn with."""
    for bars in axes.containers:
        if not isinstance(bars, ErrorbarContainer) or bars.lines[0] is None:
            continue
        line, caps, segments = bars.lines
        if any(_told(part).silent for part in segments) or _told(line).band is not None:
            continue
        for part in segments:
            ends = np.array([path.vertices for path in part.get_paths()], float)  # get_segments leaves NaN out
            if ends.shape != (len(line.get_xdata()), 2, 2):
                break  # some points have none
            upright = bars.has_yerr and (part is segments[-1])
            names = ("lower", "upper") if upright else ("x_lower", "x_upper")
            limits = ends[:, :, 1] if upright else ends[:, :, 0]
            tell(line, **dict(zip(names, limits.T, strict=True)), band="error bars")
            belongs([part, *caps])


def _told(artist: Artist) -> Told:
    return getattr(artist, _TOLD, Told())


def _without_colour(piece: pd.DataFrame) -> pd.DataFrame:
    return piece if "colour" in piece else piece.assign(colour_axis="")


def _own_title(axes: Axes) -> str:
    shown = (axes.get_title(loc=loc) for loc in ("left", "center", "right"))
    return _told(axes).title or ", ".join(map(_line, filter(None, shown)))


def _span(layers: list[Axes]) -> tuple[range, range]:
    """Rows and columns of a panel in its grid."""
    place = layers[0].get_subplotspec()
    return place.rowspan, place.colspan


def _title(layers: list[Axes], panels: list[list[Axes]]) -> str:
    """The panel's own title, else that of the nearest panel above in the same column."""
    rows, columns = _span(layers)
    above = [other for other in panels if _span(other)[1] == columns and _span(other)[0].start <= rows.start]
    above.sort(key=lambda other: -_span(other)[0].start)
    return next((title for other in [layers, *above] for axes in other if (title := _own_title(axes))), "")


def _label(axes: Axes, layers: list[Axes], panels: list[list[Axes]], side: str) -> str:
    """The label of an axis, else of the nearest panel that may share it: below in its column, left in its row."""
    rows, columns = _span(layers)
    if side == "x":
        near = [o for o in panels if _span(o)[1] == columns and _span(o)[0].start > rows.start]
        near.sort(key=lambda other: _span(other)[0].start)
    else:
        near = [o for o in panels if _span(o)[0] == rows and _span(o)[1].start < columns.start]
        near.sort(key=lambda other: -_span(other)[1].start)
    own = getattr(axes, f"get_{side}label")()
    if not own and axes is not layers[0]:  # of axes that lie on others: a second scale
        place = layers.index(axes)
        near = [[o[place]] for o in panels if len(o) > place and o is not layers] if side == "y" else [layers, *near]
    found = (getattr(a, f"get_{side}label")() for other in near for a in other[:1])
    return _line(own or next(filter(None, found), ""))


def _colour_label(axes: Axes) -> str:
    """What the colour bar of the figure says, where there is one."""
    bars = [other for other in axes.figure.axes if other.get_label() == "<colorbar>"]
    return next((label for bar in bars if (label := bar.get_ylabel() or bar.get_xlabel())), "")


# ---- points


def _pieces(artist: Artist, axes: Axes) -> Iterator[pd.DataFrame]:
    """Columns series, drawn, x, y and what was told, a table for each line that a reader sees."""
    told, label = _told(artist), _labelled(artist, axes)
    for kind, columns in _read(artist, axes):
        x, y = (columns[k] if getattr(told, k) is None else getattr(told, k) for k in "xy")
        given = {f.name: getattr(told, f.name) for f in fields(Told)} | {"x": x, "y": y}
        given = {k: v for k, v in given.items() if v is not None and k in COLUMNS} | {
            "series": label if told.series is None else told.series,
            "drawn": told.drawn or kind,
        }
        given |= {k: v for k, v in columns.items() if k not in "xy"}
        table = pd.DataFrame({k: _flat(v) for k, v in given.items()}, index=range(np.size(x)))
        points = table[["x", "y"]].notna().any(axis=1)
        if points.any():
            yield _plain_series(table[points])


def _flat(value: Any) -> Any:
    return value if np.ndim(value) == 0 else np.asarray(value).ravel()


def _plain_series(table: pd.DataFrame) -> pd.DataFrame:
    """Labels that belong to two entries of a legend, one a line, as one."""
    return table.assign(series=table["series"].str.replace("\n", ", "))


def _labelled(artist: Artist, axes: Axes) -> str:
    """The artist's label, else that of the container of which it is a part."""
    holders = [c for c in axes.containers if any(artist is part for part in _artists(c))]
    labels = [artist.get_label(), *(c.get_label() for c in holders)]
    return next((label for label in labels if label and not str(label).startswith("_")), "")


def _read(artist: Artist, axes: Axes) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, {x, y, further columns}) of each piece of an artist."""
    if isinstance(artist, Line2D):
        yield from _of_line(artist, axes)
    elif isinstance(artist, Rectangle):
        yield "bar", _of_bar(artist, axes)
    elif isinstance(artist, ContourSet):
        yield from _of_levels(artist)
    elif isinstance(artist, LineCollection):
        for path in artist.get_paths():
            yield "line", dict(zip("xy", np.asarray(path.vertices, float).T, strict=True))
    elif isinstance(artist, PathCollection):
        yield "points", dict(zip("xy", np.ma.filled(artist.get_offsets().astype(float), np.nan).T, strict=True))
    elif _told(artist).x is not None and _told(artist).y is not None:
        yield "values", {}
    else:
        raise TypeError(
            f"numbers: {type(artist).__name__} {artist.get_label()!r} in {_own_title(axes)!r}: how to read it is not "
            "known; say what it shows with credit.figures.numbers.tell(artist, x=…, y=…), or that others hold it with "
            "belongs(artist)"
        )


def _of_line(artist: Line2D, axes: Axes) -> Iterator[tuple[str, dict[str, Any]]]:
    """A line in the data's coordinates; of one across the axes, the coordinate at which it is."""
    in_data = artist.get_transform().contains_branch_seperately(axes.transData)
    if not any(in_data):  # stands for an entry of the legend
        return
    given = (np.ma.filled(np.ma.asarray(v, dtype=float), np.nan) for v in artist.get_data())
    x, y = (v if there else np.full(len(v), np.nan) for v, there in zip(given, in_data, strict=True))
    if not all(in_data):
        yield "reference line", {"x": x[:1], "y": y[:1]}
        return
    yield ("points" if artist.get_linestyle() == "None" else "line"), {"x": x, "y": y}


def _of_bar(artist: Rectangle, axes: Axes) -> dict[str, Any]:
    """The end of a bar."""
    holder = next((c for c in axes.containers if any(artist is part for part in _artists(c))), None)
    (x, y), width, height = artist.get_xy(), artist.get_width(), artist.get_height()
    if getattr(holder, "orientation", "vertical") == "horizontal":
        return {"x": np.array([x + width]), "y": np.array([y + height / 2])}
    return {"x": np.array([x + width / 2]), "y": np.array([y + height])}


def _of_levels(artist: ContourSet) -> Iterator[tuple[str, dict[str, Any]]]:
    """Level sets as lines, a piece each; of filled ones, the lower end of what is between two."""
    kind = "region from this level on" if artist.filled else "level set"
    for level, path in zip(artist.levels, artist.get_paths(), strict=False):
        starts = np.flatnonzero(path.codes == Path.MOVETO) if path.codes is not None else [0]
        for piece in np.split(np.asarray(path.vertices, float), starts[1:]):
            if len(piece):
                yield kind, {"x": piece[:, 0], "y": piece[:, 1], "colour": np.full(len(piece), float(level))}


# ---- names of places


def _named(piece: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """With x_name and y_name where an axis has names at 0, 1, 2, … in place of numbers."""
    for side in "xy":
        names = _names(getattr(axes, f"{side}axis"))
        at = piece[side].round()
        named = {f"{side}_name": [names.get(place, "") for place in at]} if names else {}
        piece = piece.assign(**named)
    return piece


def _names(axis) -> dict[float, str]:
    places, writes = axis.get_majorticklocs(), axis.get_major_formatter()
    given = isinstance(axis.get_major_locator(), FixedLocator) and isinstance(writes, FuncFormatter | FixedFormatter)
    if not given or not len(places) or not np.array_equal(places, np.arange(len(places))):
        return {}
    return {float(place): _line(text) for place, text in zip(places, writes.format_ticks(places), strict=True)}


def bars_of(drawn: ErrorbarContainer, label: str) -> None:
    """Error bars whose limits are told of the points that they belong to; `label` is that of the legend."""
    drawn.lines[2][0].set_label(label)
    belongs(drawn)
