"""Minimum-norm update: the damped Gauss-Newton step on the pre-activations, a reference direction.

Source: Meulemans et al. (NeurIPS 2021), called GNT in their code; the theory says that DFC follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import Batch, Method, State, Step, forward, member
from credit.nets.base import Net, Params
from credit.nets.jacobian import output_jacobian
from credit.rand import Rand


@dataclass(frozen=True)
class MN(Method):
    """dv = J^T (J J^T + damping I)^-1 g for every sample, split by layer; gradient of W_i = mean of dv_i r_{i-1}^T.

    g is the gradient of the mean loss at the output (so it carries 1/B, as published) and J the Jacobian of the
    output with respect to all pre-activations. damping 0 is the Moore-Penrose pseudoinverse. nonlinear:
    phi(v + dv) - phi(v) in place of dv, as in the published angles (the shift is added with the sign of g).
    """

    exact_output: ClassVar[bool] = False
    cost: ClassVar[float] = 3.0

    damping: Annotated[float, ">= 0"] = 0.0
    nonlinear: bool = True

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Dense nets only. info["deltas"]: the dv_i or their nonlinear form, (M, B, n_i)."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        jacobian = output_jacobian(net, params, run.trace)
        shifts = self._shifts(jacobian, run.error)
        batch_size = run.error.shape[-2]
        gradients, deltas = {}, []
        for i, (shift, step) in enumerate(zip(shifts, run.trace.blocks, strict=True)):
            block = net.block(i)
            delta = shift
            if self.nonlinear:
                delta = block.phi.value(step.pre + shift) - step.act
            gradients[str(i)] = block.weight_gradient(step, delta / batch_size)
            deltas.append(delta)
        return Step(gradients, run.info | {"deltas": deltas, "jacobian": jacobian})

    def _shifts(self, jacobian: list[Tensor], error: Tensor) -> list[Tensor]:
        gram = sum(j @ j.mT for j in jacobian)  # (M, B, n_L, n_L)
        if np.min(self.damping) > 0:
            diagonal = gram.diagonal(dim1=-2, dim2=-1)
            diagonal.add_(member(self.damping, diagonal))
            # solve_ex: a singular sample becomes infinite there, and does not stop the other members
            z = torch.linalg.solve_ex(gram, error.unsqueeze(-1)).result
        elif np.max(self.damping) == 0:
            z = torch.linalg.pinv(gram, hermitian=True) @ error.unsqueeze(-1)
        else:
            raise ConfigError(f"mn.damping = {self.damping}; in one stack all values must be 0, or none")
        return [(j.mT @ z).squeeze(-1) for j in jacobian]


part = MN
