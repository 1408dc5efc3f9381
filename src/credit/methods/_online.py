"""Exact online gradient descent in blocks: mini-batches of one sample, at the speed of matrix products.

The first block's weights take part in a sample's forward pass only through W x. After i updates of
W <- keep W - rate d_j x_j^T that is keep^i (W x) - rate sum_j keep^(i-1-j) (x_j . x) d_j, so that a block of K samples
needs one product W X, one Gram matrix of the inputs, and one update of W. All other parameters are small and are
updated after every sample. Source: algebra; the trajectory is that of single updates to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit.nets.base import Batch, BlockTrace, Net, Params, Trace, check_input
from credit.optim._optimizer import Affine

WIDEST = 64  # inputs: below, blocks save nothing


def pays(net: Net, params: Params, batch: Batch) -> bool:
    """Whether a run of single samples can be done in blocks, and is worth it."""
    plain = batch.weights is None and batch.divisor is None and net.keep >= 1
    return plain and net.kind == "dense" and len(net) > 1 and params["0"]["weight"].shape[-1] >= WIDEST


def online(net: Net, params: Params, batch: Batch, affine: Affine, deltas) -> Tensor:
    """Update `params` in place by every sample of the batch (M, K, ...) in turn; returns the losses, (K, M).

    affine: {block: {name: (keep, rate)}}. deltas(trace, error) -> gradients at the pre-activations of all blocks,
    (M, 1, n_i) each, computed with the present params.
    """
    check_input(net, params, batch.x)
    weight = params["0"]["weight"]
    axis = weight.ndim - 2
    x = batch.x.flatten(axis + 1)
    keep, rate = (v.reshape(-1, 1, 1) if axis else v.reshape(1, 1) for v in affine["0"]["weight"])
    count = x.shape[axis]
    index = torch.arange(count, device=x.device)
    powers = keep ** (index.unsqueeze(-1) - 1 - index).clamp(min=0)
    mixing = (-rate * powers * (x @ x.mT)).tril_(-1)  # (M, K, K), row i: what sample i sees of the deltas before it
    resting = x @ weight.mT * keep ** index.unsqueeze(-1)
    first = torch.zeros_like(resting)
    upper = {i: block for i, block in params.items() if i != "0"}
    losses = []
    for i in range(count):
        pre = resting[..., i : i + 1, :]
        if i:
            pre = pre + mixing[..., i : i + 1, :i] @ first[..., :i, :]
        if "bias" in params["0"]:
            pre = pre + params["0"]["bias"].unsqueeze(-2)
        trace = _forward(net, upper, x[..., i : i + 1, :], pre)
        loss, error = net.loss.value_and_gradient(trace.output, batch.y.narrow(axis, i, 1))
        below, *others = deltas(trace, error)
        first[..., i : i + 1, :] = below
        losses.append(loss)
        if "bias" in params["0"]:
            _step(params["0"]["bias"], below.squeeze(-2), *affine["0"]["bias"])
        for j, delta in enumerate(others, 1):
            gradients = net.block(j).weight_gradient(trace.blocks[j], delta)
            for name, gradient in gradients.items():
                _step(params[str(j)][name], gradient, *affine[str(j)][name])
    left = keep ** (count - 1 - index).unsqueeze(-1)
    change = (first * (rate * left)).mT
    weight.mul_(keep**count)
    (weight.baddbmm_ if axis else weight.addmm_)(change, x, alpha=-1)
    return torch.stack(losses)


def _forward(net: Net, upper: dict[str, Any], x: Tensor, pre: Tensor) -> Trace:
    """Forward pass from the first block's pre-activation."""
    blocks: list[BlockTrace] = [net.block(0).activate(x, pre)]
    for i, block in upper.items():
        blocks.append(net.block(int(i)).forward(block, blocks[-1].out))
    return Trace(blocks)


def _step(p: Tensor, gradient: Tensor, keep: Tensor, rate: Tensor) -> None:
    """p <- keep p - rate gradient, in place; keep, rate: (M,)."""
    shape = (-1, *[1] * (p.ndim - 1)) if len(keep) > 1 else (1,) * p.ndim
    p.mul_(keep.reshape(shape)).sub_(gradient * rate.reshape(shape))
