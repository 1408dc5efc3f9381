"""Whether inference foresees what learning does to the activities (Song et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.nets.base import Trace
from credit.probes.base import Moment
from credit.probes.target_alignment import cosine


@dataclass(frozen=True)
class ProspectiveIndex:
    """Metric prospective_index of every hidden layer: the mean over the mini-batch of cos(x'- - x-, x+ - x-).

    x- and x'-: what the value nodes of the layer are when fed forward, before and after the update; x+: what they were
    inferred to be with the output clamped, as the update of the weights saw them. NaN where one of them does not move.
    """

    metrics: ClassVar[tuple[str, ...]] = ("prospective_index",)
    needs: ClassVar[str] = "credit.methods.pc.PC"
    nets: ClassVar[tuple[str, ...]] = ("dense",)

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("prospective_index", layer, values (M,))]; the first hidden layer is "1"."""
        net, x = moment.net, moment.batch.x
        before, after = (net.forward(params, x) for params in (moment.params, moment.after))
        rows = []
        for i, inferred in enumerate(moment.info["x"]):
            start, end = (_nodes(trace, i, moment.method.nodes) for trace in (before, after))
            index = cosine(end - start, inferred - start).mean(-1)
            rows.append(("prospective_index", str(i + 1), torch.atleast_1d(index)))
        return rows


def _nodes(trace: Trace, i: int, nodes: str) -> Tensor:
    """The fed forward value nodes of block i, before or after its nonlinearity."""
    return trace.blocks[i].pre if nodes == "before" else trace.blocks[i].out


part = ProspectiveIndex
