"""Feedback iterations of L-DRL for convolutions with pooling, without stack, in the fewest convolutions.

An iteration is a convolution of the noise alone, whose result joins the kept pre-activation; a compiled pass that
pools, activates and scatters; a transposed convolution; and two weight gradients. Activities are channels last. All
equals `credit.methods.targets.losses.difference_reconstruction` but for rounding.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from credit.methods.targets.chain import Link
from credit.methods.targets.losses import FeedbackStep
from credit.nets.conv import Conv
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand

LAST = torch.channels_last


@functools.cache
def compiled_loops():
    """The module of loops, loaded when the first runs."""
    from credit.methods.targets import loops

    return loops


def possible(link: Link) -> bool:
    """Whether the iterations of a block can be fused: a pooled convolution with ELU and one network, on the CPU."""
    layer = link.layer
    if not isinstance(layer, Conv) or layer.pool is None or layer.activation != "elu":
        return False
    single = link.axis == 0 or link.params["weight"].shape[0] == 1
    disjoint = layer.pool.stride >= layer.pool.size
    return single and (disjoint or link.feedback.collisions == "overwrite") and in_memory(link.trace.pre)


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

    def __call__(self, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str) -> FeedbackStep:
        """As `difference_reconstruction` with one sample; params: {"weight": (M, C_out, C_in, k, k)}."""
        dx = self._noise(sigma, rand, f"{stream}_input", self.link.below)
        dy = self._noise(sigma, rand, f"{stream}_output", self.link.trace.out)
        return self.step(dx, dy, self.drop(params["weight"]))

    def step(self, dx: Tensor, dy: Tensor, weight: Tensor) -> FeedbackStep:
        """Gradient and loss for noise dx, dy (B, C, H, W), channels last, and a feedback weight (C_out, C_in, k, k)."""
        layer, pool, n = self.layer, self.layer.pool, dx.shape[0]
        window = {"stride": layer.stride, "padding": layer.padding}
        change = _last(F.conv2d(dx, self.weight, **window))
        compiled_loops().elu_pooled_twice(
            *map(_array, (self.pre, change, self.clean, self.noisy)), self.pre.shape[-1], tuple(self.y.shape[-2:]),
            pool.size, pool.stride, pool.padding, self.best, self.place,
        )  # fmt: skip
        given = map(_array, (self.y, dy, self.rates))
        compiled_loops().elu_moved(*given, self.index, self.writes, _array(self.moved))
        out = torch.nn.grad.conv2d_input(dx.shape, weight, self.moved, **window)
        across = torch.nn.grad.conv2d_weight(out, weight.shape, self.moved, **window)
        along = torch.nn.grad.conv2d_weight(dx, weight.shape, self.noisy, **window)
        loss = (torch.sum(out * out) - 2 * torch.sum(weight * along)) / n
        return FeedbackStep({"weight": self.lift((across - along).mul_(2 / n))}, self.lift(loss))

    def _noise(self, sigma: float, rand: Rand, stream: str, like: Tensor) -> Tensor:
        """sigma times a draw, (B, C, H, W), channels last."""
        drawn = self.drop(rand.normal(stream, tuple(like.shape[self.link.axis :])))
        return torch.mul(drawn, sigma, out=torch.empty_like(drawn, memory_format=LAST))


def _last(t: Tensor) -> Tensor:
    """(B, C, H, W) with the channels last in memory."""
    return t.contiguous(memory_format=LAST)


def _array(t: Tensor) -> np.ndarray:
    """The memory of a tensor (B, C, H, W), channels last, as (B, H W, C)."""
    return t.permute(0, 2, 3, 1).flatten(1, 2).numpy()
