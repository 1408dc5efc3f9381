"""Tables as pages for a browser: one file each, without links to others, that sorts, filters and can be read.

Everything that comes from a table is escaped. Pages are small enough for a frame of Snakemake's report, which shows a
page as a data URI.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from credit.analysis.page_looks import SCRIPT, STYLE

# Chromium leaves a frame blank whose data URI is longer than 2 MiB: in base64, 3/4 of that less how it begins.
LARGEST = 1_500_000  # bytes of a page
QUICK = "Quick scale: not the published setting."
FILTERED = 12  # rows from which on a table has a filter
LONG = 40  # characters from which on a text may have several lines
DIGITS = 5  # significant ones that are shown; all of them are in the CSV file, and sort


@dataclass(frozen=True)
class Column:
    """key: of the rows. label: as the head of the column, with its unit. number: right-aligned, sorted as numbers.
    about: what the head says on hovering. head: its cells name their row."""

    key: str
    label: str
    number: bool = False
    about: str = ""
    head: bool = False


@dataclass(frozen=True)
class Cell:
    """A number that is written in another way than by its digits."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Sheet:
    """A table of a page. rows: {key: text, number, Cell or None}. file: where all rows are, for what is cut off."""

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    heading: str = ""
    file: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


def page(title: str, sheets: Sequence[Sheet], above: str = "", about: str = "", largest: int = LARGEST) -> str:
    """A page with tables below each other.

    above: markup between the title and the tables. about: a sentence there. largest: bytes of the page; tables are cut
    to fit, the last first, and say so.
    """
    head = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
    )
    head += f'<p class="about">{escape(about)}</p>\n' if about else ""
    tail = f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    left = largest - sum(map(_bytes, (head, above, tail)))
    parts = []
    for number, sheet in enumerate(sheets):
        parts.append(_sheet(sheet, f"tools{number}", left))
        left -= _bytes(parts[-1])
    return "".join([head, above, *parts, tail])


def _bytes(text: str) -> int:
    return len(text.encode())


def _sheet(sheet: Sheet, name: str, largest: int) -> str:
    before, after = _frame(sheet, name)
    left = largest - sum(map(_bytes, (*before, *after))) - 400  # a sentence on what is cut off
    rows = []
    for row in _rows(sheet):
        left -= _bytes(row)
        if left < 0:
            break
        rows.append(row)
    cut = "" if len(rows) == len(sheet.rows) else _cut(len(rows), sheet)
    return "".join([*before[:-1], cut, before[-1], *rows, *after])


def _cut(shown: int, sheet: Sheet) -> str:
    where = f"; all are in {sheet.file}" if sheet.file else ""
    text = f"The first {shown} of {len(sheet.rows)} rows, as many as a page of the report can hold{where}."
    return f"<p><strong>{escape(text)}</strong></p>\n"


def _frame(sheet: Sheet, name: str) -> tuple[list[str], list[str]]:
    """What stands before and after the rows of a table."""
    heading = [f"<h2>{escape(sheet.heading)}</h2>\n"] if sheet.heading else []
    wanted = '<label>Filter <input type="search" placeholder="words, all of them in a row"></label>'
    filtered = wanted if len(sheet.rows) >= FILTERED else ""
    tools = f'<div class="tools" id="{name}">{filtered}<p class="state" role="status"></p></div>\n'
    heads = "".join(map(_head, sheet.columns))
    caption = f' aria-label="{escape(sheet.heading)}"' if sheet.heading else ""
    table = f'<table class="sortable" data-tools="{name}"{caption}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    return [*heading, tools, table], ["</tbody>\n</table>\n", f"<ul>{notes}</ul>\n" if notes else ""]


def _head(column: Column) -> str:
    kind = "number" if column.number else "text"
    about = f' title="{escape(column.about)}"' if column.about else ""
    return (
        f'<th scope="col" class="{kind}" data-kind="{kind}" aria-sort="none"{about}>'
        f'<button type="button">{escape(column.label)}</button></th>'
    )


def _rows(sheet: Sheet) -> Iterator[str]:
    for row in sheet.rows:
        yield f"<tr>{''.join(_cell(row.get(column.key), column) for column in sheet.columns)}</tr>\n"


def _cell(value: Any, column: Column) -> str:
    tag = ('th scope="row"', "th") if column.head else ("td", "td")
    if not column.number:
        text = _text(value)
        long = ' class="long"' if len(text) > LONG else ""
        return f"<{tag[0]}{long}>{escape(text)}</{tag[1]}>"
    cell = value if isinstance(value, Cell) else _number(value)
    at = f' data-value="{_key(cell.value)}"' if cell.value is not None and not math.isnan(cell.value) else ""
    return f'<{tag[0]} class="number"{at}>{escape(cell.text)}</{tag[1]}>'


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)


def _key(value: float) -> str:
    """As JavaScript reads it."""
    return repr(float(value)).replace("inf", "Infinity")


def _number(value: Any) -> Cell:
    if value is None or value is pd.NA or value != value:
        return Cell("")
    return Cell(shown(value), float(value))


def shown(value: float) -> str:
    """A number for reading: whole ones as they are, others with DIGITS significant digits; a true minus sign."""
    whole = float(value).is_integer() and abs(value) < 1e15
    text = f"{int(value)}" if whole else f"{value:.{DIGITS}g}"
    return text.replace("-", "−") if not text.lstrip("-").isalpha() else text


def columns_of(frame: pd.DataFrame, labels: Mapping[str, str]) -> list[Column]:
    """A column for each of a frame that `labels` names and that holds anything, in the order of `labels`."""
    there = [key for key in labels if key in frame and frame[key].replace("", None).notna().any()]
    return [Column(key, labels[key], pd.api.types.is_numeric_dtype(frame[key]), key) for key in there]


def records(frame: pd.DataFrame, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of a frame."""
    return frame[list(keys)].to_dict("records")


def said(text: str, scale: str) -> str:
    """A sentence about a page's numbers, after one on their scale."""
    return text if scale == "paper" else f"{QUICK} {text}".strip()
