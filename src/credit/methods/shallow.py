"""Training of the output layer alone; the hidden layers keep their random initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Shallow(Method):
    """The floor of every comparison: what a readout of random features reaches (BP-shallow in the DFC paper)."""

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv", "resnet")

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Gradient of the mean loss for the last block; other blocks have no entry."""
        run = forward(net, params, batch, rand)
        last = len(net) - 1
        delta = net.block(last).local(run.trace.blocks[last], run.error)
        gradients = {str(last): net.block(last).weight_gradient(run.trace.blocks[last], delta)}
        return Step(gradients, run.info | {"deltas": [None] * last + [delta]})


part = Shallow
