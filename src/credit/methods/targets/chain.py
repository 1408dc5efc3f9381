"""A forward pass and the feedback blocks that lead back through it.

Notation of Ernoult et al. (ICML 2022): block i computes s^i from s^{i-1}; its feedback block G_i leads back. Block 0
has none, since the image needs no target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from credit.nets.base import Block, BlockTrace, Net, Trace
from credit.nets.feedback import Collisions, FeedbackBlock
from credit.nets.feedback_stage import FeedbackStage, feedback_of
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Link:
    """Block i with its feedback block, at the clean activities of a mini-batch."""

    layer: Block
    params: dict[str, Tensor]
    feedback: FeedbackBlock | FeedbackStage
    trace: BlockTrace
    below: Tensor  # s^{i-1} (M, B, ...), shaped as the block below gave it

    @cached_property
    def route(self) -> Tensor | None:
        """Clean pooling indices, (M, B, C, h, w); None without pooling."""
        return self.feedback.route(self.trace)

    @cached_property
    def rates(self) -> Tensor:
        """rho(U s^i) at the clean activities, (M, B, ...)."""
        return self.feedback.rates(self.trace.out, self.route)

    def disturbed(self, noise: Tensor, samples: int = 1) -> tuple[Tensor, Tensor | None]:
        """rho(U F(x + noise)) and its pooling indices, noise (M, R, ...), rows as of `repeated`."""
        x = repeated(self.below, samples, self.axis) + noise
        trace = self.layer.forward(self.params, x)
        route = self.feedback.route(trace)
        return self.feedback.rates(trace.out, route), route

    def moved(self, params: dict[str, Tensor], above: Tensor) -> Tensor:
        """G(above) - G(s^i), shaped as s^{i-1} (M, B, ...); params: of the feedback block."""
        feedback, s = self.feedback, self.trace.out
        if not feedback.affine:
            moved = feedback(params, above, None, self.trace) - feedback(params, s, None, self.trace)
        else:
            moved = feedback.linear(params["weight"], feedback.rates(above, self.route) - self.rates, self.trace)
        return moved.reshape(self.below.shape)

    @property
    def axis(self) -> int:
        """Of the samples."""
        name, shape = next(iter(self.layer.shapes().items()))
        return self.params[name].ndim - len(shape)

    def flat(self, x: Tensor) -> Tensor:
        """x (M, B, ...), shaped as s^{i-1}, as this block takes it."""
        return x.flatten(self.axis + 1) if self.feedback.dense else x


def links(net: Net, params: Params, trace: Trace, collisions: Collisions) -> dict[int, Link]:
    """Blocks 1 to N - 1 with their feedback blocks."""
    return {
        i: Link(net.block(i), params[str(i)], feedback_of(net.block(i), collisions), trace.blocks[i],
                trace.blocks[i - 1].out)
        for i in range(1, len(net))
    }  # fmt: skip


def repeated(x: Tensor, samples: int, axis: int) -> Tensor:
    """Every sample of x (M, B, ...) followed by its copies, (M, R, ...)."""
    return x if samples == 1 else x.repeat_interleave(samples, axis)
