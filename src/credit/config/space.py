"""What a sampled search draws from: the values that each setting may have, and where one lies among them.

An entry of a space is {"low", "high", "log", "whole"}, numbers from low to high, both included, drawn evenly or evenly
in their logarithm, whole ones if `whole`; or {"choices": [...]}, of which one is drawn. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OPTUNA = "5.0.0"  # draws: other versions draw other trials; as in envs/search.yaml
SAMPLERS = ("tpe", "random")
DIGITS = 6  # significant ones of a drawn number: processors differ in the last bits of a logarithm
EDGE = 0.05  # of the width of a range: what lies so near to an end lies at the edge
RANGE, CHOICES = {"low", "high", "log"}, {"choices"}

Entry = Mapping[str, Any]


def searched(search: Mapping[str, Any] | None) -> dict[str, Any]:
    """{dotted path: values, or the entry of a space} of everything that a search chooses."""
    search = search or {}
    return {**(search.get("vary") or {}), **(search.get("space") or {})}


def problems(entry: Entry) -> Iterator[str]:
    """What is wrong with an entry as an experiment writes it, whatever setting it is for: "what is expected"."""
    keys = entry.keys()
    if keys & RANGE and keys & CHOICES:
        yield "must be low and high, or choices, not both"
    elif keys & CHOICES:
        yield from _choices(entry["choices"])
    elif not {"low", "high"} <= keys:
        yield "must be {low: NUMBER, high: NUMBER}, log: true to draw its logarithm evenly, or {choices: [...]}"
    elif not entry["low"] < entry["high"]:
        yield "low must be below high"
    elif entry.get("log") and entry["low"] <= 0:
        yield "low must be above 0, since log is true"


def _choices(given: Sequence[Any]) -> Iterator[str]:
    if any(isinstance(value, (list, tuple, Mapping)) for value in given):
        yield "choices must be numbers, texts, true, false or null"
    elif len(set(map(json.dumps, given))) < len(given):  # as text: in Python 1 is true
        yield "a choice appears twice"
    elif len(given) < 2:
        yield "choices must be at least two; what has one value is a setting"


def ends(entry: Entry) -> list[Any]:
    """Values that stand for all when a space is checked: both ends of a range, every choice."""
    return list(entry["choices"]) if "choices" in entry else [entry["low"], entry["high"]]


def rounded(entry: Entry, value: Any) -> Any:
    """A drawn number to `DIGITS` significant digits, within its range; whole numbers and choices as they are."""
    if "choices" in entry or entry["whole"]:
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), entry["low"]), entry["high"])


def holds(entry: Entry, value: Any) -> bool:
    """Whether a value may have been drawn from an entry."""
    if "choices" in entry:
        return json.dumps(value) in map(json.dumps, entry["choices"])
    number = isinstance(value, int if entry["whole"] else float) and not isinstance(value, bool)
    return number and entry["low"] <= value <= entry["high"]


def at_edge(entry: Entry, value: Any) -> bool:
    """Whether a value lies at an end of what was tried, so that better ones may lie beyond.

    That is within `EDGE` of an end of a range, by the logarithm where it is drawn so; the least or the greatest of
    choices that are numbers; never another choice.
    """
    if "choices" in entry:
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in entry["choices"])
        return numbers and value in (min(entry["choices"]), max(entry["choices"]))
    low, high, at = (math.log(v) if entry["log"] else v for v in (entry["low"], entry["high"], value))
    return min(at - low, high - at) <= EDGE * (high - low)


def trial_problem(sampler: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
    """What shows that these are not the trials of a search with this sampler; nothing where they may be."""
    space, wanted = sampler["space"], sampler["trials"]
    if [t.get("trial") for t in trials] != list(range(wanted)):
        return f"holds {len(trials)} trials; its spec has {wanted}, or others"
    for trial in trials:
        at = trial["at"]
        wrong = sorted(path for path in {*space, *at} if path not in at or not holds(space.get(path, {}), at[path]))
        if wrong:
            return f"trial {trial['trial']}: {wrong[0]} = {at.get(wrong[0])!r} is not of the space of its spec"
    return ""
