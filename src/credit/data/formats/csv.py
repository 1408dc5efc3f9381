"""A table of the user's own: text with a column that holds the class, and numbers in all others, which are features."""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from credit.data.entry import Entry
from credit.data.formats._reading import Sides
from credit.data.own.links import roots as linked
from credit.data.own.parts import Opened, Part, as_floats, batches, facts, named
from credit.data.own.reading import Reading
from credit.errors import DataError, one_of

_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})")  # written in one way; others, such as 007, are names


class Table(NamedTuple):
    """One file. columns: names of the features. lines: of the file, by sample (N,). cells: (N, n). labels: N texts."""

    where: str
    columns: list[str]
    lines: array
    cells: np.ndarray
    labels: list[str]


def opened(reading: Reading, paths: Mapping[str, Path]) -> Opened:
    """What the files hold. Raises DataError naming the file, the line and the column of what cannot be read."""
    tables = {part: _table(path, reading) for part, path in named(paths).items()}
    first = tables["train"]
    for table in tables.values():
        if table.columns != first.columns:
            raise DataError(
                f"{table.where}: columns {', '.join(table.columns)}; expected those of {first.where}: "
                f"{', '.join(first.columns)}"
            )
    labels = _labels(list(tables.values()))
    parts = {
        part: _part(table, one.reshape(-1)) for (part, table), one in zip(tables.items(), labels, strict=True)
    }  # fmt: skip
    return Opened(parts, (len(first.columns), 1, 1), "float32", 1.0)


def survey(reading: Reading, paths: Mapping[str, Path]) -> dict:
    """Facts of an entry of the catalogue, see `credit.data.own.parts.facts`; raises as `opened`."""
    return facts(opened(reading, paths), reading)


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> Sides:
    """Both sides of the table in `raw`; a sample is an image of one pixel, a channel for each column."""
    reading = Reading.of(entry.own)
    return batches(opened(reading, linked(entry, raw)), reading, entry)


def _part(table: Table, labels: np.ndarray) -> Part:
    def place(index: tuple[int, ...]) -> str:
        return f"{table.where}, line {table.lines[index[0]]}, column {table.columns[index[1]]!r}"

    values = as_floats(table.cells, place)
    return Part(table.where, labels, lambda index: values[index][:, :, None, None])


def _table(path: Path, reading: Reading) -> Table:
    rows = _rows(path, reading.delimiter)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: holds no line; expected a table with the delimiter {reading.delimiter!r}")
    names = [cell.strip() if reading.header else str(i) for i, cell in enumerate(first[1], 1)]
    label = _column(reading.label, names, path, "label", reading)
    dropped = {label, *(_column(key, names, path, "ignore", reading) for key in reading.ignore)}
    used = [i for i in range(len(names)) if i not in dropped]
    if not used:
        raise DataError(f"{path}: no column is left beside the label and those of ignore; the columns: {_list(names)}")
    lines, cells, labels = array("q"), array("d"), []
    for line, row in rows if reading.header else chain([first], rows):
        if len(row) != len(names):
            raise DataError(f"{path}, line {line}: {len(row)} cells; expected {len(names)}, one for each column")
        lines.append(line)
        labels.append(row[label].strip())
        if not labels[-1]:
            raise DataError(f"{path}, line {line}, column {names[label]!r}: no label")
        cells.extend(_numbers([row[i] for i in used], [names[i] for i in used], f"{path}, line {line}", reading))
    table = np.frombuffer(cells, np.float64).reshape(len(lines), len(used)) if lines else np.empty((0, len(used)))
    return Table(str(path), [names[i] for i in used], lines, table, labels)


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) of every row that is not blank."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for row in rows:
                if row:
                    yield rows.line_num, row
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: no text in UTF-8: {error.reason} after line {rows.line_num}") from error


def _column(key: str | int, names: list[str], path: Path, where: str, reading: Reading) -> int:
    """Index of the column that a setting names."""
    if isinstance(key, int):
        if key == 0 or abs(key) > len(names):
            raise DataError(f"{path}: {where} = {key}; must be 1 to {len(names)}, or -1 for the last column")
        return key - 1 if key > 0 else len(names) + key
    if not reading.header:
        raise DataError(f"{path}: {where} = {key!r}; without a header it must be the column's number, from 1")
    if names.count(key) > 1:
        raise DataError(f"{path}: {where} = {key!r}; {names.count(key)} columns have this name, give a number (from 1)")
    if key not in names:
        hint = "" if len(names) > 1 else "; there is one column: is the delimiter right?"
        if all(map(_is_number, names)):
            hint = "; line 1 holds numbers: for a table without a line of names write header: false"
        raise DataError(f"{path}: {one_of(where, key, names)}{hint}")
    return names.index(key)


def _numbers(cells: list[str], columns: list[str], where: str, reading: Reading) -> list[float]:
    try:
        values = list(map(float, cells))
        if not any("_" in cell for cell in cells) and all(map(math.isfinite, values)):
            return values
    except ValueError:
        pass
    cell, column = next((c, n) for c, n in zip(cells, columns) if not _is_number(c) or not math.isfinite(float(c)))
    what = "is no finite number" if _is_number(cell) else "is no number"
    hint = "" if reading.header or not where.endswith(" line 1") else "; if line 1 names the columns, leave out header"
    raise DataError(f"{where}, column {column!r}: {cell!r} {what}{hint}")


def _is_number(cell: str) -> bool:
    """Whether a cell is a number as tables have it: not as Python writes it, with underscores."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _labels(tables: list[Table]) -> list[np.ndarray]:
    """The labels of every table (N,): integers where all of them are, else text."""
    texts = {label for table in tables for label in table.labels}
    if all(map(_INTEGER.fullmatch, texts)):
        return [np.array(table.labels, dtype=np.int64) for table in tables]
    if all(map(_is_number, texts)) and any(not re.fullmatch(r"[+-]?\d+", text) for text in texts):
        table = tables[0]
        found = next(text for text in table.labels if not re.fullmatch(r"[+-]?\d+", text)) if table.labels else ""
        raise DataError(
            f"{table.where}: labels are numbers such as {found}; must be classes, integers or text: targets of a "
            "regression are not supported"
        )
    return [np.array(table.labels, dtype=str) for table in tables]


def _list(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
