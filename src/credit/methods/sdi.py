"""Single-loop dynamic inversion: one controller at the output finds the deltas of all hidden layers at once.

Source: Podlaski & Machens (NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from credit.methods.base import State
from credit.methods.inversion.dynamics import run_chain
from credit.methods.inversion.names import options
from credit.methods.inversion.rule import WithFeedback
from credit.methods.inversion.stability import check_growth, step_radius
from credit.nets.base import Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class SDI(WithFeedback):
    """Deltas are the states r_1, ..., r_k of a chain driven by B u, u' = -leak u + W_k g(r_k) - delta_L, from zero.

    r_1 is a true inverse, the others follow from it by the forward weights. feedback: B (M, n_1, n_L) from the output
    to the first hidden layer is made of the product of all weights above (neg_transpose: of -(W_k ... W_1)^T);
    "optimized" multiplies the feedback of the layer pairs, which is kept too, for probes. dynamics: g = tanh, identity,
    or "linearized": division by phi'. leak: of the controller u. dt, euler_steps: length and number of the Euler steps.
    No delta is multiplied by phi'. The published method has two hidden layers.
    """

    excludes: ClassVar[str] = "credit.methods.inversion.names.of_sdi"
    one_for_all: ClassVar[tuple[str, ...]] = ("dt", "ssa_lr")

    leak: Annotated[float, ">= 0"] = 0.01
    dt: Annotated[float, "> 0"] = 0.5
    euler_steps: Annotated[int, ">= 0"] = 999
    dynamics: Literal["tanh", "linear", "linearized"] = "tanh"

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": of the layer pairs, "direct": B}. Raises ConfigError when the dynamics runs away."""
        state = super().init(net, params, rand)
        weights = self._weights(params)
        product = weights[0]
        for weight in weights[1:]:
            product = weight @ product
        if options(self.feedback, f"{self.name}.feedback")[0] == "optimized":
            direct = -((-1) ** len(weights)) * _product(list(state["feedback"].values()))
        else:
            direct = self.drawn(product, net.rand(params, rand), 0)
        radius = float(step_radius(weights, direct, self.leak, self.dt).max())
        check_growth(self.name, "0", radius, self.euler_steps, self.dt)
        return state | {"direct": direct}

    def hidden_deltas(self, net: Net, params: Params, state: State, trace: Trace, delta: Tensor) -> list[Tensor]:
        weights, b = self._weights(params), state["direct"]
        expected = (*delta.shape[:-2], weights[0].shape[-1], delta.shape[-1])
        if tuple(b.shape) != expected:
            raise ValueError(f"{self.name}: direct feedback has shape {tuple(b.shape)}; this net needs {expected}")
        hidden = trace.blocks[:-1]
        slopes = None
        if self.dynamics == "linear":
            slopes = [torch.ones_like(t.pre) for t in hidden]
        elif self.dynamics == "linearized":
            slopes = [net.block(i).phi.derivative(t.pre, t.act) for i, t in enumerate(hidden)]
        deltas = run_chain(weights, b, self.leak, delta, self.dt, self.euler_steps, slopes)
        return [d if t.mask is None else d * t.mask for d, t in zip(deltas, hidden, strict=True)]

    @staticmethod
    def _weights(params: Params) -> list[Tensor]:
        return [params[str(i)]["weight"] for i in range(1, len(params))]


def _product(matrices: list[Tensor]) -> Tensor:
    result = matrices[0]
    for matrix in matrices[1:]:
        result = result @ matrix
    return result


part = SDI
