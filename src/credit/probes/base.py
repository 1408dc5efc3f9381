"""What a probe sees: one update of the stack, before and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from credit.methods.base import Method, State
from credit.nets.base import Batch, Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Moment:
    """A step. params, state: copies from before it; after, state_after: from after it; info: what it returned.

    At an evaluation nothing lies in between: before is after, batch is None and info empty.
    memory: what the probe keeps between the moments of a run, a nested dict of tensors and plain values, its own to
    change; it goes into checkpoints.
    """

    net: Net
    method: Method
    params: Params
    state: State
    batch: Batch | None
    info: dict[str, Any]
    after: Params
    state_after: State
    rand: Rand
    memory: dict[str, Any] = field(default_factory=dict)


class Probe(Protocol):
    """Measures something; layer "" is the whole net, "1" the first."""

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, values (M,))]."""
