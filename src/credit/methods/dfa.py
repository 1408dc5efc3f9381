"""Direct feedback alignment (Nøkland 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from credit.methods.backward.direct import direct_feedback, direct_step
from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.clipping import rescale


@dataclass(frozen=True)
class DFA(Method):
    """delta_l = phi' * (B_l e): the output error e reaches every hidden block through a fixed random B_l.

    feedback: initialisation of B_l (n_l x n_L). feedback_scale: factor on B_l. In a conv net B_l addresses the
    block's outputs after pooling.

    As in the DFC paper (Meulemans et al. 2021), where hidden targets are h + B_l (target - output): target_stepsize:
    scales the gradients by 2 target_stepsize / B, B the size of the batch (a second mean beside the loss's, as in all
    rules of that paper). clip_norm: largest norm of the gradient of each tensor, 1 there.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")
    keeps_state: ClassVar[bool] = True

    feedback: Annotated[str | dict, "credit.nets.names.options"] = "xavier_normal"
    feedback_scale: Annotated[float, "> 0"] = 1.0
    target_stepsize: Annotated[float, "> 0"] | None = None
    clip_norm: Annotated[float, "> 0"] | None = None

    def passes_products(self) -> bool:
        return self.target_stepsize is None and self.clip_norm is None

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {block: B (M, n_l, n_L)}} for the hidden blocks."""
        return {"feedback": direct_feedback(net, params, rand, self.feedback, self.feedback_scale)}

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """e is the loss gradient at the output's pre-activation; info["deltas"] at all pre-activations."""
        run = forward(net, params, batch, rand)
        error = net.block(len(net) - 1).local(run.trace.blocks[-1], run.error)
        step = direct_step(net, run, state["feedback"], error)
        stacked, factor = net.stacked(params), 2 / run.error.shape[-2]
        step.gradients = rescale(step.gradients, factor, self.target_stepsize, self.clip_norm, stacked)
        return step


part = DFA
