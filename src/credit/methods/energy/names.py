"""Names of settings of predictive coding, and what excludes each other; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from credit.errors import ConfigError, one_of
from credit.nets import suited

# {name: the first of T iterations that belong to it}
SETS: dict[str, Callable[[int], int]] = {
    "all": lambda steps: 0,
    "last": lambda steps: steps - 1,
    "last_half": lambda steps: steps // 2,
    "never": lambda steps: steps,
}


def iterations(name: str | int, where: str) -> str | int:
    """The name, or the iteration of a list. Raises ConfigError for a name that is no set of iterations."""
    if isinstance(name, str) and name not in SETS:
        raise ConfigError(one_of(where, name, SETS) + ", or a list of iterations, which count from 0")
    return name


def relaxed(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Settings of `pc` under which nothing is learned, or nothing but the output layer."""
    yield from suited.no_dropout(net)
    yield from suited.unmixed(net)
    steps, inference = values["steps"], values["inference"]
    for place, which in (("inference.updates", inference["updates"]), ("weight_updates", values["weight_updates"])):
        late = [t for t in which if t >= steps] if not isinstance(which, str) else []
        if late:
            yield f"{place} = {list(which)}; must hold iterations from 0 to {steps - 1}, steps is {steps}"
    if values["weight_updates"] in ("never", ()):
        yield f"weight_updates = {values['weight_updates']!r}; needs an iteration at which weights learn"
    if net is not None and not list(suited.hidden(net)):
        yield from _unmoved(steps, inference["updates"], values["weight_updates"])
    if values["closed_form"] != "no":
        yield from _closed(values, net)


def _unmoved(steps: int, updates: str | Sequence[int], learns: str | Sequence[int]) -> Iterator[str]:
    """Nodes that have moved at no iteration before the last one at which weights learn."""
    alone = "trains the output layer alone, since the value nodes have not moved:"
    moves, seen = (SETS[w](steps) if isinstance(w, str) else None for w in (updates, learns))
    first = min(updates, default=steps) if moves is None else moves
    last = max(learns, default=steps) if seen is None else steps - 1
    if steps == 1:
        yield f"steps = 1; {alone} must be at least 2"
    elif first >= last:
        written = updates if isinstance(updates, str) else list(updates)
        yield f"inference.updates = {written!r}; {alone} must hold an iteration before {last}, at which weights learn"


def _closed(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    inference, only = values["inference"], f"closed_form = {values['closed_form']!r}; needs"
    used = set() if net is None else {*suited.activations(net, "hidden"), *suited.activations(net, "output")}
    if net is not None and (net["kind"] != "dense" or used - {"linear"}):
        yield f"{only} a dense net whose activations are linear"
    if inference["optimizer"] != "sgd" or inference["updates"] != "all":
        yield f"{only} inference.optimizer 'sgd' and inference.updates 'all'"
    if values["weight_updates"] != "last" or values["energy_coefficient"] != 1 or values["stop_below"] is not None:
        yield f"{only} weight_updates 'last', energy_coefficient 1 and no stop_below"
