"""Target propagation of linear nets through pseudo-inverses, a baseline of Song et al. (2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net
from credit.numerics.finite import finite_parts
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class PseudoInverseTargets(Method):
    """e_i = W_{i+1}^+ e_{i+1}, from the gradient of the loss at the output; dW_i = -sum of e_i h_{i-1}^T.

    W^+ is the Moore-Penrose pseudo-inverse of the present weights, singular values below rounding dropped: of nearly
    singular weights it is so large that one small step overshoots. The targets of `tp` come from feedback that learns.
    """

    excludes: ClassVar[str] = "credit.nets.suited.linear"

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Linear dense nets only. info["deltas"]: e_i, (M, B, n_i)."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        deltas, delta = [run.error], run.error
        for i in range(len(net) - 1, 0, -1):
            delta = delta @ pseudo_inverse(params[str(i)]["weight"]).mT
            deltas.insert(0, delta)
        steps = zip(net.blocks, run.trace.blocks, deltas, strict=True)
        gradients = {str(i): block.weight_gradient(step, d) for i, (block, step, d) in enumerate(steps)}
        return Step(gradients, run.info | {"deltas": deltas})


def pseudo_inverse(weight: Tensor) -> Tensor:
    """W^+ (M, n_in, n_out) of weights (M, n_out, n_in); NaN for members that are not finite."""
    finite, weight = finite_parts(weight)
    return torch.where(finite, torch.linalg.pinv(weight), torch.nan)


part = PseudoInverseTargets
