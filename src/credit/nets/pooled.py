"""Pooled convolutions of one network on the CPU, without anything kept of the maps before pooling but places.

Activities are channels last. Where the activation is monotone it may follow the pooling, and the bias with it, which
leaves a quarter of the exponentials; convolutions of stride 1 and many channels are made of tiles
(`credit.numerics.winograd`). All equals `credit.nets.conv.Conv` but for rounding, and where activities saturate, at
which the gradient vanishes: of equal activities of unequal inputs this takes the largest input, that the first.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from credit.nets.base import Block, BlockTrace, Net
from credit.nets.conv import Conv
from credit.numerics import winograd

LAST = torch.channels_last
MONOTONE = ("elu", "linear", "tanh")
TILES = 128  # of a portion, whose values stay in the cache
FEWEST = 16  # channels from which tiles pay


@functools.cache
def _loops():
    """The module of loops, loaded when the first runs."""
    from credit.nets import pooled_loops

    return pooled_loops


def channels_last(t: Tensor) -> Tensor:
    """(B, C, H, W) with the channels last in memory."""
    return t.contiguous(memory_format=LAST)


def array(t: Tensor) -> np.ndarray:
    """The memory of a tensor (B, C, H, W), channels last, as (B, H W, C)."""
    return t.permute(0, 2, 3, 1).flatten(1, 2).numpy()


def tiled(layer: Conv) -> bool:
    """Whether a convolution is made of tiles."""
    wide = min(layer.shape_in[0], layer.channels) >= FEWEST
    return wide and winograd.possible(layer.shape_pre[1:], layer.kernel, layer.stride)


def portions(form: winograd.Winograd, samples: int) -> list[slice]:
    """Samples that are taken at once."""
    size = max(1, TILES // math.prod(form.tiles))
    return [slice(k, min(k + size, samples)) for k in range(0, samples, size)]


def possible(layer: Conv) -> bool:
    """Whether `pooled` has a form of a layer."""
    return isinstance(layer, Conv) and layer.pool is not None and layer.activation in MONOTONE


def pooled(layer: Conv, params: dict[str, Tensor], x: Tensor, keep: bool = False) -> Pooled:
    """The layer on x (B, C, H, W), contiguous or channels last; params: {"weight": (C_out, C_in, k, k), ...}.

    keep: whether the pre-activation is kept.
    """
    return (PooledTiles if tiled(layer) else Pooled)(layer, params, x, keep)


class Pooled:
    """A layer that has been passed. out: (B, C, h, w), pre: None or the pre-activation (B, C, H, W), channels last."""

    def __init__(self, layer: Conv, params: dict[str, Tensor], x: Tensor, keep: bool = False) -> None:
        self.layer, self.weight, self.x = layer, params["weight"], channels_last(x)
        bias = params.get("bias")
        self._bias = x.new_zeros(layer.channels).numpy() if bias is None else bias.detach().numpy()
        self._top = torch.empty((len(x), *layer.shape_out), dtype=x.dtype, memory_format=LAST)
        self._index = np.empty(array(self._top).shape, np.int32)
        self.pre = torch.empty((len(x), *layer.shape_pre), dtype=x.dtype, memory_format=LAST) if keep else None
        self._pass()
        self.out = layer.phi.value(self._top)
        if keep and bias is not None:
            self.pre.permute(0, 2, 3, 1).add_(bias)

    @property
    def index(self) -> Tensor:
        """Where the largest of each window stands, flat over height x width, (B, C, h, w), channels last."""
        return torch.from_numpy(self._index).long().unflatten(1, self.out.shape[2:]).permute(0, 3, 1, 2)

    def backward(self, grad: Tensor, below: bool) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (B, C, h, w), flattened or not -> of the parameters; at the input, if `below`."""
        grad = channels_last(grad.reshape(self.out.shape))
        delta = channels_last(self.layer.phi.backward(grad, self._top, self.out))
        weight, down = self._back(delta, below)
        bias = {"bias": delta.sum((0, 2, 3))} if self.layer.bias else {}
        return {"weight": weight, **bias}, down

    def _pass(self) -> None:
        """Fills `_top` and `_index`."""
        window = {"stride": self.layer.stride, "padding": self.layer.padding}
        maps = channels_last(F.conv2d(self.x, self.weight, **window))
        self._pool(slice(None), array(maps))
        if self.pre is not None:
            self.pre = maps

    def _back(self, delta: Tensor, below: bool) -> tuple[Tensor, Tensor | None]:
        """Gradient at `_top` (B, C, h, w) -> of the weight, and at the input."""
        layer = self.layer
        full = torch.empty((len(delta), *layer.shape_pre), dtype=delta.dtype, memory_format=LAST)
        _loops().unpooled(array(delta), self._index, array(full))
        down, weight, _ = torch.ops.aten.convolution_backward(
            full, self.x, self.weight, None, [layer.stride] * 2, [layer.padding] * 2, [1, 1], False, [0, 0], 1,
            [below, True, False],
        )  # fmt: skip
        return weight, down

    def _pool(self, part: slice, maps: np.ndarray) -> None:
        """Pools maps (B, H W, C) of some samples."""
        layer, pool = self.layer, self.layer.pool
        _loops().pooled(
            maps, self._bias, layer.shape_pre[2], tuple(layer.shape_out[1:]), pool.size, pool.stride, pool.padding,
            array(self._top)[part], self._index[part],
        )  # fmt: skip


class PooledTiles(Pooled):
    """The convolution in tiles, some samples at a time."""

    def _pass(self) -> None:
        form, layer = self._form, self.layer
        kernel = form.values(self.weight).mT
        for part in portions(form, len(self.x)):
            x = array(self.x)[part]
            above = torch.bmm(form.input.values(x, layer.shape_in[2], self._tiles(x, kernel.shape[1])), kernel)
            shape = (len(x), math.prod(layer.shape_pre[1:]), layer.channels)
            maps = np.empty(shape, x.dtype) if self.pre is None else array(self.pre)[part]
            self._pool(part, form.output.maps(above, layer.shape_pre[2], maps))

    def _back(self, delta: Tensor, below: bool) -> tuple[Tensor, Tensor | None]:
        form, layer = self._form, self.layer
        kernel = form.values(self.weight)
        gradient, down = torch.zeros_like(kernel), torch.empty_like(self.x) if below else None
        for part in portions(form, len(self.x)):
            x, d = array(self.x)[part], array(delta)[part]
            full = np.empty((len(x), math.prod(layer.shape_pre[1:]), layer.channels), x.dtype)
            _loops().unpooled(d, self._index[part], full)
            above = form.output.values(full, layer.shape_pre[2], self._tiles(x, kernel.shape[1]))
            under = form.input.values(x, layer.shape_in[2], self._tiles(x, kernel.shape[2]))
            gradient.baddbmm_(above.mT, under)
            if down is not None:
                form.input.maps(torch.bmm(above, kernel, out=under), layer.shape_in[2], array(down)[part])
        return form.weights(gradient), down

    @functools.cached_property
    def _form(self) -> winograd.Winograd:
        layer = self.layer
        return winograd.Winograd(tuple(layer.shape_in[1:]), layer.kernel, layer.padding, self.x.dtype)

    def _tiles(self, x: np.ndarray, channels: int) -> Tensor:
        """Memory for the values of the tiles of x (B, H W, C), (n², T, channels)."""
        count = len(x) * math.prod(self._form.tiles)
        return torch.empty(self._form.points**2, count, channels, dtype=self.x.dtype)


@dataclass
class PooledTrace(BlockTrace):
    """A pass of `CompiledConv`, whose `act` is the pre-activation: nothing reads it."""

    passed: Pooled | None = None


@dataclass(frozen=True)
class CompiledConv(Conv):
    """A layer that `possible` allows, of one network: passed forward and, as a whole, backward in the forms above."""

    def forward(self, params: dict[str, Tensor], x: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """x (M, B, C, H, W), M = 1 or absent."""
        if mask is not None or (params["weight"].ndim == 5 and len(params["weight"]) > 1):
            return super().forward(params, x, mask)
        stacked = params["weight"].ndim == 5
        own = {n: p[0] for n, p in params.items()} if stacked else params
        passed = pooled(self, own, x[0] if stacked else x, keep=True)
        pre, out, index = (t.unsqueeze(0) if stacked else t for t in (passed.pre, passed.out, passed.index))
        return PooledTrace(x, pre, pre, out, index, None, params, passed)

    def backward(self, trace: BlockTrace, grad: Tensor, below: bool = True) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, C, H, W), flattened or not -> of parameters; at the input (M, B, C_in, ...)."""
        if not isinstance(trace, PooledTrace):
            return super().backward(trace, grad, below)
        found, down = trace.passed.backward(grad, below)
        if trace.out.ndim == 5:
            found, down = {n: g.unsqueeze(0) for n, g in found.items()}, None if down is None else down.unsqueeze(0)
        return found, down

    def pull(self, weight: Tensor, delta: Tensor, trace: BlockTrace) -> Tensor:
        """Gradient at the pre-activation (M, B, C, H, W) -> at the input, through any weight of the weight's shape."""
        stacked = delta.ndim == 5
        if not tiled(self) or (stacked and len(delta) > 1):
            return super().pull(weight, delta, trace)
        down = pulled(self, weight[0] if stacked else weight, delta[0] if stacked else delta)
        return down.unsqueeze(0) if stacked else down


def pulled(layer: Conv, weight: Tensor, delta: Tensor) -> Tensor:
    """Transposed convolution in tiles: delta (B, C_out, H, W) -> (B, C_in, H, W), channels last."""
    form = winograd.Winograd(tuple(layer.shape_in[1:]), layer.kernel, layer.padding, delta.dtype)
    kernel, given = form.values(weight), array(channels_last(delta))
    down = torch.empty((len(delta), *layer.shape_in), dtype=delta.dtype, memory_format=LAST)
    for part in portions(form, len(delta)):
        z = given[part]
        above = delta.new_empty(len(kernel), len(z) * math.prod(form.tiles), layer.channels)
        below = torch.bmm(form.output.values(z, layer.shape_pre[2], above), kernel)
        form.input.maps(below, layer.shape_in[2], array(down)[part])
    return down


def compiled(net: Net) -> Net:
    """The net with `CompiledConv` for layers with ELU, of which only equal activities of -1 lose their order."""

    def one(block: Block) -> Block:
        if not possible(block) or block.activation != "elu":
            return block
        return CompiledConv(**{f.name: getattr(block, f.name) for f in fields(block)})

    return replace(net, blocks=tuple(map(one, net.blocks)))
