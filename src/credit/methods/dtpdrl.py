"""DTPDRL: layer-wise difference target propagation with the difference reconstruction loss (Meulemans et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from credit.methods.base import State
from credit.methods.reconstruction.layerwise import Layerwise
from credit.methods.reconstruction.losses import FeedbackStep, difference_loss, disturbed
from credit.methods.reconstruction.settings import Feedback
from credit.nets.base import Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class DTPDRL(Layerwise):
    """Noise at layer l - 1 travels to the output and back down to l by the feedback maps, of which the one of l alone
    learns to undo it. Defaults: published for MNIST."""

    target_stepsize: Annotated[float, "> 0"] = 0.06858850589618244
    feedback: Feedback = Feedback(
        activation="tanh", sigma=0.056879454462500055, lr=2.0123315498373473e-5, betas=(0.99, 0.999), eps=5.0845e-8,
        decay=5.384963778780523e-6,
    )  # fmt: skip

    def feedback_steps(
        self, net: Net, params: Params, state: State, trace: Trace, rand: Rand, active: list[int]
    ) -> dict[int, FeedbackStep]:
        learns, axis = self.feedback, len(net.lead(params))
        noise = self.noise(net, params, trace, rand, [i - 1 for i in active])
        rows, waiting, found = list(disturbed(net, params, trace, noise, axis).values()), list(active), {}
        for i in range(len(net) - 1, min(active) - 1, -1):
            if i in waiting:
                waiting.remove(i)
                y, clean = rows.pop(), trace.blocks[i].out
                own = state["feedback"][str(i)]
                found[i] = difference_loss(own, learns.activation, y, clean, noise[i - 1], learns.sigma)
            rows = [self.lowered(state, trace, i, y) for y in rows]
        return dict(sorted(found.items()))


part = DTPDRL
