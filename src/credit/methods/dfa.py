"""Direct feedback alignment (Nøkland 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from credit.methods._direct import direct_feedback, direct_step
from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net, Params
from credit.rand import Rand


@dataclass(frozen=True)
class DFA(Method):
    """delta_l = phi' * (B_l e): the output error e reaches every hidden block through a fixed random B_l.

    feedback: initialisation of B_l (n_l x n_L). feedback_scale: factor on B_l. In a conv net B_l addresses the
    block's outputs after pooling.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")

    feedback: str | dict = "xavier_normal"
    feedback_scale: Annotated[float, "> 0"] = 1.0

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {block: B (M, n_l, n_L)}} for the hidden blocks."""
        return {"feedback": direct_feedback(net, params, rand, self.feedback, self.feedback_scale)}

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """e is the loss gradient at the output's pre-activation; info["deltas"] at all pre-activations."""
        run = forward(net, params, batch, rand)
        error = net.block(len(net) - 1).local(run.trace.blocks[-1], run.error)
        return direct_step(net, run, state["feedback"], error)


part = DFA
