"""Minimum-norm update: the damped Gauss-Newton step on the pre-activations, a reference direction.

Source: Meulemans et al. (NeurIPS 2021), called GNT in their code; the theory says that DFC follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.methods.base import Batch, Method, State, Step, forward
from credit.nets import jacobian
from credit.nets.activations import difference
from credit.nets.base import Net, Trace
from credit.numerics.chunks import chunks
from credit.numerics.damped import damped_solution
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params
from credit.optim.clipping import clip_each


@dataclass(frozen=True)
class MN(Method):
    """dv = J^T (J J^T + damping I)^-1 g for every sample, split by layer; gradient of W_i = mean of dv_i r_{i-1}^T.

    g is the gradient of the mean loss at the output (so it carries 1/B, as published) and J the Jacobian of the output
    with respect to all pre-activations. damping: 0 is the Moore-Penrose pseudoinverse. nonlinear: phi(v + dv) - phi(v)
    in place of dv, as in the published angles (the shift is added with the sign of g).

    For training in place of DFC-SSA: target_stepsize: dv is that of the target r - target_stepsize g and the gradient
    is -2 times the change it makes, as if Q were J^T of every sample. clip_norm: largest norm of each tensor.
    """

    exact_output: ClassVar[bool] = False
    excludes: ClassVar[str] = "credit.nets.suited.by_jacobian"

    damping: Annotated[float, ">= 0"] = 0.0
    nonlinear: bool = True
    target_stepsize: Annotated[float, "> 0"] | None = None
    clip_norm: Annotated[float, "> 0"] | None = None

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Dense nets only. info["deltas"]: the dv_i or their nonlinear form, (M, B, n_i)."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        shifts = self._shifts(net, params, run.trace, run.error)
        factor = (1 if self.target_stepsize is None else -2) / run.error.shape[-2]
        gradients, deltas = shift_gradients(net, run.trace, shifts, self.nonlinear, factor)
        gradients = clip_each(gradients, self.clip_norm, net.stacked(params))
        return Step(gradients, run.info | {"deltas": deltas})

    def _shifts(self, net: Net, params: Params, trace: Trace, error: Tensor) -> list[Tensor]:
        goal = error if self.target_stepsize is None else -scaled(error, self.target_stepsize)
        weights, slopes = [params[str(i)]["weight"] for i in range(len(net))], jacobian.slopes(net, trace)
        parts = []
        for part in chunks(error, error.shape[-1] * max(s.shape[-1] for s in slopes)):
            rows = jacobian.chain(weights, [s[..., part, :] for s in slopes])
            gram = sum(j @ j.mT for j in rows)  # (M, B, n_L, n_L)
            z = damped_solution(gram, goal[..., part, :], self.damping, "mn").unsqueeze(-1)
            parts.append([(j.mT @ z).squeeze(-1) for j in rows])
        return [torch.cat(pieces, -2) for pieces in zip(*parts, strict=True)]


def shift_gradients(
    net: Net,
    trace: Trace,
    shifts: Sequence[Tensor],
    nonlinear: bool,
    factor: float,
    rates: Sequence[Tensor] | None = None,
) -> tuple[Params, list[Tensor]]:
    """(gradients, deltas) of shifts dv_i (M, B, n_i): factor x sum over the samples of delta_i x presynaptic rate.

    rates: below every layer, the input first; None takes those of the trace. The official code has the option of
    taking those of the controlled state.
    """
    gradients, deltas = {}, []
    for i, (shift, step) in enumerate(zip(shifts, trace.blocks, strict=True)):
        block = net.block(i)
        delta = difference(block.phi, step.pre, step.act, shift) if nonlinear else shift
        below = step if rates is None else replace(step, input=rates[i])
        gradients[str(i)] = block.weight_gradient(below, delta * factor)
        deltas.append(delta)
    return gradients, deltas


part = MN
