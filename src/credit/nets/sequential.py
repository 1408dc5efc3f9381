"""A `torch.nn.Sequential` as a net with its weights, and back.

What a net is made of has a counterpart in torch: blocks of Linear or Conv2d, then activation, MaxPool2d and Dropout as
far as they are there, in this order, with Flatten between images and Linear layers. Everything else is refused by its
index: a layer that is read as another one would change what the model computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from credit.errors import ConfigError
from credit.nets.arguments import counts
from credit.nets.base import Block, Net, loss_named
from credit.nets.conv import Conv
from credit.nets.dense import Dense
from credit.nets.modules import NAMED, activation_name, module_of
from credit.nets.pooling import Pool
from credit.numerics.trees import Params

KNOWN = (
    "Linear", "Conv2d", "MaxPool2d", "Flatten", "Dropout", "Identity", "Sequential", "ELU", "LeakyReLU", "Softmax",
    *sorted(kind.__name__ for kind in NAMED), "credit.nets.modules.Phi",
)  # fmt: skip
PARTS = ("weights", "activation", "pooling", "dropout")  # of a block, in order
DTYPES = (torch.float32, torch.float64)


def from_torch(
    model: nn.Module | Sequence[nn.Module], shape_in: int | Sequence[int], loss: str = "softmax_cross_entropy"
) -> tuple[Net, Params]:
    """The net that a `torch.nn.Sequential` is, and a copy of its weights.

    model: one model, whose parameters come without a stack axis; or a list of M models that differ in their weights
    alone, whose parameters come as a stack, (M, ...) each. shape_in: of one input, n or (n,), or (C, H, W). loss: see
    `credit.nets.losses`. Training mode and `requires_grad` do not matter. Raises ConfigError, one line, naming
    the index of the first layer that is not known, has an option that the nets lack, or stands in another order.
    """
    several = not isinstance(model, nn.Module)
    models = list(model) if several else [model]
    if not models:
        raise ConfigError("model = []; must be a torch.nn.Sequential, or a list of at least one")
    shape = tuple(counts([shape_in] if isinstance(shape_in, int) else shape_in, "shape_in", at_least=1))
    found = [_Reader(shape, f"model[{m}], " if several else "").read(one, loss) for m, one in enumerate(models)]
    net, params = found[0]
    for m, (other, values) in enumerate(found[1:], 1):
        if other != net or net.like(values).dtype != net.like(params).dtype:
            raise ConfigError(
                f"model[{m}] has other layers, options or another dtype than model[0]; a stack has one net"
            )
    if not several:
        return net, params
    stacked = {b: {n: torch.stack([p[b][n] for _, p in found]) for n in entries} for b, entries in params.items()}
    return net, stacked


def to_torch(net: Net, params: Params) -> nn.Sequential | list[nn.Sequential]:
    """A `torch.nn.Sequential` that computes what the net does, with a copy of its weights.

    params: of one network, or of a stack, (M, ...) each: then a list of M models, one for each member. A new model is
    in training mode, as in torch: call `eval()` where the net has dropout. Raises ConfigError for a net of other blocks
    than dense layers and convolutions, and for diagonal layers.
    """
    members = net.members(params)
    if not members:
        return _model(net, params)
    alone = ({b: {n: t[m] for n, t in entries.items()} for b, entries in params.items()} for m in range(members))
    return [_model(net, one) for one in alone]


# ---- from torch


@dataclass(frozen=True)
class _Part:
    """A block as far as it has been read. at: index of its layer of weights. reached: the last of `PARTS`."""

    at: str
    block: Dense | Conv
    reached: int = 0
    dropout: float = 0.0


class _Reader:
    """Reads the layers of one model for inputs of `shape`. where: what messages begin with."""

    def __init__(self, shape: tuple[int, ...], where: str):
        self.shape_in = self.shape = shape
        self.where = where
        self.parts: list[_Part] = []
        self.params: Params = {}

    def read(self, model: nn.Module, loss: str) -> tuple[Net, Params]:
        """The net and its parameters, without a stack axis."""
        seen: dict[int, str] = {}
        for at, layer in _layers(model, self.where):
            if id(layer) in seen and any(True for _ in layer.parameters()):
                raise self.refused(at, layer, f"is layer {seen[id(layer)]} once more; a net shares no weights")
            seen[id(layer)] = at
            self.layer(at, layer)
        if not self.parts or isinstance(self.parts[-1].block, Conv):
            raise ConfigError(f"{self.where}the model must end in a Linear layer, and an activation if any")
        kind = "conv" if any(isinstance(part.block, Conv) for part in self.parts) else "dense"
        blocks: tuple[Block, ...] = tuple(part.block for part in self.parts)
        return Net(kind, blocks, loss_named(loss), self.shape_in, 1 - self.dropout()), self.params

    def layer(self, at: str, layer: nn.Module) -> None:
        """Take the next layer. Raises ConfigError, one line, for one that no net has."""
        kind = type(layer)  # exactly: a class made of another one may compute anything
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise self.refused(at, layer, "has hooks, which a net would leave out")
        if kind is nn.Linear:
            self.linear(at, layer)
        elif kind is nn.Conv2d:
            self.convolution(at, layer)
        elif kind is nn.Flatten:
            if layer.start_dim != 1 or layer.end_dim not in (-1, len(self.shape)):
                raise self.refused(at, layer, "must flatten all axes but the first, start_dim 1 and end_dim -1")
            self.shape = (math.prod(self.shape),)
        elif kind is nn.MaxPool2d:
            self.pooling(at, layer)
        elif kind is nn.Dropout:
            self.extend(at, layer, "dropout", dropout=float(layer.p))
        elif kind is not nn.Identity:
            self.activation(at, layer)

    def linear(self, at: str, layer: nn.Linear) -> None:
        if len(self.shape) != 1:
            raise self.refused(at, layer, f"gets images {self.shape}; put a Flatten before it")
        if layer.in_features != self.shape[0]:
            raise self.refused(at, layer, f"takes {layer.in_features} inputs; what comes in has {self.shape[0]}")
        block = Dense(layer.in_features, layer.out_features, "linear", layer.bias is not None)
        self.add(at, layer, block)

    def convolution(self, at: str, layer: nn.Conv2d) -> None:
        if len(self.shape) != 3:
            raise self.refused(at, layer, f"gets {self.shape}; convolutions come before Flatten, of images (C, H, W)")
        if layer.in_channels != self.shape[0]:
            raise self.refused(at, layer, f"takes {layer.in_channels} channels; what comes in has {self.shape[0]}")
        self.fixed(at, layer, groups=1, padding_mode="zeros")
        self.fixed(at, layer, dilation=(1, 1))
        size, stride = (self.square(at, layer, key) for key in ("kernel_size", "stride"))
        if layer.padding == "same" and size % 2 == 0:
            raise self.refused(at, layer, "has padding 'same' with a kernel of even size; give the padding as a number")
        words = {"valid": 0, "same": size // 2}  # torch takes "same" with stride 1 alone
        padding = words[layer.padding] if isinstance(layer.padding, str) else self.square(at, layer, "padding")
        bias = layer.bias is not None
        block = Conv(self.shape, layer.out_channels, size, "linear", stride, padding, None, bias)
        self.add(at, layer, block)

    def add(self, at: str, layer: nn.Linear | nn.Conv2d, block: Dense | Conv) -> None:
        """A new block with the weights of its layer."""
        before = self.parts and next(iter(self.params["0"].values()))
        if layer.weight.dtype not in DTYPES or (self.parts and layer.weight.dtype != before.dtype):
            raise self.refused(at, layer, f"has weights of {layer.weight.dtype}; all must be float32, or all float64")
        self.params[str(len(self.parts))] = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in layer.named_parameters()
        }
        self.parts.append(_Part(at, block))
        self.fits(at, layer)

    def pooling(self, at: str, layer: nn.MaxPool2d) -> None:
        self.fixed(at, layer, ceil_mode=False, return_indices=False)
        self.fixed(at, layer, dilation=1)
        if self.parts and isinstance(self.parts[-1].block, Dense):
            raise self.refused(at, layer, "stands behind a Linear layer; a net pools after convolutions")
        if len(self.shape) != 3:
            raise self.refused(at, layer, f"gets {self.shape}; pooling takes images, before Flatten")
        size, step, padding = (self.square(at, layer, key) for key in ("kernel_size", "stride", "padding"))
        self.extend(at, layer, "pooling", pool=Pool(size, step, padding))
        self.fits(at, layer)

    def activation(self, at: str, layer: nn.Module) -> None:
        name, problem = activation_name(layer)
        if name is None:
            raise self.refused(at, layer, problem or f"is not known; known are: {', '.join(KNOWN)}")
        if name == "softmax" and len(self.shape) != 1:
            raise self.refused(at, layer, "must come after Flatten, over the units of a Linear layer")
        self.extend(at, layer, "activation", activation=name)

    def extend(self, at: str, layer: nn.Module, part: str, dropout: float = 0.0, **changed: Any) -> None:
        """Let the present block have one more of `PARTS`."""
        if not self.parts:
            raise self.refused(at, layer, "stands before any Linear or Conv2d layer, to which it could belong")
        now, rank = self.parts[-1], PARTS.index(part)
        if now.reached >= rank:
            order = "a block is Linear or Conv2d, then activation, MaxPool2d, Dropout, at most one of each"
            raise self.refused(at, layer, f"comes after the {PARTS[now.reached]} of layer {now.at}; {order}")
        if not 0 <= dropout < 1:
            raise self.refused(at, layer, f"drops everything, p = {dropout}; must be below 1")
        self.parts[-1] = replace(now, block=replace(now.block, **changed), reached=rank, dropout=dropout)

    def fits(self, at: str, layer: nn.Module) -> None:
        """What follows gets the output of the present block. Raises ConfigError where a window leaves nothing of it."""
        block = self.parts[-1].block
        if min(block.shape_out) < 1:
            raise self.refused(at, layer, f"does not fit: of {self.shape} it leaves {block.shape_out}")
        self.shape = tuple(block.shape_out)

    def dropout(self) -> float:
        """The probability of all hidden blocks. Raises ConfigError where they have several, or the output has one."""
        *hidden, last = self.parts
        if last.dropout:
            raise ConfigError(f"{self.where}layer {last.at}: Dropout after the last layer; a net drops hidden units")
        for part in hidden:
            if part.dropout != hidden[0].dropout:
                raise ConfigError(
                    f"{self.where}layer {part.at}: Dropout p = {part.dropout} behind it, {hidden[0].dropout} behind "
                    f"layer {hidden[0].at}; a net drops units of all hidden layers with one probability"
                )
        return hidden[0].dropout if hidden else 0.0

    def fixed(self, at: str, layer: nn.Module, **wanted: Any) -> None:
        """Raise ConfigError for an option of a layer that has another value than the nets know."""
        for key, value in wanted.items():
            if (found := getattr(layer, key)) not in (value, (value, value)):
                shown = value[0] if isinstance(value, tuple) else value
                raise self.refused(at, layer, f"has {key} = {found!r}; the nets know {shown!r} alone")

    def square(self, at: str, layer: nn.Module, key: str) -> int:
        """A size that is one for both axes of an image."""
        value = getattr(layer, key)
        pair = (value, value) if isinstance(value, int) else tuple(value)
        if pair[0] != pair[1]:
            raise self.refused(at, layer, f"has {key} = {value}; the nets know one number for both axes")
        return pair[0]

    def refused(self, at: str, layer: nn.Module, why: str) -> ConfigError:
        return ConfigError(f"{self.where}layer {at} ({type(layer).__name__}): {why}")


def _layers(model: nn.Module, where: str) -> Iterator[tuple[str, nn.Module]]:
    """(index, layer) of a Sequential and of those within it, whose indices are joined by points."""
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        raise ConfigError(f"{where}model is a {type(model).__name__}; must be a torch.nn.Sequential")
    for at, layer in enumerate(model):
        if isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward:
            yield from ((f"{at}.{below}", one) for below, one in _layers(layer, where))
        else:
            yield str(at), layer


# ---- to torch


def _model(net: Net, params: Params) -> nn.Sequential:
    """params: of one network, without a stack axis."""
    layers: list[nn.Module] = []
    flat = len(net.shape_in) == 1
    for i, block in enumerate(net.blocks):
        if type(block) not in (Dense, Conv):
            raise ConfigError(f"block {i} of this {net.kind} net is a {type(block).__name__}; torch has no such layer")
        if isinstance(block, Dense) and not flat:
            layers.append(nn.Flatten())
            flat = True
        layers.append(_weights(i, block, params[str(i)]))
        if block.activation != "linear":
            layers.append(module_of(block.activation))
        if isinstance(block, Conv) and block.pool is not None:
            layers.append(nn.MaxPool2d(block.pool.size, block.pool.stride, block.pool.padding))
        if net.keep < 1 and i + 1 < len(net):
            layers.append(nn.Dropout(round(1 - net.keep, 12)))  # 0.2 of 0.8, not 0.19999999999999996
    return nn.Sequential(*layers)


def _weights(i: int, block: Dense | Conv, params: dict[str, Tensor]) -> nn.Module:
    weight = params["weight"]
    more = {"bias": block.bias, "device": weight.device, "dtype": weight.dtype}
    if isinstance(block, Conv):
        shape = (block.shape_in[0], block.channels, block.kernel)
        layer: nn.Module = nn.utils.skip_init(nn.Conv2d, *shape, stride=block.stride, padding=block.padding, **more)
    elif block.connections != "full":
        raise ConfigError(f"block {i}: connections = {block.connections!r}; torch's Linear has all of them")
    else:
        layer = nn.utils.skip_init(nn.Linear, block.n_in, block.n_out, **more)
    with torch.no_grad():
        for name, tensor in params.items():
            getattr(layer, name).copy_(tensor)
    return layer
