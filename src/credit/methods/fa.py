"""Feedback alignment (Lillicrap, Cownden, Tweed & Akerman 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from credit.methods.backward.sweep import sweep
from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params


@dataclass(frozen=True)
class FA(Method):
    """delta_l = phi' * (B_{l+1}^T delta_{l+1}) with fixed random B_l in place of W_l.

    feedback: initialisation of B_l, drawn with the shape and fans of W_l (see `credit.nets.init`).
    feedback_scale: factor on B_l. masks: "after_sweep" multiplies dropout masks onto the deltas only after they have
    gone down, as PEPITA's code does; from two hidden layers on that differs.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")
    excludes: ClassVar[str] = "credit.nets.suited.layer_masks"
    keeps_state: ClassVar[bool] = True

    feedback: Annotated[str | dict, "credit.nets.names.options"] = "xavier_normal"
    feedback_scale: Annotated[float, "> 0"] = 1.0
    masks: Literal["in_sweep", "after_sweep"] = "in_sweep"

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """Feedback weights of every block but the first, shaped as the forward weights."""
        like, rand, weights = net.like(params), net.rand(params, rand), {}
        for i in range(1, len(net)):
            drawn = init(self.feedback, net.block(i).shapes()["weight"], rand, f"feedback.{i}")
            weights[str(i)] = scaled(drawn, self.feedback_scale).to(like)
        return {"feedback": weights}

    def passes_products(self) -> bool:
        return True

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Backward sweep through the feedback weights; info["deltas"] at the pre-activations."""
        run = forward(net, params, batch, rand)
        gradients, deltas = sweep(net, run.trace, run.error, state["feedback"], self.masks)
        return Step(gradients, run.info | {"deltas": deltas})


part = FA
