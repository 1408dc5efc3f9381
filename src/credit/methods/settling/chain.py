"""Layers that act on each other: nodes x_0 .. x_L, (M, B, n_l) each, and the products between them.

Every product takes f of the layer below it, that of the input too: mu_l = f(x_{l-1}) V_{l-1} + b_{l-1}. V_l is the
transposed weight (M, n_{l+1}, n_l) of block i, as in the released code; biases are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit.nets.activations import Activation
from credit.nets.base import BlockTrace, Net
from credit.nets.dense import Dense
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Chain:
    """Blocks with their parameters, f, and whether it is applied to the input. Nodes x_l are (M, B, n_l)."""

    blocks: Sequence[Dense]
    params: list[dict[str, Tensor]]
    phi: Activation
    input_activation: bool = True

    @classmethod
    def of(cls, net: Net, params: Params, input_activation: bool) -> Chain:
        """That of a dense net, whose hidden layers have one activation."""
        return cls(net.blocks, [params[str(i)] for i in range(len(net))], net.block(0).phi, input_activation)

    @property
    def top(self) -> int:
        """L, the index of the output nodes."""
        return len(self.params)

    def rate(self, x: list[Tensor], i: int) -> Tensor:
        """f(x_l), (M, B, n_l)."""
        return self.phi.value(x[i]) if i or self.input_activation else x[i]

    def slope(self, x: list[Tensor], i: int) -> Tensor:
        """f'(x_l), (M, B, n_l)."""
        if i == 0 and not self.input_activation:
            return torch.ones_like(x[0])
        return self.phi.derivative(x[i], self.phi.value(x[i]))

    def below(self, x: list[Tensor], i: int) -> Tensor:
        """mu_l = f(x_{l-1}) V_{l-1} + b_{l-1}, (M, B, n_l), for i > 0."""
        return self.blocks[i - 1].linear(self.params[i - 1], self.rate(x, i - 1))

    def up(self, signal: Tensor, i: int) -> Tensor:
        """signal V_l, (M, B, n_{l+1}), of a signal (M, B, n_l)."""
        return signal @ self.params[i]["weight"].mT

    def down(self, signal: Tensor, i: int) -> Tensor:
        """signal V_l^T, (M, B, n_l), of a signal (M, B, n_{l+1})."""
        return signal @ self.params[i]["weight"]

    def products(self, before: list[Tensor], after: list[Tensor]) -> Params:
        """before_l^T after_{l+1} of every block, summed over the batch, in the structure of the parameters.

        Both have one tensor (M, B, n_l) for each of x_0 .. x_L; a bias is a weight from a unit that is always 1.
        """
        return {str(i): self.product(before[i], after[i + 1], i) for i in range(self.top)}

    def product(self, before: Tensor, after: Tensor, i: int) -> dict[str, Tensor]:
        """before^T after, of (M, B, n_l) and (M, B, n_{l+1}), in the shapes of block i; bias: sum of after."""
        return self.blocks[i].weight_gradient(BlockTrace(before, after, after, after), after)
