"""Backpropagation of single convolutional networks in the forms of `credit.nets.pooled`."""

from __future__ import annotations

import functools

from torch import Tensor

from credit.methods.base import Batch, State, check_input, redivided, with_loss
from credit.methods.fast import Fast, Result
from credit.nets import pooled
from credit.nets.base import Net, Trace
from credit.nets.conv import Conv
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


def fast(net: Net, params: Params, batch: Batch) -> Fast | None:
    """The fast form of an update; None where one of the convolutions has none, for stacks, dropout and devices."""
    layers = [block for block in net.blocks if isinstance(block, Conv)]
    single = net.members(params) <= 1 and net.keep >= 1
    if not layers or not single or not all(map(pooled.possible, layers)):
        return None
    tensors = [p for block in params.values() for p in block.values()]
    return Fast(functools.partial(update, net)) if in_memory(*tensors, batch.x) else None


def update(net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
    """As of `credit.methods.bp`, params (M, ...) with one member or without stack; info: loss (M,)."""
    check_input(net, params, batch.x)
    net = net.with_products if opt.takes_products else net
    gradients = redivided(_gradients(net, params, batch, info := {}), net, params, batch)
    opt.step(params, gradients)
    return params, opt, state, info


def _gradients(net: Net, params: Params, batch: Batch, info: dict) -> Params:
    stacked = net.stacked(params)

    def lift(t: Tensor) -> Tensor:
        return t.unsqueeze(0) if stacked else t

    x, convolutions, traces = batch.x[0] if stacked else batch.x, [], []
    for i in range(len(net)):
        own = params[str(i)]
        if isinstance(net.block(i), Conv):
            convolutions.append(pooled.pooled(net.block(i), {n: p[0] if stacked else p for n, p in own.items()}, x))
            x = convolutions[-1].out
        else:
            x = lift(x.contiguous()) if not traces else x
            traces.append(net.block(i).forward(own, x))
            x = traces[-1].out
    run = with_loss(net, Trace(traces), batch)
    info["loss"], grad, gradients = run.loss, run.error, {}
    for i in reversed(range(len(net))):
        below = i > 0
        if i >= len(convolutions):
            gradients[str(i)], grad = net.block(i).backward(traces[i - len(convolutions)], grad, below)
            continue
        grad = grad[0] if stacked and i == len(convolutions) - 1 else grad
        found, grad = convolutions[i].backward(grad, below)
        gradients[str(i)] = {n: lift(g) for n, g in found.items()}
    return gradients
