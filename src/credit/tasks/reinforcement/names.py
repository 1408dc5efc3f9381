"""Environments by name, and settings that contradict each other. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from credit.errors import one_of


class Space(NamedTuple):
    """observations: numbers of an observation. actions: how many there are. limit: steps of an episode, at most."""

    observations: int
    actions: int
    limit: int


# As gymnasium registers them (tested): known here, so that sizes of nets and costs are known before anything runs.
SPACES = {
    "CartPole-v1": Space(4, 2, 500),
    "Acrobot-v1": Space(6, 3, 500),
    "MountainCar-v0": Space(2, 3, 200),
}


def problems(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Of `credit.tasks.control`: learning must start at some time, and with mini-batches that can be filled."""
    if values["environment"] not in SPACES:
        yield one_of("environment", values["environment"], SPACES)
    least = values["learn_from"] + 1
    if values["capacity"] < least:
        yield f"capacity = {values['capacity']}; needs more than learn_from, which is {values['learn_from']}"
    if values["batch_size"] > least:
        yield f"batch_size = {values['batch_size']}; needs as many transitions when learning starts, at {least}"
    if values["epsilon"] < values["epsilon_min"]:
        yield f"epsilon = {values['epsilon']}; needs epsilon_min or more, which is {values['epsilon_min']}"


def net_problems(task: Mapping[str, Any], net: Mapping[str, Any]) -> Iterator[str]:
    """Values of actions are numbers of any size, one an output, of vectors of observations."""
    if net.get("kind", "dense") != "dense":
        yield f"net.kind = {net['kind']!r}; needs dense, observations of {task['environment']} are vectors"
    elif net.get("output", "linear") != "linear":
        yield f"net.output = {net['output']!r}; needs linear, since values of actions have no bounds"
