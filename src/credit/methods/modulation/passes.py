"""PEPITA's modulated forward pass, x + F e with the weights and dropout masks of the standard pass."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from credit.nets.base import Batch, BlockTrace, Net, Trace
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params


def draw_projection(net: Net, rand: Rand, scheme: str | dict, scale: float) -> Tensor:
    """F (M, n_0, n_L); its fan-in is the number of inputs n_0, since that is how the official code scales it."""
    n_in = math.prod(net.shape_in)
    return scaled(init(scheme, (n_in, net.n_out), rand, "projection", fan_from=(net.n_out, n_in)), scale)


@dataclass
class Modulation:
    """Modulated passes through `net`, to be called with the signal (M, B, n_L) of F (M, n_0, n_L).

    first: the standard pass. response: W F of the first block (M, n_L, units before pooling), or None. With it
    W (x + F e) = W x + (W F) e takes the place of the product with the modulated input.
    """

    net: Net
    params: Params
    projection: Tensor
    first: Trace
    response: Tensor | None = None

    @classmethod
    def after_standard_pass(
        cls, net: Net, params: Params, projection: Tensor, x: Tensor, masks: list | None, low_rank: bool
    ) -> Modulation:
        """Make the standard pass of the inputs x (M, B, ...), and W F where that form needs fewer operations."""
        masks = masks or [None] * len(net)
        samples = len(net.lead(params))  # their axis
        if low_rank and pays(net, x.shape[samples]):
            trace, response = _with_response(net, params["0"], projection.mT, x, masks[0], samples)
        else:
            trace, response = net.block(0).forward(params["0"], x, masks[0]), None
        return cls(net, params, projection, _upwards(net, params, trace, masks), response)

    def __call__(self, signal: Tensor) -> Trace:
        """The pass of x + F signal; signal (M, B, n_L)."""
        start, block = self.first.blocks[0], self.net.block(0)
        x = add_product(start.input, signal, self.projection.mT)
        if self.response is None:
            trace = block.forward(self.params["0"], x, start.mask)
        else:
            trace = block.activate(x, add_product(start.pre, signal, self.response), start.mask)
        return _upwards(self.net, self.params, trace, [b.mask for b in self.first.blocks])


def pays(net: Net, batch_size: int) -> bool:
    """Whether n_L passes through the first block and a product (B, n_L) x (n_L, units) cost less than B passes."""
    block = net.block(0)
    positions = math.prod(block.shape_pre[1:]) if net.kind == "conv" else 1
    weight = block.shapes()["weight"]
    per_sample, units = math.prod(weight) * positions, weight[0] * positions
    return net.n_out * (per_sample + batch_size * units) < batch_size * per_sample


def _with_response(
    net: Net, params: dict[str, Tensor], columns: Tensor, x: Tensor, mask: Tensor | None, samples: int
) -> tuple[BlockTrace, Tensor]:
    """The first block's pass of x, and the response of its weights to the columns of F (M, n_L, n_0)."""
    block, weight = net.block(0), {"weight": params["weight"]}
    if net.kind == "conv":
        response = block.linear(weight, columns.reshape(*columns.shape[:-1], *net.shape_in))
        return block.forward(params, x, mask), response.flatten(samples + 1)
    # One product of samples and columns: that of the few columns alone would read all weights once more.
    x = x.flatten(samples + 1).expand(*columns.shape[:-2], -1, -1)
    pre = block.linear(weight, torch.cat([x, columns], samples))
    response = pre.narrow(samples, x.shape[samples], columns.shape[-2])
    pre = pre.narrow(samples, 0, x.shape[samples])
    if "bias" in params:
        pre = pre + params["bias"].unsqueeze(-2)
    return block.activate(x, pre, mask), response


def _upwards(net: Net, params: Params, trace: BlockTrace, masks: list[Tensor | None]) -> Trace:
    """The pass from the first block's trace on."""
    traces = [trace]
    for i in range(1, len(net)):
        traces.append(net.block(i).forward(params[str(i)], traces[-1].out, masks[i]))
    return Trace(traces)


def add_product(start: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """start + a b with the features of `start` (M, B, ...) flattened; a (M, B, k), b (M, k, n)."""
    flat = start.flatten(a.ndim - 1)
    if a.ndim == 3:
        flat = torch.baddbmm(flat.expand(a.shape[0], *flat.shape[1:]), a, b)
    else:
        flat = torch.addmm(flat, a, b)
    return flat.reshape(*flat.shape[:-1], *start.shape[a.ndim - 1 :])


def last_sample(what: Any, axis: int) -> Any:
    """A tensor, mini-batch or trace reduced to the last sample of the batch, whose axis stays."""
    if isinstance(what, Tensor):
        return what.narrow(axis, what.shape[axis] - 1, 1)
    if isinstance(what, Trace):
        return Trace([last_sample(block, axis) for block in what.blocks])
    if isinstance(what, Batch):
        return Batch(*(last_sample(t, axis) for t in (what.x, what.y, what.weights)), what.divisor)
    if isinstance(what, BlockTrace):
        return replace(what, **{f.name: last_sample(getattr(what, f.name), axis) for f in fields(what)})
    return what
