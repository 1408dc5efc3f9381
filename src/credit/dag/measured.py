"""Measured values of two results, held against each other: by metric, how many differ and where most. Loads no torch.

A reading is {metric: {place: value}}; a place is what the value stands beside: seed, epoch, step, layer, what varies.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from credit.dag.resultfile import ResultFile
from credit.errors import DataError
from credit.provenance.records import read_result

Place = tuple[tuple[str, Any], ...]
Reading = dict[str, dict[Place, Any]]
# columns of tables that say of what, and by whom, a number is; the rest of the numbers are measured
OWN = {"artefact", "paper", "experiment", "data_verified", "unit", "reason", "source", "anchor", "kind"}
OWN |= {"reproduced_method"}
PLACES = {"dataset", "method", "metric", "select", "seed", "epoch", "step", "layer", "epochs"}
# of a place's parts, after what varies
ORDER = ("dataset", "method", "select", "seed", "epoch", "epochs", "step", "layer")
DRAWN = ("x", "y", "lower", "upper", "x_lower", "x_upper", "colour", "n")  # numbers of a figure
LISTED = 12  # metrics in a line
VERDICT = "verdict"
MEAN = ("value", "mean")  # columns that need no name beside the metric


def reading(result: ResultFile) -> Reading:
    """What a run, a search or a table (CSV) holds; nothing of others. Raises DataError for a run that was changed."""
    if result.kind == "run":
        return _by_metric(read_result(result.path)[1])
    if result.kind == "search":
        metric = (result.facts.get("criterion") or {}).get("metric", "score")
        return {metric: {_place(s["at"]): s["score"] for s in result.facts.get("scores") or []}}
    return _table(result.path) if result.path.suffix == ".csv" else {}


def _place(values: Mapping[str, Any]) -> Place:
    return tuple(sorted(values.items()))


def _by_metric(records: Iterable[Mapping[str, Any]]) -> Reading:
    found: Reading = {}
    sorted_keys: dict[tuple[str, ...], list[str]] = {}  # of records that have the same keys: there may be many
    for record in records:
        if (names := tuple(record)) not in sorted_keys:
            sorted_keys[names] = sorted(record.keys() - {"metric", "value"})
        place = tuple([(key, record[key]) for key in sorted_keys[names] if record[key] != ""])
        found.setdefault(record["metric"], {})[place] = record["value"]
    return found


def _table(path: Path) -> Reading:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    if "value" in columns:  # of records, where everything else says of what
        return _by_metric(
            [{k: v for k, v in row.items() if k not in OWN} | {"value": _number(row["value"])} for row in rows]
        )
    if "drawn" in columns:  # the numbers of a figure
        return _drawn(rows)
    rest = [column for column in columns if column not in OWN | PLACES]
    measured = [c for c in rest if c == VERDICT or any(_is_number(row[c]) for row in rows)]
    found: Reading = {}
    for row in rows:
        place = _place({k: v for k, v in row.items() if k in PLACES - {"metric"} and v})
        for column in measured:
            metric = row.get("metric") or row.get("benchmark") or ""
            name = metric if column in MEAN and metric else f"{metric} ({column})" if metric else column
            found.setdefault(name, {})[place] = _number(row[column])
    return found


def _drawn(rows: list[dict[str, str]]) -> Reading:
    """The numbers of a figure by column; a place is a point of a series in its panel."""
    found: Reading = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        names = tuple(row[key] for key in ("panel", "series", "drawn"))
        counts[names] += 1
        place = _place({"panel": names[0], "series": names[1], "drawn": names[2], "point": counts[names]})
        for column in DRAWN:
            if row[column]:
                found.setdefault(column, {})[place] = _number(row[column])
    return found


def _is_number(text: str) -> bool:
    return isinstance(_number(text), float)


def _number(text: str) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def differences(old: Reading, new: Reading) -> Iterator[str]:
    """A line for every metric that differs, then those that only one of them has, and those that are equal."""
    both, equal = sorted(old.keys() & new.keys()), []
    for metric in both:
        before, now = old[metric], new[metric]
        shared = [place for place in before if place in now]
        other = [place for place in shared if not _equal(before[place], now[place])]
        alone = len(before) + len(now) - 2 * len(shared)
        parts = [f"{len(other)} of {len(shared)} differ{_most(before, now, other)}"] if other else []
        parts += [f"{alone} without a counterpart"] if alone else []
        equal += [] if parts else [metric]
        if parts:
            yield f"{metric}: {'; '.join(parts)}"
    for which, one, other in (("first", old, new), ("second", new, old)):
        if lone := sorted({_base(metric) for metric in one.keys() - other.keys()}):
            yield f"only in the {which}: {_listed(lone)}"
    if equal and len(equal) < len({*old, *new}):
        yield f"equal: {_listed(equal)}"


def of_weights(first: Path, second: Path) -> Iterator[str]:
    """A line for every tensor that differs between two files of weights. Raises DataError for what cannot be read."""
    import numpy as np

    old, new = map(_tensors, (first, second))
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            yield f"{name}: only in the {'first' if name in old else 'second'}"
            continue
        one, other = old[name], new[name]
        if one.shape != other.shape:
            yield f"{name}: {list(one.shape)} -> {list(other.shape)}"
        elif count := int(np.sum((one != other) & ~(np.isnan(one) & np.isnan(other)))):
            with np.errstate(invalid="ignore"):  # of two that are infinite
                gap = np.nan_to_num(np.abs(one - other), nan=-1, posinf=np.inf)
            at = np.unravel_index(int(np.argmax(gap)), gap.shape)
            most = f", at most by {gap[at]:.6g} ({one[at]:.6g} -> {other[at]:.6g} at {list(map(int, at))})"
            yield f"{name}: {count} of {one.size} differ{most if gap[at] >= 0 else ', which are not finite in one'}"


def _tensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _base(metric: str) -> str:
    """The metric of `METRIC (COLUMN)`."""
    return metric.partition(" (")[0]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def _equal(one: Any, other: Any) -> bool:
    return one == other or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _most(before: Mapping[Place, Any], now: Mapping[Place, Any], places: Iterable[Place]) -> str:
    """The largest difference, the two values and where they are; and how many are a number in one of them only."""
    pairs = {place: (before[place], now[place]) for place in places}
    gaps = {place: abs(one - other) for place, (one, other) in pairs.items() if _finite(one) and _finite(other)}
    where = max(gaps, key=gaps.__getitem__) if gaps else next(iter(pairs))
    names = sorted(dict(where), key=lambda key: ORDER.index(key) if key in ORDER else -1)
    at = ", ".join(f"{key} {dict(where)[key]}" for key in names)
    amount = f"at most by {gaps[where]:.6g}" if gaps else "for example"
    found = f", {amount} ({_text(before[where])} -> {_text(now[where])}{f' at {at}' if at else ''})"
    rest = len(pairs) - len(gaps)
    return found + (f", {rest} of them a number in one only" if gaps and rest else "")


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "nothing" if value is None else str(value)
