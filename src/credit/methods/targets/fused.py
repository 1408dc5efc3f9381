"""Feedback iterations of L-DRL of single networks in the fewest products.

An iteration is a convolution of the noise alone, whose result joins the kept pre-activation; a compiled pass that
pools, activates and scatters; a transposed convolution; and two weight gradients. Activities are channels last.
Convolutions of stride 1 are made of tiles (`credit.numerics.winograd`), whose values serve two of the products each.
All equals `credit.methods.targets.losses.difference_reconstruction` but for rounding; losses are made where asked for.
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from credit.methods.targets.chain import Link
from credit.methods.targets.losses import FeedbackStep
from credit.nets.base import Block
from credit.nets.conv import Conv
from credit.nets.dense import Dense
from credit.nets.pooled import LAST, array, channels_last, portions, tiled
from credit.numerics import winograd
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand

BFLOAT16 = "bfloat16"


@functools.cache
def compiled_loops():
    """The module of loops, loaded when the first runs."""
    from credit.methods.targets import loops

    return loops


class Fused(Protocol):
    """What stays the same over the iterations of a block."""

    def __call__(
        self, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str, loss: bool = True
    ) -> FeedbackStep:
        """As `difference_reconstruction` with one sample, params {"weight": (M, ...)}; without `loss` that is 0."""


def possible(layer: Block, collisions: str) -> bool:
    """Whether iterations of a block can be fused: dense layers, and pooled convolutions with ELU."""
    if isinstance(layer, Dense):
        return True
    if not isinstance(layer, Conv) or layer.pool is None or layer.activation != "elu":
        return False
    return layer.pool.stride >= layer.pool.size or collisions == "overwrite"


def fused(link: Link, products: str = "") -> Fused | None:
    """The iterations of a block; None where they cannot be fused: see `possible`, on the CPU, a convolution of one
    network. products: "bfloat16" for those of convolutions, else the activities' own precision."""
    layer = link.layer
    if not in_memory(*link.params.values()) or not possible(layer, link.feedback.collisions):
        return None
    if isinstance(layer, Dense):
        return FusedDense(link)
    if link.axis == 1 and link.params["weight"].shape[0] > 1:
        return None
    return (TiledConvolution if tiled(layer) else FusedConvolution)(link, products)


class FusedDense:
    """Of a dense layer.

    pre, y, rates: pre-activation, s^i and rho(s^i), (M, B, n).
    """

    def __init__(self, link: Link) -> None:
        self.link, self.phi = link, link.layer.phi
        self.weight, self.pre, self.y, self.rates = link.params["weight"], link.trace.pre, link.trace.out, link.rates

    def __call__(
        self, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str, loss: bool = True
    ) -> FeedbackStep:
        """See `Fused`; params: {"weight": (M, n_in, n_out)}."""
        link, axis = self.link, self.link.axis
        dx = link.flat(rand.normal(f"{stream}_input", tuple(link.below.shape[axis:]))) * sigma
        dy = rand.normal(f"{stream}_output", tuple(self.y.shape[axis:])) * sigma
        return self.step(dx, dy, params["weight"], loss)

    def step(self, dx: Tensor, dy: Tensor, weight: Tensor, loss: bool) -> FeedbackStep:
        """Gradient and loss for noise dx (M, B, n_in), dy (M, B, n_out) and a feedback weight (M, n_in, n_out)."""
        value, n = self.phi.value, dx.shape[-2]
        p = value(value(torch.matmul(dx, self.weight.mT).add_(self.pre))) - self.rates
        v = value(dy.add_(self.y)).sub_(self.rates)
        if weight.shape[-1] < n:  # fewer outputs than samples: their covariance is the smaller factor
            across = weight @ (v.mT @ v)
            gradient, squares = across - dx.mT @ p, _sum(weight * across) if loss else 0
        else:
            out = v @ weight.mT
            squares = _sum(out * out) if loss else 0
            gradient = torch.cat([out, -dx], -2).mT @ torch.cat([v, p], -2)
        found = (squares - 2 * _sum((dx @ weight) * p)) / n if loss else weight.new_zeros(weight.shape[:-2])
        return FeedbackStep({"weight": gradient.mul_(2 / n)}, found)


class FusedConvolution:
    """What stays the same over the iterations of a block.

    pre, clean: pre-activation and rho(U s^i), maps (B, C, H, W); y, rates: s^i and elu(s^i), windows (B, C, h, w).
    """

    def __init__(self, link: Link, products: str = "") -> None:
        self.link, self.layer = link, link.layer
        self.dtype = torch.bfloat16 if products == BFLOAT16 else link.trace.pre.dtype  # of products
        layer, stacked = self.layer, link.axis == 1
        self.drop = (lambda t: t[0]) if stacked else (lambda t: t)
        self.lift = (lambda t: t.unsqueeze(0)) if stacked else (lambda t: t)
        self.weight = self.drop(link.params["weight"]).contiguous(memory_format=LAST)
        self.pre, self.y = (channels_last(self.drop(t)) for t in (link.trace.pre, link.trace.out))
        self.rates = channels_last(F.elu(self.y))
        self.index = array(channels_last(self.drop(link.route))).astype(np.int32)
        places = math.prod(self.pre.shape[-2:])
        self.writes, last = np.empty(self.index.shape, np.bool_), np.empty((places, layer.channels), np.int32)
        compiled_loops().last_writers(self.index, places, last, self.writes)
        self.clean, self.noisy, self.moved = (torch.zeros_like(self.pre, memory_format=LAST) for _ in range(3))
        compiled_loops().scattered(array(self.rates), self.index, self.writes, array(self.clean))
        self.best = np.empty(layer.channels, array(self.pre).dtype)
        self.place = np.empty(layer.channels, np.int32)

    def __call__(
        self, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str, loss: bool = True
    ) -> FeedbackStep:
        """See `Fused`; params: {"weight": (M, C_out, C_in, k, k)}."""
        dx = self._noise(sigma, rand, f"{stream}_input", self.link.below)
        dy = self._noise(sigma, rand, f"{stream}_output", self.link.trace.out)
        return self.step(dx, dy, self.drop(params["weight"]), loss)

    def step(self, dx: Tensor, dy: Tensor, weight: Tensor, loss: bool) -> FeedbackStep:
        """Gradient and loss for noise dx, dy (B, C, H, W), channels last, and a feedback weight (C_out, C_in, k, k)."""
        n, layer = dx.shape[0], self.layer
        window = {"stride": layer.stride, "padding": layer.padding}
        low, noise = self.dtype, dx.to(self.dtype)
        change = F.conv2d(noise, self.weight.to(low), **window).to(dx.dtype)
        self._disturb(slice(None), array(channels_last(change)), array(dy))
        moved = self.moved.to(low)
        out = torch.nn.grad.conv2d_input(dx.shape, weight.to(low), moved, **window)
        across = torch.nn.grad.conv2d_weight(out, weight.shape, moved, **window).to(dx.dtype)
        along = torch.nn.grad.conv2d_weight(noise, weight.shape, self.noisy.to(low), **window).to(dx.dtype)
        out = out.to(dx.dtype)
        found = (_sum(out * out, 4) - 2 * _sum(weight * along, 4)) / n if loss else weight.new_zeros(())
        return FeedbackStep({"weight": self.lift((across - along).mul_(2 / n))}, self.lift(found))

    def _disturb(self, part: slice, change: np.ndarray, dy: np.ndarray) -> None:
        """`noisy` and `moved` of some samples, from how the pre-activation (B, H W, C) and s^i (B, h w, C) change."""
        pool = self.layer.pool
        pre, clean, noisy, moved, y, rates = (array(t)[part] for t in (
            self.pre, self.clean, self.noisy, self.moved, self.y, self.rates))  # fmt: skip
        compiled_loops().elu_pooled_twice(
            pre, change, clean, noisy, self.pre.shape[-1], tuple(self.y.shape[-2:]),
            pool.size, pool.stride, pool.padding, self.best, self.place,
        )  # fmt: skip
        compiled_loops().elu_moved(y, dy, rates, self.index[part], self.writes[part], moved)

    def _noise(self, sigma: float, rand: Rand, stream: str, like: Tensor) -> Tensor:
        """sigma times a draw, (B, C, H, W), channels last."""
        drawn = self.drop(rand.normal(stream, tuple(like.shape[self.link.axis :])))
        return torch.mul(drawn, sigma, out=torch.empty_like(drawn, memory_format=LAST))


class TiledConvolution(FusedConvolution):
    """Of a convolution of stride 1 in tiles, some samples at a time."""

    def __init__(self, link: Link, products: str = "") -> None:
        super().__init__(link, products)
        layer = self.layer
        self.tiled = winograd.Winograd(tuple(layer.shape_in[1:]), layer.kernel, layer.padding, self.pre.dtype)
        self.forth = self.tiled.values(self.weight).to(self.dtype)

    def step(self, dx: Tensor, dy: Tensor, weight: Tensor, loss: bool) -> FeedbackStep:
        """As of the base, weight (C_out, C_in, k, k)."""
        back, n = self.tiled.values(weight), dx.shape[0]
        across, along, low = torch.zeros_like(back), torch.zeros_like(back), back.to(self.dtype)
        squares, noise, dy = 0.0, array(dx), array(dy)
        for part in portions(self.tiled, n):
            squares += self._portion(part, noise[part], dy[part], low, across, along, loss)
        found = (squares - 2 * _sum(back * along, 3)) / n if loss else weight.new_zeros(())
        gradient = self.tiled.weights(across.sub_(along)).mul_(2 / n)
        return FeedbackStep({"weight": self.lift(gradient)}, self.lift(found))

    def _portion(
        self, part: slice, dx: np.ndarray, dy: np.ndarray, back: Tensor, across: Tensor, along: Tensor, loss: bool
    ) -> Tensor | float:
        """The part of some samples in the gradients' values (n², C_out, C_in); their sum of squares (), with `loss`."""
        tiled, lower, upper = self.tiled, self.layer.shape_in[2], self.pre.shape[-1]
        count = len(dx) * math.prod(tiled.tiles)
        below, above = (self.pre.new_empty(len(back), count, back.shape[k]) for k in (2, 1))
        noisy, moved = (array(t)[part] for t in (self.noisy, self.moved))
        noise = tiled.input.values(dx, lower, below).to(self.dtype)
        self._product(noise, self.forth.mT, above)
        self._disturb(part, tiled.output.maps(above, upper, np.empty_like(noisy)), dy)
        self._add(along, tiled.output.values(noisy, upper, above).to(self.dtype), noise)
        given = tiled.output.values(moved, upper, above).to(self.dtype)
        self._product(given, back, below)
        out = tiled.input.maps(below, lower, np.empty_like(dx))
        self._add(across, given, tiled.input.values(out, lower, below).to(self.dtype))
        return _sum(torch.from_numpy(out) ** 2, 3) if loss else 0.0

    def _product(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """out = a b."""
        if a.dtype == out.dtype:
            torch.bmm(a, b, out=out)
        else:
            out.copy_(torch.bmm(a, b))

    def _add(self, total: Tensor, a: Tensor, b: Tensor) -> None:
        """total += a' b; in portions of samples, so that low precision ends with each."""
        if a.dtype == total.dtype:
            total.baddbmm_(a.mT, b)
        else:
            total += torch.bmm(a.mT, b)


def _sum(t: Tensor, axes: int = 2) -> Tensor:
    """Over the last axes."""
    return t.sum(tuple(range(-axes, 0)))
