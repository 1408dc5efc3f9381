"""Residual networks in the style for small images, without batch normalisation, passed stage by stage.

Source: Ernoult et al. (ICML 2022) and its official code: a convolution, stages of basic blocks

    x -> relu(conv2(relu(conv1(x))) + shortcut(x))        3 x 3, the first with the stride of the block

the mean over positions, and a linear layer. A shortcut is the identity, or a 1 x 1 convolution where sizes change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from torch import Tensor

from credit.nets.activations import ReLU
from credit.nets.arguments import count, counts, each, image_shape
from credit.nets.base import BlockTrace, Net, in_pieces, loss_named
from credit.nets.conv import Conv
from credit.nets.dense import Dense

RELU = ReLU()


@dataclass
class UnitTrace:
    """What a basic block computed: of its convolutions, and the sum before the last relu, (M, B, C, H, W)."""

    first: BlockTrace
    second: BlockTrace
    shortcut: BlockTrace | None
    pre: Tensor
    out: Tensor


@dataclass(frozen=True)
class Unit:
    """A basic block on images (C, H, W)."""

    shape_in: tuple[int, int, int]
    channels: int
    stride: int = 1

    @cached_property
    def convolutions(self) -> dict[str, Conv]:
        """By name: conv1, conv2, and shortcut where it is not the identity."""
        first = Conv(self.shape_in, self.channels, 3, "relu", self.stride, 1, None, bias=False)
        made = {"conv1": first, "conv2": Conv(first.shape_out, self.channels, 3, "linear", 1, 1, None, bias=False)}
        if self.stride != 1 or self.channels != self.shape_in[0]:
            made["shortcut"] = Conv(self.shape_in, self.channels, 1, "linear", self.stride, 0, None, bias=False)
        return made

    @property
    def shape_out(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.convolutions["conv2"].shape_out

    def forward(self, weights: dict[str, Tensor], x: Tensor) -> UnitTrace:
        """x (M, B, C, H, W); weights by name of the convolution."""
        convs = self.convolutions
        first = convs["conv1"].forward({"weight": weights["conv1"]}, x)
        second = convs["conv2"].forward({"weight": weights["conv2"]}, first.out)
        short = convs["shortcut"].forward({"weight": weights["shortcut"]}, x) if "shortcut" in convs else None
        pre = second.out + (x if short is None else short.out)
        return UnitTrace(first, second, short, pre, RELU.value(pre))

    def backward(self, trace: UnitTrace, grad: Tensor, below: bool) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, C, H, W) -> of the weights by name, and at the input."""
        convs = self.convolutions
        delta = RELU.backward(grad, trace.pre, trace.out)
        second, inner = convs["conv2"].backward(trace.second, delta)
        first, down = convs["conv1"].backward(trace.first, inner, below)
        found = {"conv1": first["weight"], "conv2": second["weight"]}
        if trace.shortcut is None:
            return found, down + delta if below else None
        short, side = convs["shortcut"].backward(trace.shortcut, delta, below)
        return found | {"shortcut": short["weight"]}, down + side if below else None


@dataclass
class StageTrace(BlockTrace):
    """A stage's pass; `units`: of its basic blocks. Other fields are (M, B, C, H, W) of the whole."""

    units: tuple[UnitTrace, ...] = ()


@dataclass(frozen=True)
class Stage:
    """Basic blocks in a row, of which the first has the stride; parameters NUMBER.conv1.weight, ..."""

    shape_in: tuple[int, int, int]
    channels: int
    count: int
    stride: int = 1

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The basic blocks."""
        first = Unit(self.shape_in, self.channels, self.stride)
        return (first, *[Unit(first.shape_out, self.channels)] * (self.count - 1))

    @property
    def shape_out(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.units[0].shape_out

    @property
    def shape_pre(self) -> tuple[int, int, int]:
        """(C, H, W) of the largest map within."""
        return self.shape_out

    @property
    def n_out(self) -> int:
        c, h, w = self.shape_out
        return c * h * w

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis."""
        named = ((i, name, conv) for i, unit in enumerate(self.units) for name, conv in unit.convolutions.items())
        return {f"{i}.{name}.weight": conv.shapes()["weight"] for i, name, conv in named}

    def weights(self, params: dict[str, Tensor], unit: int) -> dict[str, Tensor]:
        """Those (M, C_out, C_in, k, k) of a basic block, by name of the convolution."""
        return {name: params[f"{unit}.{name}.weight"] for name in self.units[unit].convolutions}

    def forward(self, params: dict[str, Tensor], x: Tensor, mask: Tensor | None = None) -> StageTrace:
        """x (M, B, C, H, W)."""
        traces, start = [], x
        for i, unit in enumerate(self.units):
            traces.append(unit.forward(self.weights(params, i), x))
            x = traces[-1].out
        out = x if mask is None else x * mask
        return StageTrace(start, traces[-1].pre, x, out, mask=mask, params=params, units=tuple(traces))

    def backward(self, trace: StageTrace, grad: Tensor, below: bool = True) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, C, H, W), flattened or not -> of the parameters, and at the input."""
        grad = grad.reshape(trace.out.shape)
        grad = grad if trace.mask is None else grad * trace.mask
        gradients: dict[str, Tensor] = {}
        for i in reversed(range(self.count)):
            found, grad = self.units[i].backward(trace.units[i], grad, below or i > 0)
            gradients = {f"{i}.{name}.weight": g for name, g in found.items()} | gradients
        return gradients, grad


@dataclass(frozen=True)
class Readout(Dense):
    """h = phi(W mean(x) + b) of images x (M, B, C, H, W): the mean over positions, then a dense layer, n_in = C."""

    shape_in: tuple[int, int, int] = (1, 1, 1)

    @property
    def positions(self) -> int:
        """Of an input map."""
        return self.shape_in[1] * self.shape_in[2]

    def forward(self, params: dict[str, Tensor], x: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """x (M, B, C, H, W)."""
        if params["weight"].ndim == 3:
            x = x.expand(params["weight"].shape[0], *x.shape[-4:])
        trace = self.activate(x, self.linear(params, x), mask)
        trace.params = params
        return trace

    def linear(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        """The pre-activation (M, B, n_out); x (M, B, C, H, W)."""
        return super().linear(params, x.mean((-2, -1)))

    def weight_gradient(self, trace: BlockTrace, delta: Tensor) -> dict[str, Tensor]:
        """delta (M, B, n_out), summed over the batch."""
        small = BlockTrace(trace.input.mean((-2, -1)), trace.pre, trace.act, trace.out)
        return super().weight_gradient(small, delta)

    def backward(self, trace: BlockTrace, grad: Tensor, below: bool = True) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, n_out) -> of the parameters, and at the input, (M, B, C, H, W)."""
        return in_pieces(self, trace, grad, below)

    def pull(self, weight: Tensor, delta: Tensor, trace: BlockTrace) -> Tensor:
        """delta W, spread over the positions: (M, B, C, H, W)."""
        spread = (delta @ weight)[..., None, None] / self.positions
        return spread.expand(*spread.shape[:-2], *self.shape_in[1:])


def resnet(
    shape_in: Sequence[int], channels: Sequence[int] = (64, 128, 256, 512), blocks: Sequence[int] = (2, 2, 2, 2),
    n_out: int = 10, loss: str = "softmax_cross_entropy", bias: bool = True,
) -> Net:  # fmt: skip
    """A residual net: a 3 x 3 convolution of channels[0], a stage for each number of channels, the readout.

    shape_in: (C, H, W). blocks: of each stage; all stages but the first halve the images. bias: of the readout, the
    only one. Raises ValueError for lists of different lengths and for what is no size; images of any size fit.
    """
    channels, blocks = counts(channels, "channels", at_least=1), counts(blocks, "blocks", at_least=1)
    if len(channels) != len(blocks):
        raise ValueError(f"channels = {channels}, blocks = {blocks}; must be as many positive numbers, one a stage")
    shape, n_out, (bias,) = image_shape(shape_in), count(n_out, "n_out"), each(bias, 1, bool, "bias", "blocks")
    made: list = [Conv(shape, channels[0], 3, "relu", 1, 1, None, bias=False)]
    for i, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
        made.append(Stage(made[-1].shape_out, width, depth, 1 if i == 0 else 2))
    last = made[-1].shape_out
    made.append(Readout(last[0], n_out, "linear", bias, shape_in=last))
    return Net("resnet", tuple(made), loss_named(loss), shape)


@dataclass(frozen=True)
class ResNetConfig:
    """Configuration of a residual net; image shape and output size come from the task. The default is ResNet-18.

    channels: of each stage. blocks: number of residual blocks of each stage. loss: what is minimised. bias: of the
    output layer. init: how weights are drawn, for all blocks, or one for each.
    """

    channels: tuple[Annotated[int, "> 0"], ...] = (64, 128, 256, 512)
    blocks: tuple[Annotated[int, "> 0"], ...] = (2, 2, 2, 2)
    loss: Annotated[str, "credit.nets.names.loss"] = "softmax_cross_entropy"
    bias: bool = True
    init: Annotated[str | dict | tuple[dict, ...], "credit.nets.names.layer_options"] = "torch_default"

    def build(self, shape_in: tuple[int, ...], n_out: int) -> Net:
        """The net for images of `shape_in` (C, H, W) and `n_out` outputs."""
        if len(shape_in) != 3:
            raise ValueError(f"a residual net takes images (C, H, W); this task's inputs have shape {shape_in}")
        return resnet(shape_in, self.channels, self.blocks, n_out, self.loss, self.bias)


part = ResNetConfig
