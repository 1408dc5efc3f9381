"""Convolutional networks: convolutions with activation and max-pooling, then fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from credit.nets import activations
from credit.nets.arguments import count, counts, each, image_shape, layer_activations, pooling, window
from credit.nets.base import BlockTrace, Net, in_pieces, loss_named
from credit.nets.dense import Dense
from credit.nets.geometry import kernel_window, pool_window, sides
from credit.nets.pooling import Pool


@dataclass(frozen=True)
class Conv:
    """out = pool(phi(W * x + b)): weight (M, C_out, C_in, k, k), bias (M, C_out), images (M, B, C, H, W).

    A stack is folded into the groups of one convolution over (B, M C, H, W).
    """

    shape_in: tuple[int, int, int]
    channels: int
    kernel: int
    activation: str
    stride: int = 1
    padding: int = 0
    pool: Pool | None = None
    bias: bool = True

    @property
    def phi(self):
        """The activation function, see `credit.nets.activations`."""
        return activations.get(self.activation)

    @property
    def shape_pre(self) -> tuple[int, int, int]:
        """(C, H, W) of the pre-activation."""
        return (self.channels, *sides(self.shape_in[1:], (self.kernel, self.stride, self.padding)))

    @property
    def shape_out(self) -> tuple[int, int, int]:
        """(C, H, W) of the output, after pooling."""
        if self.pool is None:
            return self.shape_pre
        return (self.channels, *self.pool.sides(self.shape_pre[1:]))

    @property
    def n_out(self) -> int:
        c, h, w = self.shape_out
        return c * h * w

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis."""
        bias = {"bias": (self.channels,)} if self.bias else {}
        return {"weight": (self.channels, self.shape_in[0], self.kernel, self.kernel), **bias}

    def forward(self, params: dict[str, Tensor], x: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """x (M, B, C, H, W)."""
        if params["weight"].ndim == 5:
            x = x.expand(params["weight"].shape[0], *x.shape[-4:])
        trace = self.activate(x, self.linear(params, x), mask)
        trace.params = params
        return trace

    def linear(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        """The pre-activation W * x + b, (M, B, C_out, H, W)."""
        weight, bias = params["weight"], params.get("bias")
        if weight.ndim == 4:
            return F.conv2d(x, weight, bias, self.stride, self.padding)
        members = weight.shape[0]
        flat = F.conv2d(
            fold(x.expand(members, *x.shape[-4:])), weight.flatten(0, 1), None if bias is None else bias.flatten(),
            self.stride, self.padding, groups=members,
        )  # fmt: skip
        return unfold(flat, members)

    def activate(self, x: Tensor, pre: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """What follows the pre-activation `pre` (M, B, C_out, H, W): activation, pooling, mask. x: the input."""
        if self.pool is None:
            act = self.phi.value(pre)
            out, index = act, None
        else:
            act, out, index = self.pool.activated(self.phi, pre)
        return BlockTrace(x, pre, act, out if mask is None else out * mask, index, mask)

    def unpool(self, trace: BlockTrace, grad: Tensor) -> Tensor:
        """Gradient at the pooled output, (M, B, C, H, W) or flattened -> at the activation."""
        grad = grad.reshape(trace.out.shape)
        if self.pool is None:
            return grad
        return self.pool.up(grad, trace.act, trace.out if trace.mask is None else None, trace.index)

    def local(self, trace: BlockTrace, grad: Tensor) -> Tensor:
        """Gradient at the output, (M, B, C, H, W) or flattened -> at the pre-activation."""
        grad = grad.reshape(trace.out.shape)
        if trace.mask is not None:
            grad = grad * trace.mask
        return self.phi.backward(self.unpool(trace, grad), trace.pre, trace.act)

    def weight_gradient(self, trace: BlockTrace, delta: Tensor) -> dict[str, Tensor]:
        """delta (M, B, C, H, W), summed over batch and positions."""
        shape = self.shapes()["weight"]
        if delta.ndim == 4:
            weight = torch.nn.grad.conv2d_weight(trace.input, shape, delta, self.stride, self.padding)
        else:
            m = delta.shape[0]
            weight = torch.nn.grad.conv2d_weight(
                fold(trace.input), (m * shape[0], *shape[1:]), fold(delta), self.stride, self.padding, groups=m
            ).reshape(m, *shape)
        return {"weight": weight, "bias": delta.sum((-4, -2, -1))} if self.bias else {"weight": weight}

    def backward(self, trace: BlockTrace, grad: Tensor, below: bool = True) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, C, H, W), flattened or not -> of parameters; at the input (M, B, C_in, ...)."""
        return in_pieces(self, trace, grad, below)

    def pull(self, weight: Tensor, delta: Tensor, trace: BlockTrace) -> Tensor:
        """Transposed convolution of delta with `weight`: the gradient at the input, (M, B, C_in, H, W)."""
        if delta.ndim == 4:
            shape = (delta.shape[0], *self.shape_in)
            return torch.nn.grad.conv2d_input(shape, weight, delta, self.stride, self.padding)
        m, b = delta.shape[:2]
        c, h, w = self.shape_in
        flat = torch.nn.grad.conv2d_input(
            (b, m * c, h, w), weight.flatten(0, 1), fold(delta), self.stride, self.padding, groups=m
        )
        return unfold(flat, m)


def fold(x: Tensor) -> Tensor:
    """(M, B, C, H, W) -> (B, M C, H, W)."""
    return x.movedim(0, 1).flatten(1, 2)


def unfold(x: Tensor, members: int) -> Tensor:
    """(B, M C, H, W) -> (M, B, C, H, W)."""
    return x.unflatten(1, (members, -1)).movedim(1, 0)


def conv(
    shape_in: Sequence[int],
    channels: Sequence[int],
    hidden_sizes: Sequence[int],
    n_out: int,
    kernel: int | Sequence[int] = 5,
    pool: int | Sequence[int] | None = 2,
    hidden: str | Sequence[str] = "relu",
    output: str = "linear",
    loss: str = "softmax_cross_entropy",
    bias: bool | Sequence[bool] = True,
    keep: float = 1.0,
) -> Net:
    """A convolutional net: one block per entry of `channels`, then dense layers of `hidden_sizes` and `n_out`.

    shape_in: (C, H, W). kernel: size of the filters, (size, stride), or (size, stride, padding). pool: the same of the
    max-pooling, whose stride is its size unless given and whose padding is at most half of it, or None. Numbers are one
    for both axes of an image.
    hidden: activation of all hidden blocks, or one name for each. bias: for all blocks, or one value for each.
    Raises ConfigError for what is no size, name or truth value, or not as many as there are blocks, and ValueError when
    an image becomes smaller than a window.
    """
    shape_in, channels = image_shape(shape_in), counts(channels, "channels")
    hidden_sizes, n_out = counts(hidden_sizes, "hidden_sizes"), count(n_out, "n_out")
    n_blocks = len(channels) + len(hidden_sizes) + 1
    names = layer_activations(hidden, output, n_blocks - 1, "hidden blocks")
    biases = each(bias, n_blocks, bool, "bias", "blocks")
    size, stride, padding = kernel_window(window(kernel, "kernel"))
    windows = None if pool is None else Pool(*pool_window(pooling(pool)))
    shape, blocks = shape_in, []
    for i, c in enumerate(channels):
        block = Conv(shape, c, size, names[i], stride, padding, windows, biases[i])
        if min(block.shape_pre) < 1 or min(block.shape_out) < 1:
            inner = f", {shape} before that block" if i else ""
            windows = f"kernel {kernel}, pool {pool}"
            raise ValueError(f"conv block {i} ({windows}) does not fit images of shape {shape_in}{inner}")
        blocks.append(block)
        shape = block.shape_out
    sizes = [shape[0] * shape[1] * shape[2], *hidden_sizes, n_out]
    rest = zip(sizes[:-1], sizes[1:], names[len(channels) :], biases[len(channels) :], strict=True)
    blocks += [Dense(a, b, phi, has_bias) for a, b, phi, has_bias in rest]
    return Net("conv", tuple(blocks), loss_named(loss), shape_in, keep)


@dataclass(frozen=True)
class ConvConfig:
    """Configuration of a convolutional net; image shape and output size come from the task.

    channels: of each convolution. hidden_sizes: units of the dense layers behind them. kernel: size of the
    convolutions' kernels, or [size, stride, padding]. pool: max-pooling behind every convolution, [size, stride,
    padding], the last two optional; null: none. hidden: activation, one for all hidden layers or one for each. output:
    its activation; the softmax of a cross-entropy is part of the loss. loss: what is minimised. bias: for all blocks,
    or one for each. keep: probability that dropout keeps a hidden unit. init: how weights are drawn, for all blocks, or
    one for each.
    """

    channels: tuple[Annotated[int, "> 0"], ...]
    hidden_sizes: tuple[Annotated[int, "> 0"], ...] = ()
    kernel: Annotated[int, "> 0"] | tuple[Annotated[int, ">= 0"], ...] = 5
    pool: tuple[Annotated[int, ">= 0"], ...] | None = (2, 2, 0)
    hidden: Annotated[str | tuple[str, ...], "credit.nets.names.activation"] = "relu"
    output: Annotated[str, "credit.nets.names.activation"] = "linear"
    loss: Annotated[str, "credit.nets.names.loss"] = "softmax_cross_entropy"
    bias: bool | tuple[bool, ...] = True
    keep: Annotated[float, "(0, 1]"] = 1.0
    init: Annotated[str | dict | tuple[dict, ...], "credit.nets.names.layer_options"] = "xavier_normal"

    def build(self, shape_in: tuple[int, ...], n_out: int) -> Net:
        """The net for images of `shape_in` (C, H, W) and `n_out` outputs."""
        if len(shape_in) != 3:
            raise ValueError(f"a conv net takes images (C, H, W); this task's inputs have shape {shape_in}")
        return conv(
            shape_in, self.channels, self.hidden_sizes, n_out, self.kernel, self.pool, self.hidden, self.output,
            self.loss, self.bias, self.keep,
        )  # fmt: skip


part = ConvConfig
