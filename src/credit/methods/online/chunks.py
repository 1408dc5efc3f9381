"""Exact online gradient descent in chunks: mini-batches of one sample, at the speed of matrix products.

The first block's weights take part in a sample's forward pass only through W x. After i updates of
W <- keep W - rate d_j x_j^T that is keep^i (W x) - rate sum_j keep^(i-1-j) (x_j . x) d_j, so that a chunk of K samples
needs one product W X, one Gram matrix of the inputs, and one update of W. All other parameters are small and are
updated after every sample, by a compiled loop where there is one. Source: algebra; the trajectory is that of single
updates to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit.methods.online import loops
from credit.methods.online.loops import Carry, Chunk
from credit.nets.base import Batch, BlockTrace, Net, Trace, check_input
from credit.numerics.trees import Params
from credit.optim.base import Affine

WIDEST = 64  # inputs: below, chunks save nothing


def possible(net: Net, batch: Batch) -> bool:
    """Whether mini-batches of one sample can be taken in chunks."""
    plain = batch.weights is None and batch.divisor is None and net.keep >= 1
    return plain and net.kind == "dense" and len(net) > 1


def pays(net: Net) -> bool:
    """Whether chunks save anything."""
    return net.block(0).n_in >= WIDEST


def online(
    net: Net, params: Params, batch: Batch, affine: Affine, deltas, after=None, carry: Carry | None = None
) -> Tensor:
    """Update `params` in place by every sample of the batch (M, K, ...) in turn; returns the losses, (K, M).

    affine: {block: {name: (keep, rate)}}. deltas(trace, error) -> gradients at the pre-activations of all blocks,
    (M, 1, n_i) each, computed with the present params. after: called after each sample, when all blocks but the first
    have their new weights. carry: the same as `deltas` and no `after`, in a form for the compiled loop.
    """
    check_input(net, params, batch.x)
    weight, bias = params["0"]["weight"], params["0"].get("bias")
    axis = len(net.lead(params))
    x = batch.x.flatten(axis + 1)
    count = x.shape[axis]
    index = torch.arange(count, device=x.device).unsqueeze(-1)
    factors = {i: {n: _shaped(params[i][n], *pair) for n, pair in block.items()} for i, block in affine.items()}
    keep, rate = factors["0"]["weight"]
    mixing = _seen(keep, rate, index) * (x @ x.mT)  # (M, K, K), row i: what sample i sees of the deltas before it
    resting = x @ weight.mT * keep**index
    if bias is not None:  # the weight of an input that is always 1
        keep_b, rate_b = (v.unsqueeze(-1) for v in factors["0"]["bias"])
        mixing += _seen(keep_b, rate_b, index)
        resting += bias.unsqueeze(-2) * keep_b**index
    mixing.tril_(-1)
    first = torch.zeros_like(resting)
    upper = {i: block for i, block in params.items() if i != "0"}
    add_product = torch.baddbmm if axis else torch.addmm
    losses, i = resting.new_empty(count, *resting.shape[:-2]), 0
    chunk = None
    if carry is not None and loops.possible(net, params, batch):
        chunk = Chunk(net, params["1"], carry, factors["1"], resting, mixing, first, batch.y)
        losses, i = chunk.loss(), chunk.run(0)
    while i < count:
        pre = resting.narrow(axis, i, 1)
        if i:
            pre = add_product(pre, mixing.narrow(axis, i, 1)[..., :i], first.narrow(axis, 0, i))
        trace = _forward(net, upper, x.narrow(axis, i, 1), pre)
        loss, error = net.loss.value_and_gradient(trace.output, batch.y.narrow(axis, i, 1))
        below, *others = deltas(trace, error)
        first.narrow(axis, i, 1).copy_(below)
        losses[i] = loss
        for j, delta in enumerate(others, 1):
            gradients = net.block(j).weight_gradient(trace.blocks[j], delta)
            for name, gradient in gradients.items():
                keep_j, rate_j = factors[str(j)][name]
                params[str(j)][name].mul_(keep_j).addcmul_(gradient, rate_j, value=-1)
        if after is not None:
            after()
        i = i + 1 if chunk is None else chunk.run(i + 1)
    left = count - 1 - index
    change = (first * (rate * keep**left)).mT
    weight.mul_(keep**count)
    (weight.baddbmm_ if axis else weight.addmm_)(change, x, alpha=-1)
    if bias is not None:
        bias.mul_(factors["0"]["bias"][0] ** count).sub_((first * (rate_b * keep_b**left)).sum(-2))
    return losses


def _seen(keep: Tensor, rate: Tensor, index: Tensor) -> Tensor:
    """-rate keep^(i - 1 - j), (M, K, K), below the diagonal: the weight in sample i's pre-activation of delta j."""
    return -rate * keep ** (index - 1 - index.mT).clamp(min=0)


def _forward(net: Net, upper: dict[str, Any], x: Tensor, pre: Tensor) -> Trace:
    """Forward pass from the first block's pre-activation."""
    blocks: list[BlockTrace] = [net.block(0).activate(x, pre)]
    for i, block in upper.items():
        blocks.append(net.block(int(i)).forward(block, blocks[-1].out))
    return Trace(blocks)


def _shaped(p: Tensor, keep: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """keep and rate (M,) with the axes that p <- keep p - rate gradient needs."""
    shape = (-1, *[1] * (p.ndim - 1)) if len(keep) > 1 else (1,) * p.ndim
    return keep.reshape(shape), rate.reshape(shape)
