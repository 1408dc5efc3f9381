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
from credit.nets.conv import Conv
from credit.nets.dense import Dense
from credit.numerics import winograd
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand

LAST = torch.channels_last
TILES = 128  # of a portion, whose values stay in the cache
FEWEST = 16  # channels from which tiles pay


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


def fused(link: Link) -> Fused | None:
    """The iterations of a block; None where they cannot be fused.

    They can on the CPU for dense layers, and for pooled convolutions with ELU and one network.
    """
    layer = link.layer
    if not in_memory(link.trace.pre):
        return None
    if isinstance(layer, Dense):
        return FusedDense(link)
    if not isinstance(layer, Conv) or layer.pool is None or layer.activation != "elu":
        return None
    single = link.axis == 0 or link.params["weight"].shape[0] == 1
    disjoint = layer.pool.stride >= layer.pool.size
    if not single or not (disjoint or link.feedback.collisions == "overwrite"):
        return None
    wide = min(layer.shape_in[0], layer.channels) >= FEWEST
    tiled = wide and winograd.possible(layer.shape_pre[1:], layer.kernel, layer.stride)
    return TiledConvolution(link) if tiled else FusedConvolution(link)


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

    def __init__(self, link: Link) -> None:
        self.link, self.layer = link, link.layer
        layer, stacked = self.layer, link.axis == 1
        self.drop = (lambda t: t[0]) if stacked else (lambda t: t)
        self.lift = (lambda t: t.unsqueeze(0)) if stacked else (lambda t: t)
        self.weight = self.drop(link.params["weight"]).contiguous(memory_format=LAST)
        self.pre, self.y = (_last(self.drop(t)) for t in (link.trace.pre, link.trace.out))
        self.rates = _last(F.elu(self.y))
        self.index = _array(_last(self.drop(link.route))).astype(np.int32)
        places = math.prod(self.pre.shape[-2:])
        self.writes, last = np.empty(self.index.shape, np.bool_), np.empty((places, layer.channels), np.int32)
        compiled_loops().last_writers(self.index, places, last, self.writes)
        self.clean, self.noisy, self.moved = (torch.zeros_like(self.pre, memory_format=LAST) for _ in range(3))
        compiled_loops().scattered(_array(self.rates), self.index, self.writes, _array(self.clean))
        self.best = np.empty(layer.channels, _array(self.pre).dtype)
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
        self._disturb(slice(None), _array(_last(F.conv2d(dx, self.weight, **window))), _array(dy))
        out = torch.nn.grad.conv2d_input(dx.shape, weight, self.moved, **window)
        across = torch.nn.grad.conv2d_weight(out, weight.shape, self.moved, **window)
        along = torch.nn.grad.conv2d_weight(dx, weight.shape, self.noisy, **window)
        found = (_sum(out * out, 4) - 2 * _sum(weight * along, 4)) / n if loss else weight.new_zeros(())
        return FeedbackStep({"weight": self.lift((across - along).mul_(2 / n))}, self.lift(found))

    def _disturb(self, part: slice, change: np.ndarray, dy: np.ndarray) -> None:
        """`noisy` and `moved` of some samples, from how the pre-activation (B, H W, C) and s^i (B, h w, C) change."""
        pool = self.layer.pool
        pre, clean, noisy, moved, y, rates = (_array(t)[part] for t in (
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

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        layer = self.layer
        self.tiled = winograd.Winograd(tuple(layer.shape_in[1:]), layer.kernel, layer.padding, self.pre.dtype)
        self.forth = self.tiled.values(self.weight)
        self.samples = max(1, TILES // math.prod(self.tiled.tiles))

    def step(self, dx: Tensor, dy: Tensor, weight: Tensor, loss: bool) -> FeedbackStep:
        """As of the base, weight (C_out, C_in, k, k)."""
        back, n = self.tiled.values(weight), dx.shape[0]
        across, along = torch.zeros_like(back), torch.zeros_like(back)
        squares, noise, dy = 0.0, _array(dx), _array(dy)
        for start in range(0, n, self.samples):
            part = slice(start, min(start + self.samples, n))
            squares += self._portion(part, noise[part], dy[part], back, across, along, loss)
        found = (squares - 2 * _sum(back * along, 3)) / n if loss else weight.new_zeros(())
        gradient = self.tiled.weights(across.sub_(along)).mul_(2 / n)
        return FeedbackStep({"weight": self.lift(gradient)}, self.lift(found))

    def _portion(
        self, part: slice, dx: np.ndarray, dy: np.ndarray, back: Tensor, across: Tensor, along: Tensor, loss: bool
    ) -> Tensor | float:
        """The part of some samples in the gradients' values (n², C_out, C_in); their sum of squares (), with `loss`."""
        tiled, lower, upper = self.tiled, self.layer.shape_in[2], self.pre.shape[-1]
        count = len(dx) * math.prod(tiled.tiles)
        below = self.pre.new_empty(len(back), count, back.shape[2])
        above = self.pre.new_empty(len(back), count, back.shape[1])
        tiled.input.values(dx, lower, below)
        torch.bmm(below, self.forth.mT, out=above)
        noisy, moved = (_array(t)[part] for t in (self.noisy, self.moved))
        self._disturb(part, tiled.output.maps(above, upper, np.empty_like(noisy)), dy)
        along.baddbmm_(tiled.output.values(noisy, upper, above).mT, below)
        torch.bmm(tiled.output.values(moved, upper, above), back, out=below)
        out = tiled.input.maps(below, lower, np.empty_like(dx))
        across.baddbmm_(above.mT, tiled.input.values(out, lower, below))
        return _sum(torch.from_numpy(out) ** 2, 3) if loss else 0.0


def _last(t: Tensor) -> Tensor:
    """(B, C, H, W) with the channels last in memory."""
    return t.contiguous(memory_format=LAST)


def _array(t: Tensor) -> np.ndarray:
    """The memory of a tensor (B, C, H, W), channels last, as (B, H W, C)."""
    return t.permute(0, 2, 3, 1).flatten(1, 2).numpy()


def _sum(t: Tensor, axes: int = 2) -> Tensor:
    """Over the last axes."""
    return t.sum(tuple(range(-axes, 0)))
