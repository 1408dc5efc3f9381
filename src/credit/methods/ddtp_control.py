"""DDTP-control: DDTP-linear whose feedback learns without the difference correction (Meulemans et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from credit.methods.base import State
from credit.methods.reconstruction.direct import Direct
from credit.methods.reconstruction.losses import FeedbackStep, plain_loss
from credit.methods.reconstruction.settings import Feedback
from credit.nets.base import Net, Trace


@dataclass(frozen=True)
class DDTPControl(Direct):
    """The loss is mean((g_l(o~) - h~_l)²); the targets are those of `ddtp_linear`. Defaults: published for MNIST."""

    target_stepsize: Annotated[float, "> 0"] = 0.09416689927228376
    feedback: Feedback = Feedback(
        sigma=0.008719996683197298,
        lr=1.8713096100900022e-4,
        betas=(0.9, 0.999),
        eps=1.2298e-8,
        decay=4.0219548415666565e-4,
    )

    def loss(
        self, net: Net, state: State, trace: Trace, layer: int, output: Tensor, noise: Tensor, axis: int
    ) -> FeedbackStep:
        goal = trace.blocks[layer].out.flatten(axis + 1) + noise
        seen = self.seen(net, state, layer, output)
        return plain_loss(state["feedback"][str(layer)], self.feedback.activation, seen, goal)


part = DDTPControl
