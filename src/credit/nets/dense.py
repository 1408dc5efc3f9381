"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from credit.errors import ConfigError, one_of
from credit.nets import activations
from credit.nets.arguments import counts, each, layer_activations
from credit.nets.base import BlockTrace, Net, in_pieces, loss_named
from credit.numerics.products import Product, pays

CONNECTIONS = ("full", "diagonal")


@dataclass(frozen=True)
class Dense:
    """h = phi(W x + b): weight (M, n_out, n_in), bias (M, n_out), activations (M, B, n).

    connections: "diagonal" for a layer whose unit i sees input i alone; its other weights are 0, their gradients too.
    """

    n_in: int
    n_out: int
    activation: str
    bias: bool = True
    factored: bool = False  # the weight's gradient may stay a `Product`
    connections: str = "full"

    @property
    def shape_out(self) -> tuple[int, ...]:
        return (self.n_out,)

    @property
    def phi(self):
        """The activation function, see `credit.nets.activations`."""
        return activations.get(self.activation)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis."""
        bias = {"bias": (self.n_out,)} if self.bias else {}
        return {"weight": (self.n_out, self.n_in), **bias}

    def forward(self, params: dict[str, Tensor], x: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """x (M, B, n_in), or images (M, B, C, H, W) that are flattened."""
        axes = params["weight"].ndim
        x = x.flatten(axes - 1) if x.ndim > axes else x
        trace = self.activate(x, self.linear(params, x), mask)
        trace.params = params
        return trace

    def linear(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        """The pre-activation W x + b, (M, B, n_out); x (M, B, n_in)."""
        return affine(x, params["weight"], params.get("bias"))

    def activate(self, x: Tensor, pre: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """What follows the pre-activation `pre` (M, B, n_out), which came of the input x (M, B, n_in)."""
        act, out = self.phi.masked(pre, mask)
        return BlockTrace(x, pre, act, out, mask=mask)

    def local(self, trace: BlockTrace, grad: Tensor) -> Tensor:
        """Gradient at the output (M, B, n_out) -> at the pre-activation."""
        if trace.mask is not None:
            grad = grad * trace.mask
        return self.phi.backward(grad, trace.pre, trace.act)

    def weight_gradient(self, trace: BlockTrace, delta: Tensor) -> dict[str, Tensor]:
        """delta (M, B, n_out), summed over the batch -> {"weight": delta^T x, "bias": sum of delta}."""
        product = self.factored and self.connections == "full" and pays(delta, trace.input)
        weight = Product(delta, trace.input) if product else delta.mT @ trace.input
        if self.connections != "full":
            weight = weight * self.connected(weight)
        return {"weight": weight, "bias": delta.sum(-2)} if self.bias else {"weight": weight}

    def connected(self, like: Tensor) -> Tensor | None:
        """1 for weights that are there and 0 for others, (n_out, n_in); None where all are. like: dtype and device."""
        if self.connections == "full":
            return None
        return torch.eye(self.n_out, dtype=like.dtype, device=like.device)

    def backward(self, trace: BlockTrace, grad: Tensor, below: bool = True) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, n_out) -> of the parameters, and at the input, (M, B, n_in)."""
        return in_pieces(self, trace, grad, below)

    def with_products(self) -> Dense:
        """The same block, whose weight's gradient stays a product where that is faster."""
        return replace(self, factored=True)

    def pull(self, weight: Tensor, delta: Tensor, trace: BlockTrace) -> Tensor:
        """delta W, (M, B, n_in): the gradient at the input when `weight` is the forward weight."""
        return delta @ weight


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b for one network or a stack, (M, B, n_out)."""
    if bias is None:
        return x @ weight.mT
    if weight.ndim == 2:
        return torch.addmm(bias, x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(-2), x.expand(weight.shape[0], *x.shape[-2:]), weight.mT)


def dense(
    sizes: Sequence[int],
    hidden: str | Sequence[str] = "tanh",
    output: str = "linear",
    loss: str = "softmax_cross_entropy",
    bias: bool | Sequence[bool] = True,
    keep: float = 1.0,
    connections: str | Sequence[str] = "full",
) -> Net:
    """A fully connected net with layer sizes [n_0, ..., n_L].

    hidden: activation of all hidden layers, or one name per hidden layer. A classifier ends in linear logits,
    its softmax is part of the loss. bias, connections ("full", or "diagonal" between layers of one size): for all
    layers, or one value for each. Raises ConfigError for fewer than two sizes, and for what is no size, name or truth
    value, or not as many as there are layers.
    """
    sizes = counts(sizes, "sizes", at_least=2, what="layer sizes, input first,")
    n_hidden = len(sizes) - 2
    names = layer_activations(hidden, output, n_hidden, "hidden layers")
    biases = each(bias, n_hidden + 1, bool, "bias", "blocks")
    kinds = each(connections, n_hidden + 1, str, "connections", "blocks")
    for i, (a, b, kind) in enumerate(zip(sizes[:-1], sizes[1:], kinds, strict=True)):
        if kind not in CONNECTIONS:
            raise ConfigError(one_of("net.connections", kind, CONNECTIONS))
        if kind == "diagonal" and a != b:
            raise ConfigError(
                f"net.connections: layer {i} is diagonal; it needs as many units as inputs, has {b} and {a}"
            )
    layers = zip(sizes[:-1], sizes[1:], names, biases, kinds, strict=True)
    blocks = tuple(Dense(a, b, phi, has_bias, connections=kind) for a, b, phi, has_bias, kind in layers)
    return Net("dense", blocks, loss_named(loss), (sizes[0],), keep)


@dataclass(frozen=True)
class DenseConfig:
    """Configuration of a fully connected net; input and output sizes come from the task.

    hidden_sizes: units of the hidden layers. hidden: activation, one for all hidden layers or one for each. output: its
    activation; the softmax of a cross-entropy is part of the loss. loss: what is minimised. bias: for all layers, or
    one for each. keep: probability that dropout keeps a hidden unit. init: how weights are drawn, for all layers, or
    one for each. connections: "full", or "diagonal" where unit i sees input i alone; for all layers, or one for each.
    """

    hidden_sizes: tuple[Annotated[int, "> 0"], ...]
    hidden: Annotated[str | tuple[str, ...], "credit.nets.names.activation"] = "tanh"
    output: Annotated[str, "credit.nets.names.activation"] = "linear"
    loss: Annotated[str, "credit.nets.names.loss"] = "softmax_cross_entropy"
    bias: bool | tuple[bool, ...] = True
    keep: Annotated[float, "(0, 1]"] = 1.0
    init: Annotated[str | dict | tuple[dict, ...], "credit.nets.names.layer_options"] = "xavier_normal"
    connections: Literal["full", "diagonal"] | tuple[Literal["full", "diagonal"], ...] = "full"

    def build(self, shape_in: tuple[int, ...], n_out: int) -> Net:
        """The net for inputs of `shape_in` (flattened) and `n_out` outputs."""
        n_in = 1
        for n in shape_in:
            n_in *= n
        hidden = self.hidden if isinstance(self.hidden, str) else list(self.hidden)
        kinds = self.connections if isinstance(self.connections, str) else list(self.connections)
        return dense([n_in, *self.hidden_sizes, n_out], hidden, self.output, self.loss, self.bias, self.keep, kinds)


part = DenseConfig
