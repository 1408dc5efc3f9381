"""Curves of few points out of records of any number: what the members of a stack measured, by metric."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

POINTS = 240  # of a curve; then every other one is left out


class Point(NamedTuple):
    """A measurement. value: the median over members of a stack that were finite there."""

    epoch: int
    step: int
    metric: str
    layer: str
    value: float


def place(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What all members of a stack have in common that measured the same: epoch, step, metric, layer."""
    return record["epoch"], record["step"], record["metric"], record["layer"]


def points(records: Iterable[Mapping[str, Any]]) -> Iterator[Point]:
    """Measurements of all members together, from records in the order in which they were made."""
    for where, group in groupby(records, key=place):
        finite = [v for r in group if (v := r["value"]) is not None and math.isfinite(v)]
        if finite:
            yield Point(*where, statistics.median(finite))


class Curve:
    """Up to `POINTS` points, evenly chosen from all that were added, and always the last one."""

    def __init__(self) -> None:
        self._kept: list[list[float]] = []
        self._last: list[float] = []
        self._count, self._stride = 0, 1

    def add(self, epoch: int, step: int, value: float) -> None:
        """The next point."""
        self._last = [epoch, step, value]
        if self._count % self._stride == 0:
            self._kept.append(self._last)
        self._count += 1
        if len(self._kept) == POINTS:
            self._kept, self._stride = self._kept[::2], 2 * self._stride

    def rows(self) -> list[list[float]]:
        """[epoch, step, value] of each point."""
        return self._kept + ([self._last] if self._last and self._kept[-1] is not self._last else [])


class Curves:
    """Curves of the metrics of whole nets, in the order in which they appeared."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._curves: dict[str, Curve] = {}
        self.add(points(records))

    def add(self, found: Iterable[Point]) -> None:
        """Go on with further points; those of single layers are left out."""
        for point in found:
            if point.layer == "" and point.metric != "diverged":
                self._curves.setdefault(point.metric, Curve()).add(point.epoch, point.step, point.value)

    def rows(self) -> dict[str, list[list[float]]]:
        """{metric: [[epoch, step, value], ...]}"""
        return {name: curve.rows() for name, curve in self._curves.items()}
