"""Feedback from every layer to the one below it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.base import State
from credit.methods.reconstruction.losses import difference
from credit.methods.reconstruction.rule import DifferenceReconstruction
from credit.nets.base import Net, Trace


@dataclass(frozen=True)
class Layerwise(DifferenceReconstruction):
    """t_{l-1} = h_{l-1} + g_l(t_l) - g_l(h_l), g_l(h) = phi(Q_l h + d_l) with Q_l (n_{l-1}, n_l); d_l where layer l has
    a bias."""

    def maps(self, net: Net) -> dict[str, tuple[tuple[int, int], bool]]:
        pairs = enumerate(zip(net.blocks[:-1], net.blocks[1:], strict=True), 1)
        return {str(i): ((below.n_out, block.n_out), block.bias) for i, (below, block) in pairs}

    def targets(self, net: Net, state: State, trace: Trace, goal: Tensor) -> dict[int, Tensor]:
        result = {}
        for i in range(len(net) - 1, 0, -1):
            goal = self.lowered(state, trace, i, goal)
            result[i - 1] = goal
        return result

    def lowered(self, state: State, trace: Trace, layer: int, y: Tensor) -> Tensor:
        """h_{l-1} + g_l(y) - g_l(h_l), (M, B, n_{l-1}), for y (M, B, n_l)."""
        own, clean = state["feedback"][str(layer)], trace.blocks
        return clean[layer - 1].out + difference(own, self.feedback.activation, y, clean[layer].out)
