"""PEPITA's update of dense relu nets on the CPU in few passes over memory, for mini-batches that nothing measures.

Products of matrices are torch's. What `credit.methods.pepita` computes with a dozen operations on the activities of a
layer are two compiled loops here, and all happens in memory that is kept from update to update: on a small net
calls and fresh memory take as long as the arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit.methods.fast import Result
from credit.methods.modulation import passes
from credit.nets.base import Batch, Net
from credit.nets.loops import relu_masked
from credit.numerics import products
from credit.numerics.compiled import compiled
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


def possible(rule, net: Net, params: Params, opt: OptimizerLike, batch: Batch) -> bool:
    """Whether `Workspace` is defined for this rule, net, stack, optimiser and mini-batch."""
    weight, blocks = net.like(params), net.blocks
    return (
        (rule.passes, rule.signal, rule.low_rank) == (2, "error", True)
        and rule.mask_power > 0
        and net.kind == "dense"
        and net.keep < 1
        and len(blocks) > 1
        and all(block.activation == "relu" for block in blocks[:-1])
        and blocks[-1].activation == "linear"
        and not any(block.bias for block in blocks)
        and net.stacked(params)
        and batch.x.ndim > 2
        and weight.dtype in (torch.float32, torch.float64)
        and not any(block["weight"].requires_grad for block in params.values())
        and opt.takes_products
        and batch.weights is None
        and batch.divisor is None
    )


def pays(net: Net, batch: Batch) -> bool:
    """Whether it needs fewer operations."""
    return passes.pays(net, batch.x.shape[1])


class Workspace:
    """Memory for updates by mini-batches of n samples, M networks at once, of whatever weights are given.

    projection: F (M, n_0, n_L). inputs: x, or x + F e, and below it the columns of F, (M, n + n_L, n_0). joint: their
    products with the first weights. masks, acts, outs: of the hidden layers, (M, n, n_i); the deltas take the place of
    acts. gradients: of all layers, None where they stay products.
    """

    def __init__(self, rule, net: Net, params: Params, projection: Tensor, n: int) -> None:
        def empty(rows: int, units: int) -> Tensor:
            return torch.empty(len(projection), rows, units, dtype=projection.dtype)

        self.rule, self.net = rule, net
        sizes = [params[str(i)]["weight"].shape[1] for i in range(len(net))]
        self.inputs, self.joint = empty(n + sizes[-1], projection.shape[1]), empty(n + sizes[-1], sizes[0])
        self.x, self.signal = self.inputs[:, :n], self.inputs[:, n:]
        self._carry(projection)
        self.pres = [self.joint[:, :n], *(empty(n, units) for units in sizes[1:])]
        self.response = self.joint[:, n:]
        self.masks, self.acts, self.outs = ([empty(n, units) for units in sizes[:-1]] for _ in range(3))
        layers = zip(self.pres, self.masks, self.acts, self.outs)
        factors = zip([*self.acts, self.pres[-1]], [self.x, *self.outs])
        self.gradients = [None if products.pays(d, x) else empty(d.shape[-1], x.shape[-1]) for d, x in factors]
        self.arrays = [
            [tuple(t[m].view(-1).numpy() for t in layer) for m in range(len(projection))] for layer in layers
        ]

    def _carry(self, projection: Tensor) -> None:
        self.projection, self.version = projection, projection._version
        self.signal.copy_(projection.mT)

    def update(self, params: Params, opt: OptimizerLike, state: dict[str, Any], batch: Batch, rand: Rand) -> Result:
        """One update where this is `possible`; of info the loss (M,) is left."""
        net, n, top, projection = self.net, self.x.shape[1], len(self.acts), state["projection"]
        if projection is not self.projection or projection._version != self.version:
            self._carry(projection)
        weights = [params[str(i)]["weight"] for i in range(len(net))]
        self.x.copy_(batch.x.flatten(2))
        net.masks(params, n, rand, self.masks)
        torch.bmm(self.inputs, weights[0].mT, out=self.joint)
        for i, out in enumerate(self.outs):
            for pre, mask, act, masked in self.arrays[i]:
                relu_masked(pre, mask, act, masked)
            torch.bmm(out, weights[i + 1].mT, out=self.pres[i + 1])
        loss, error = net.loss.value_and_gradient(self.pres[-1], batch.y)
        size = 1 if net.loss.summed else n
        self.pres[0].baddbmm_(error, self.response, alpha=size)
        below, gradients = self.x.baddbmm_(error, self.signal, alpha=size), {}
        for i, (delta, out) in enumerate(zip(self.acts, self.outs)):
            for pre, mask, act, masked in self.arrays[i]:
                _modulated(pre, mask, act, masked, 1 / size, self.rule.mask_power == 2)
            gradients[str(i)] = {"weight": self._gradient(i, delta, below)}
            below = out
            torch.bmm(out, weights[i + 1].mT, out=self.pres[i + 1])
        if self.rule.last_layer_error == "second_pass":
            error = net.loss.gradient(self.pres[-1], batch.y)
        gradients[str(top)] = {"weight": self._gradient(top, error, below)}
        opt.step(params, gradients)
        return params, opt, state, {"loss": loss}

    def _gradient(self, i: int, delta: Tensor, x: Tensor) -> Tensor | products.Product:
        memory = self.gradients[i]
        return products.Product(delta, x) if memory is None else torch.bmm(delta.mT, x, out=memory)


@compiled
def _modulated(pre, mask, act, out, share, twice):
    """Masked activity of the modulated pass; its delta takes the place of the activity of the standard pass."""
    zero, share = pre.dtype.type(0), pre.dtype.type(share)
    for k in range(pre.shape[0]):
        value = pre[k]
        value = zero if value < zero else value  # what is not a number stays visible
        kept = mask[k]
        out[k] = value * kept
        difference = (act[k] - value) * share * kept
        act[k] = difference * kept if twice else difference
