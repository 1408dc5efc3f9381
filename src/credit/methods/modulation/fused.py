"""PEPITA's update of dense relu nets on the CPU in few passes over memory, for mini-batches that nothing measures.

Products of matrices are torch's. What `credit.methods.pepita` computes with a dozen operations on the activities of a
layer are two compiled loops here, and all happens in memory that is kept from update to update: on a small net
calls and fresh memory take as long as the arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit.methods.modulation import passes
from credit.nets.base import Batch, Net
from credit.nets.loops import relu_masked
from credit.numerics.compiled import compiled
from credit.numerics.products import Product, worthwhile
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


def applies(rule, net: Net, params: Params, opt, batch: Batch) -> bool:
    """Whether `Workspace` is defined for this rule, net, stack and optimiser, and needs fewer operations."""
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
        and getattr(opt, "takes_products", False)
        and passes.saves(net, batch.x.shape[1])
    )


class Workspace:
    """Memory for updates by mini-batches of n samples, M networks at once.

    projection: F (M, n_0, n_L). inputs: x, or x + F e, and below it the columns of F, (M, n + n_L, n_0). joint: their
    products with the first weights. masks, acts, outs: of the hidden layers, (M, n, n_i); the deltas take the place of
    acts. gradients: of all layers, None where they stay products.
    """

    def __init__(self, net: Net, params: Params, projection: Tensor, n: int) -> None:
        def empty(rows: int, units: int) -> Tensor:
            return torch.empty(len(projection), rows, units, dtype=projection.dtype)

        self.projection, self.version, self.net = projection, projection._version, net
        self.weights = [params[str(i)]["weight"] for i in range(len(net))]
        sizes = [weight.shape[1] for weight in self.weights]
        self.inputs, self.joint = empty(n + sizes[-1], projection.shape[1]), empty(n + sizes[-1], sizes[0])
        self.inputs[:, n:] = projection.mT
        self.x, self.signal = self.inputs[:, :n], self.inputs[:, n:]
        self.pres = [self.joint[:, :n], *(empty(n, units) for units in sizes[1:])]
        self.response = self.joint[:, n:]
        self.masks, self.acts, self.outs = ([empty(n, units) for units in sizes[:-1]] for _ in range(3))
        layers = zip(self.pres, self.masks, self.acts, self.outs)
        factors = zip([*self.acts, self.pres[-1]], [self.x, *self.outs])
        self.gradients = [None if worthwhile(d, x) else empty(d.shape[-1], x.shape[-1]) for d, x in factors]
        self.arrays = [
            [tuple(t[m].view(-1).numpy() for t in layer) for m in range(len(projection))] for layer in layers
        ]

    def fits(self, params: Params, projection: Tensor) -> bool:
        """Whether these are the tensors that it was made for, and F (M, n_0, n_L) is what it was."""
        same = projection is self.projection and projection._version == self.version
        return same and all(params[str(i)]["weight"] is w for i, w in enumerate(self.weights))

    def update(self, rule, params: Params, opt, batch: Batch, rand: Rand) -> Tensor:
        """One update of `rule`, see `applies`. Returns the loss (M,).

        opt: one that takes products.
        """
        net, n, top = self.net, self.x.shape[1], len(self.acts)
        self.x.copy_(batch.x.flatten(2))
        net.masks(params, n, rand, self.masks)
        torch.bmm(self.inputs, self.weights[0].mT, out=self.joint)
        for i, out in enumerate(self.outs):
            for pre, mask, act, masked in self.arrays[i]:
                relu_masked(pre, mask, act, masked)
            torch.bmm(out, self.weights[i + 1].mT, out=self.pres[i + 1])
        loss, error = net.loss.value_and_gradient(self.pres[-1], batch.y)
        size = 1 if net.loss.summed else n
        self.pres[0].baddbmm_(error, self.response, alpha=size)
        below, gradients = self.x.baddbmm_(error, self.signal, alpha=size), {}
        for i, (delta, out) in enumerate(zip(self.acts, self.outs)):
            for pre, mask, act, masked in self.arrays[i]:
                _modulated(pre, mask, act, masked, 1 / size, rule.mask_power == 2)
            gradients[str(i)] = {"weight": self._gradient(i, delta, below)}
            below = out
            torch.bmm(out, self.weights[i + 1].mT, out=self.pres[i + 1])
        if rule.last_layer_error == "second_pass":
            error = net.loss.gradient(self.pres[-1], batch.y)
        gradients[str(top)] = {"weight": self._gradient(top, error, below)}
        opt.step(params, gradients)
        return loss

    def _gradient(self, i: int, delta: Tensor, x: Tensor) -> Tensor | Product:
        memory = self.gradients[i]
        return Product(delta, x) if memory is None else torch.bmm(delta.mT, x, out=memory)


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
