"""Feedback straight from the output to every hidden layer: the DDTP family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from credit.methods.base import State
from credit.methods.reconstruction.losses import FeedbackStep, difference, difference_loss, disturbed
from credit.methods.reconstruction.rule import DifferenceReconstruction
from credit.nets.base import Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Direct(DifferenceReconstruction):
    """t_l = h_l + g_l(t_L) - g_l(h_L), g_l(o) = phi(Q_l o + d_l) with Q_l (n_l, n_L); a convolution's activities are
    flattened, and its d_l is left out, as that of a layer without bias."""

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")

    def maps(self, net: Net) -> dict[str, tuple[tuple[int, int], bool]]:
        return {
            str(i): ((block.n_out, self.features(net, i)), block.bias and len(block.shape_out) == 1)
            for i, block in enumerate(net.blocks[:-1])
        }

    def features(self, net: Net, layer: int) -> int:
        """Length of what the feedback map of a layer gets."""
        return net.n_out

    def seen(self, net: Net, state: State, layer: int, output: Tensor) -> Tensor:
        """What the feedback map of a layer gets (M, B, k) when the output is (M, B, n_L)."""
        return output

    def targets(self, net: Net, state: State, trace: Trace, goal: Tensor) -> dict[int, Tensor]:
        phi, result = self.feedback.activation, {}
        for layer, own in state["feedback"].items():
            i = int(layer)
            y, base = (self.seen(net, state, i, o) for o in (goal, trace.output))
            out = trace.blocks[i].out
            result[i] = out + difference(own, phi, y, base).reshape(out.shape)
        return result

    def feedback_steps(
        self, net: Net, params: Params, state: State, trace: Trace, rand: Rand, active: list[int]
    ) -> dict[int, FeedbackStep]:
        axis = len(net.lead(params))
        noise = self.noise(net, params, trace, rand, active)
        outputs = disturbed(net, params, trace, noise, axis)
        return {
            i: self.loss(net, state, trace, i, outputs[i], noise[i].flatten(axis + 1), axis)
            for i in active
        }  # fmt: skip

    def loss(
        self, net: Net, state: State, trace: Trace, layer: int, output: Tensor, noise: Tensor, axis: int
    ) -> FeedbackStep:
        """Of one layer, from the output (M, B, n_L) that its noise (M, B, n) has led to. axis: of the samples."""
        y, base = (self.seen(net, state, layer, o) for o in (output, trace.output))
        own, learns = state["feedback"][str(layer)], self.feedback
        return difference_loss(own, learns.activation, y, base, noise, learns.sigma)
