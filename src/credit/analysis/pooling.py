"""What a table of events is told: which metrics, from when on, and what they are fitted to. Loads no pandas.

events:
  after: 64
  data: {punished_stay: 0.07656, next_stay: -0.17949}
  grids: {pc: {scale: [5.0, 5.19, 0.01], offset: [-0.4, -0.21, 0.01]}}
  rises: {rise_stay: [punished_stay, next_stay]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from credit.errors import ConfigError, one_of

FIT = ("fit_scale", "fit_offset", "fit_error")
KEYS = ("after", "data", "grids", "rises")
LEAST = 3  # groups of measured values, for a scale and an offset


@dataclass(frozen=True)
class Pooling:
    """data: {metric: the mean that was measured}, of metrics that are recorded where an event has happened.

    after: epochs up to this one do not count. grids: {method: (scales, offsets)}, where the fit of a method is the best
    point of a grid; of the others it is that of all scales from 0 on. rises: {name: two metrics}, whose
    events come in pairs: the second minus the first.
    """

    data: dict[str, float]
    after: int = 0
    grids: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    rises: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What the numbers of a table are called."""
        return [*self.data, *self.rises, *FIT, *(f"fitted_{metric}" for metric in self.data)]


def pooling(options: Mapping[str, Any], where: str = "options") -> Pooling:
    """What `options["events"]` says. Raises ConfigError for what it does not know or lacks, beginning with `where`."""
    given, where = options["events"], f"{where}.events"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} = {given!r}; must hold data, and may hold after, grids and rises")
    for key in given:
        if key not in KEYS:
            raise ConfigError(one_of(f"{where}: key", key, KEYS))
    data, after = given.get("data"), given.get("after", 0)
    if not isinstance(data, Mapping) or len(data) < LEAST or not all(map(_number, data.values())):
        raise ConfigError(f"{where}.data = {data!r}; must be numbers by metric, at least {LEAST}")
    if isinstance(after, bool) or not isinstance(after, int) or after < 0:
        raise ConfigError(f"{where}.after = {after!r}; must be an integer >= 0")
    for key in ("grids", "rises"):
        if not isinstance(given.get(key, {}), Mapping):
            raise ConfigError(f"{where}.{key} = {given[key]!r}; must be a mapping from names")
    grids = {}
    for method, sides in given.get("grids", {}).items():
        here = f"{where}.grids.{method}"
        if not isinstance(sides, Mapping) or {*sides} != {"scale", "offset"}:
            raise ConfigError(f"{here} = {sides!r}; must hold scale and offset")
        grids[method] = tuple(_grid(sides[name], f"{here}.{name}") for name in ("scale", "offset"))
    for name, pair in given.get("rises", {}).items():
        if not isinstance(pair, list | tuple) or len(pair) != 2 or any(metric not in [*data] for metric in pair):
            raise ConfigError(f"{where}.rises.{name} = {pair!r}; must be two of: {', '.join(data)}")
    rises = {name: tuple(pair) for name, pair in sorted(given.get("rises", {}).items())}
    # in the order of names, which is that of a specification
    return Pooling({name: float(value) for name, value in sorted(data.items())}, after, grids, rises)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _grid(given: Any, where: str) -> list[float]:
    """[first, last, step], as the numbers that it stands for."""
    if not isinstance(given, Sequence) or len(given) != 3 or not all(map(_number, given)):
        raise ConfigError(f"{where} = {given!r}; must be [first, last, step]")
    first, last, step = given
    count = round((last - first) / step) if step else -1
    if count < 0 or abs(first + count * step - last) > 1e-9 * max(1.0, abs(last)):
        raise ConfigError(f"{where} = {given!r}; last must be some steps from first")
    return [round(first + k * step, 12) for k in range(count + 1)]
