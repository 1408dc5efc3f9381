"""Settings of tasks that contradict each other: problems as "KEY = VALUE; needs ...". Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def pairs(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Of `credit.tasks.pairs`: a pair is given whole, or none; weights are those of its outputs."""
    given = {key: values[key] for key in ("input", "target") if values[key] is not None}
    for key in given:
        if not values[key]:
            yield f"{key} = []; needs a number for each unit"
    if len(given) == 1:
        ((key, value),) = given.items()
        yield f"{key} = {list(value)}; needs {'target' if key == 'input' else 'input'} as well, a list of numbers"
    if given and values["points"] > 1:
        yield f"points = {values['points']}; needs pairs that are drawn, without input and target"
    drawn = {"n_in": 1, "n_out": 1, "std": 1.0}
    for key in (key for key in drawn if len(given) == 2 and values[key] not in (drawn[key], _length(key, values))):
        yield f"{key} = {values[key]}; needs pairs that are drawn, without input and target"
    weights = values["output_weights"]
    n_out = values["n_out"] if values["target"] is None else len(values["target"])
    if weights is not None and len(weights) != n_out:
        yield f"output_weights = {list(weights)}; needs one for each of the {n_out} outputs"


def _length(key: str, values: Mapping[str, Any]) -> int | None:
    """What a given pair says of n_in and n_out."""
    pair = {"n_in": "input", "n_out": "target"}
    return len(values[pair[key]]) if key in pair else None


def motor(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Of `credit.tasks.motor`: a washout has as many trials of one cue as of the other."""
    for key in ("washouts", "second_washouts", "test_washouts"):
        if not values[key]:
            yield f"{key} = []; needs at least one number of trials"
        for length in values[key]:
            if length % 2:
                yield f"{key} = {list(values[key])}; needs even numbers, half of the trials are of either cue"
                break
