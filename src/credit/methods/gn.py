"""Gauss-Newton update of the parameters with mini-batches of one, averaged: a reference direction.

Source: Meulemans et al. (NeurIPS 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets.base import Net
from credit.nets.jacobian import output_jacobian
from credit.numerics.damped import damped_solution
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.clipping import rescale


@dataclass(frozen=True)
class GN(Method):
    """Mean over the samples of J_p^T (J_p J_p^T + damping I)^-1 g, J_p the Jacobian of the output to all parameters.

    J_p is never formed: J_p J_p^T = sum of (|r_{i-1}|^2 + 1) J_i J_i^T, with J_i the Jacobian to the pre-activations
    (the 1 is the bias's). damping: 0 is the Moore-Penrose pseudoinverse.

    For training in place of DFC-SSA: target_stepsize: scales the gradient to DFC's, 2 target_stepsize. clip_norm:
    largest norm of each tensor.
    """

    exact_output: ClassVar[bool] = False
    excludes: ClassVar[str] = "credit.nets.suited.by_jacobian"

    damping: Annotated[float, ">= 0"] = 0.0
    target_stepsize: Annotated[float, "> 0"] | None = None
    clip_norm: Annotated[float, "> 0"] | None = None

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Dense nets only. info["deltas"]: J_i^T z, (M, B, n_i)."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        jacobian = output_jacobian(net, params, run.trace)
        gram = 0.0
        for i, (j, step) in enumerate(zip(jacobian, run.trace.blocks, strict=True)):
            weight = step.input.square().sum(-1) + ("bias" in params[str(i)])
            gram = gram + (j @ j.mT) * weight[..., None, None]
        z = damped_solution(gram, run.error, self.damping, "gn").unsqueeze(-1)
        deltas = [(j.mT @ z).squeeze(-1) for j in jacobian]
        batch_size = run.error.shape[-2]
        gradients = {
            str(i): net.block(i).weight_gradient(step, delta / batch_size)
            for i, (delta, step) in enumerate(zip(deltas, run.trace.blocks, strict=True))
        }
        gradients = rescale(gradients, 2.0, self.target_stepsize, self.clip_norm, net.stacked(params))
        return Step(gradients, run.info | {"deltas": deltas, "jacobian": jacobian})


part = GN
