"""Jacobians of a dense net's output with respect to its pre-activations, by recursion over the layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.nets.base import Net, Trace
from credit.numerics.trees import Params


def output_jacobian(net: Net, params: Params, trace: Trace) -> list[Tensor]:
    """J_i = d r_L / d v_i for every layer i, (M, B, n_L, n_i), first layer first.

    J_L = diag(phi'_L), J_i = J_{i+1} W_{i+1} diag(phi'_i). Source: Meulemans et al. 2021, section 1.4 of the
    methods; the n_L rows are carried through the layers once for the whole batch.
    """
    return chain([params[str(i)]["weight"] for i in range(len(net))], slopes(net, trace))


def slopes(net: Net, trace: Trace) -> list[Tensor]:
    """phi'_i of every layer at the pre-activations of a forward pass, (M, B, n_i)."""
    return [b.phi.derivative(t.pre, t.act) for b, t in zip(net.blocks, trace.blocks, strict=True)]


def chain(weights: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[Tensor]:
    """The same from the weights (M, n_i, n_{i-1}) and the slopes phi'_i (M, B, n_i) of any state."""
    last = len(weights) - 1
    jacobian = torch.diag_embed(slopes[last])
    result = [jacobian]
    for i in range(last - 1, -1, -1):
        if i == last - 1:  # a diagonal times a matrix is no matrix product
            product = slopes[last].unsqueeze(-1) * weights[last].unsqueeze(-3)
        else:
            product = (jacobian.flatten(-3, -2) @ weights[i + 1]).unflatten(-2, jacobian.shape[-3:-1])
        jacobian = product.mul_(slopes[i].unsqueeze(-2))
        result.append(jacobian)
    return result[::-1]
