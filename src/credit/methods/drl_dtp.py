"""DTP as in the code of Meulemans et al. (2020): layer-wise feedback that learns to undo its own layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from credit.methods.base import State
from credit.methods.reconstruction.layerwise import Layerwise
from credit.methods.reconstruction.losses import FeedbackStep, plain_loss
from credit.methods.reconstruction.settings import Feedback
from credit.nets.base import Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.stack import combine
from credit.numerics.trees import Params

SMALLEST = 0.02  # sigma by which the loss is divided at least; published, not configurable there


@dataclass(frozen=True)
class LayerwiseDTP(Layerwise):
    """The loss of map l is mean((g_l(f_l(h + noise)) - h - noise)²) / max(sigma, 0.02)². Its targets are those of
    `dtpdrl`; `dtp` is the rule of the same name in another official code. Defaults: published for MNIST."""

    target_stepsize: Annotated[float, "> 0"] = 0.21951187497378802
    feedback: Feedback = Feedback(
        activation="tanh", sigma=0.08372453893037193, lr=1.9584756448113774e-3, betas=(0.9, 0.999), eps=7.5411e-6
    )
    pretrain_epochs: Annotated[int, ">= 0"] = 0
    extra_feedback_passes: Annotated[int, ">= 0"] = 0

    def feedback_steps(
        self, net: Net, params: Params, state: State, trace: Trace, rand: Rand, active: list[int]
    ) -> dict[int, FeedbackStep]:
        learns, found = self.feedback, {}
        sigma = combine(lambda s: max(s, SMALLEST), learns.sigma)
        for i, noise in self.noise(net, params, trace, rand, [i - 1 for i in active]).items():
            disturbed = trace.blocks[i].out + noise
            y = net.block(i + 1).forward(params[str(i + 1)], disturbed).out
            own = state["feedback"][str(i + 1)]
            found[i + 1] = plain_loss(own, learns.activation, y, disturbed, sigma)
        return found


part = LayerwiseDTP
