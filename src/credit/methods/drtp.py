"""Direct random target projection (Frenkel, Lefebvre & Bol 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from credit.methods.backward.direct import direct_feedback, direct_step
from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class DRTP(Method):
    """delta_l = phi' * (B_l t) / B: hidden blocks see the *target* t (one-hot, or the regression target).

    Nothing waits for the output, so there is neither a backward pass nor update locking. The sign of B_l is
    immaterial, since its distribution is symmetric. The output layer is trained with its error. Samples are
    averaged, or summed, as in the loss; weights of output errors weigh the targets in the same way.

    feedback: initialisation of B_l (n_l x n_L). feedback_scale: factor on B_l.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")
    keeps_state: ClassVar[bool] = True

    feedback: Annotated[str | dict, "credit.nets.names.options"] = "xavier_normal"
    feedback_scale: Annotated[float, "> 0"] = 1.0

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {block: B (M, n_l, n_L)}} for the hidden blocks."""
        return {"feedback": direct_feedback(net, params, rand, self.feedback, self.feedback_scale)}

    def passes_products(self) -> bool:
        return True

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """info["deltas"] are the teaching signals at the pre-activations."""
        run = forward(net, params, batch, rand)
        target = net.loss.targets(batch.y, net.n_out, run.error.dtype)
        signal = target if batch.weights is None else target * batch.weights
        return direct_step(net, run, state["feedback"], signal if net.loss.summed else signal / run.error.shape[-2])


part = DRTP
