"""The groups of hyperparameters of predictive coding, and which iterations a setting means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from credit.methods.energy.names import SETS


@dataclass(frozen=True)
class Inference:
    """The descent of the value nodes in their energy, from the feed-forward pass, anew for every mini-batch.

    lr: the rate at its start. discount, amplifier: what it is multiplied by where the energy has not fallen, and where
    it has. optimizer: "sgd", or "adam" with its usual coefficients. updates: iterations at which the nodes move, see
    `iterations`.
    """

    main: ClassVar[str] = "lr"

    lr: Annotated[float, "> 0"] = 0.1
    discount: Annotated[float, "(0, 1]"] = 0.5
    amplifier: Annotated[float, "> 0"] = 1.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    updates: Annotated[str, "credit.methods.energy.names.iterations"] | tuple[Annotated[int, ">= 0"], ...] = "all"


def iterations(which: str | Sequence[int], steps: int) -> tuple[bool, ...]:
    """For each of `steps` iterations whether it is one of `which`: "all", "last", "last_half", "never", or a list."""
    if not isinstance(which, str):
        return tuple(t in which for t in range(steps))
    first = SETS[which](steps)
    return tuple(t >= first for t in range(steps))
