"""Dynamic inversion: a feedback controller finds the hidden delta that produces the delta above.

Source: Podlaski & Machens (NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from credit.methods.base import State
from credit.methods.inversion.dynamics import run_linear, run_loop
from credit.methods.inversion.rule import LayerByLayer, WithFeedback
from credit.methods.inversion.stability import check_growth, lambda_max, rounding, stabilize, step_radius, surely_stable
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class DI(WithFeedback, LayerByLayer):
    """delta_low = r after a number of Euler steps of u' = -leak u + W g(r) - delta_up, r' = -r + B u, from zero.

    leak: of the controller u. dt, euler_steps: 0.5 and 999, so that with a small leak the dynamics has not converged
    when it is read out, which is part of the published method. dynamics: g = identity or tanh.
    restabilize: where feedback makes the dynamics unstable (lambda_max > 0), at the start or after an update, it is
    moved until it no longer does; if that fails, as far as the descent came. The delta is not multiplied by phi'.
    """

    metrics: ClassVar[tuple[str, ...]] = ("restabilized",)
    slope: ClassVar[bool] = False
    one_for_all: ClassVar[tuple[str, ...]] = ("dt", "ssa_lr")
    excludes: ClassVar[str] = "credit.methods.inversion.names.of_di"

    leak: Annotated[float, ">= 0"] = 0.01
    dt: Annotated[float, "> 0"] = 0.5
    euler_steps: Annotated[int, ">= 0"] = 999
    dynamics: Literal["linear", "tanh"] = "linear"
    restabilize: bool = True

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """Feedback as for `ndi`. Raises ConfigError when the dynamics runs away at this leak and dt."""
        state = super().init(net, params, rand)
        if self.restabilize:
            self._restabilize(params, state)
        for i, b in state["feedback"].items():
            radius = float(step_radius([params[i]["weight"]], b, self.leak, self.dt).max())
            check_growth(self.name, i, radius, self.euler_steps, self.dt)
        return state

    def below(self, weight: Tensor, feedback: Tensor, delta: Tensor) -> Tensor:
        if self.dynamics == "linear":
            return run_linear(weight, feedback, self.leak, delta, self.dt, self.euler_steps)
        return run_loop(weight, feedback, self.leak, delta, self.dt, self.euler_steps, "tanh")

    def after_step(self, params: Params, state: State) -> dict[str, Tensor]:
        """Feedback is made stable again. "restabilized": (M,) layers."""
        return {"restabilized": self._restabilize(params, state)} if self.restabilize else {}

    def _restabilize(self, params: Params, state: State) -> Tensor:
        """Replace unstable feedback in place; returns how many layers of every member were changed."""
        changed = torch.zeros_like(next(iter(state["feedback"].values()))[..., 0, 0])
        for i, b in state["feedback"].items():
            weight = params[i]["weight"]
            if bool(surely_stable(weight, b, self.leak).all()):
                continue
            unstable = lambda_max(weight, b, self.leak) > rounding(weight, b)
            if bool(unstable.any()):
                leak = np.broadcast_to(np.asarray(self.leak), tuple(unstable.shape))[unstable.cpu().numpy()]
                b[unstable] = stabilize(weight[unstable], b[unstable], leak, self.descent)[0]
                changed += unstable
        return changed


part = DI
