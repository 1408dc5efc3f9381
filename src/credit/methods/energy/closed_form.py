"""Inference of linear nets in closed form: the value nodes after T steps of a constant rate, without taking them.

Source: Song et al. (Nature Neuroscience 2024); the energy of a linear net is quadratic in all value nodes together,
with the Hessian H, which is block-tridiagonal: I + W_{l+1}^T W_{l+1} on the diagonal, -W_{l+1} beside it. From x^(0)
with the gradient g^(0),

    x^(T) = x^(0) - [I - (I - gamma H)^T] H^-1 g^(0)

It is what the loop computes while the energy falls at every step, which holds where gamma times the largest
eigenvalue of H is below 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.energy import state
from credit.nets.base import Batch, Net
from credit.nets.losses import SquaredError
from credit.numerics.finite import finite_parts
from credit.numerics.stack import Number, member
from credit.numerics.trees import Params


def inferred(net: Net, params: Params, batch: Batch, steps: int, rate: Number) -> state.Energy:
    """The net with its value nodes after `steps` steps of the rate.

    NaN for members whose weights are not finite. Raises ConfigError for a loss that is not a squared error, and for
    weights of single outputs.
    """
    now = state.at(net, params, batch, None)
    if not now.x:
        return now
    slopes = state.node_gradients(net, params, now, state.deltas(net, now))
    finite, curvature = finite_parts(hessian(net, params, batch).double())
    values, vectors = torch.linalg.eigh(torch.where(finite, curvature, torch.eye(curvature.shape[-1]).to(curvature)))
    gamma = member(rate, values)
    factor = 1 - (1 - gamma * values) ** steps
    g = torch.cat(slopes, -1).double()
    moved = torch.where(finite, ((g @ vectors) * (factor / values).unsqueeze(-2)) @ vectors.mT, torch.nan)
    moves = moved.to(slopes[0].dtype).split([x.shape[-1] for x in now.x], -1)
    return state.at(net, params, batch, [x - m for x, m in zip(now.x, moves, strict=True)])


def hessian(net: Net, params: Params, batch: Batch) -> Tensor:
    """H of the energy of one sample in all value nodes, (M, n, n), the lowest layer first."""
    if not isinstance(net.loss, SquaredError) or batch.weights is not None:
        raise ConfigError("pc.closed_form: needs a squared error as net.loss, the same for all outputs")
    lead = net.lead(params)
    samples = batch.x.shape[len(lead)]
    curvature = 2 * net.loss.scale(samples, net.n_out) * (1 if net.loss.summed else samples)
    sizes = [block.n_out for block in net.blocks[:-1]]
    weights = [params[str(i)]["weight"] for i in range(1, len(net))]
    whole = weights[0].new_zeros(*lead, sum(sizes), sum(sizes))
    start = 0
    for i, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        own, last = slice(start, start + size), i == len(sizes) - 1
        eye = torch.eye(size, dtype=weight.dtype, device=weight.device)
        whole[..., own, own] = eye + (curvature if last else 1.0) * weight.mT @ weight
        if not last:
            above = slice(start + size, start + size + sizes[i + 1])
            whole[..., above, own] = -weight
            whole[..., own, above] = -weight.mT
        start += size
    return whole
