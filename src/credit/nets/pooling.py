"""Max-pooling: its windows, what they do to images, and where gradients at the windows go."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from credit.nets import geometry
from credit.nets.activations import Activation, ReLU
from credit.nets.lazy import compiled_loops
from credit.numerics.memory import in_memory


@dataclass(frozen=True)
class Pool:
    """Max-pooling windows; padding counts as minus infinity. step: distance of neighbours, None means the size."""

    size: int
    step: int | None = None
    padding: int = 0

    @property
    def stride(self) -> int:
        """Distance of neighbouring windows."""
        return self.size if self.step is None else self.step

    def sides(self, lengths: Sequence[int]) -> list[int]:
        """Height and width after pooling."""
        return geometry.sides(lengths, (self.size, self.stride, self.padding))

    @property
    def tiled(self) -> bool:
        """Whether windows lie side by side; a few elementwise maxima are much faster there than torch's pooling."""
        return self.stride == self.size <= 4 and self.padding == 0

    def activated(self, phi: Activation, pre: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Activities phi(pre), (M, B, C, H, W), and `down` of them; relu and tiles in one pass."""
        if not (self.tiled and isinstance(phi, ReLU) and in_memory(pre)):
            act = phi.value(pre)
            return act, *self.down(act)
        act, out = torch.empty_like(pre), pre.new_empty(*pre.shape[:-2], *self.sides(pre.shape[-2:]))
        planes = (t.view(-1, *t.shape[-2:]).numpy() for t in (pre, act, out))
        compiled_loops().relu_pooled(*planes, self.size)
        return act, out, None

    def down(self, act: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled activities (M, B, C, h, w), and for windows that overlap the index of each window's largest."""
        if self.tiled:
            return functools.reduce(torch.maximum, self._tiles(act)), None
        flat = act.reshape(-1, *act.shape[-3:])
        out, index = F.max_pool2d(flat, self.size, self.stride, self.padding, return_indices=True)
        shape = (*act.shape[:-2], *out.shape[-2:])
        return out.reshape(shape), index.reshape(shape)

    def up(self, grad: Tensor, act: Tensor, out: Tensor | None, index: Tensor | None) -> Tensor:
        """Gradient (M, B, C, h, w) at the pooled activities -> at the activities `act`, (M, B, C, H, W).

        out, index: what `down` gave; tiles need the first alone, and make it anew where it is None. Where windows
        overlap, their gradients add up.
        """
        if self.tiled:
            return self._untile(grad, act, self.down(act)[0] if out is None else out)
        full = torch.zeros_like(act).flatten(-2)
        full.scatter_add_(-1, index.flatten(-2), grad.flatten(-2))
        return full.reshape(act.shape)

    def index(self, act: Tensor) -> Tensor:
        """Where each window's largest activity stands, (M, B, C, h, w), flat over height x width; first of equals."""
        flat = act.reshape(-1, *act.shape[-3:])
        _, index = F.max_pool2d(flat, self.size, self.stride, self.padding, return_indices=True)
        return index.reshape(*act.shape[:-2], *index.shape[-2:])

    def unpooled(self, values: Tensor, index: Tensor, sides: Sequence[int], add: bool) -> Tensor:
        """Values (M, B, C, h, w) at the places `index` of maps (M, B, C, H, W) that are 0 elsewhere.

        sides: (H, W). add: whether values with the same place add up; else the last of them, in reading order, stays,
        on every device.
        """
        places = index.flatten(-2)
        given = values.expand(*index.shape).flatten(-2)
        if not add and self.stride < self.size:
            given = given * _last(places, math.prod(sides)).to(given.dtype)
        full = given.new_zeros(*given.shape[:-1], math.prod(sides))
        return full.scatter_add_(-1, places, given).unflatten(-1, tuple(sides))

    def _tiles(self, act: Tensor) -> list[Tensor]:
        """Views of `act`, one for each place within a window, in reading order; without rows that fill no window."""
        k = self.size
        h, w = (n // k * k for n in act.shape[-2:])
        return [act[..., i:h:k, j:w:k] for i in range(k) for j in range(k)]

    def _untile(self, grad: Tensor, act: Tensor, top: Tensor) -> Tensor:
        """The gradient goes to the first of a window's largest, as in torch."""
        full, free = torch.zeros_like(act), torch.ones_like(top, dtype=torch.bool)
        for piece, target in zip(self._tiles(act), self._tiles(full), strict=True):
            hit = (piece == top).logical_and_(free)
            free.logical_and_(hit.logical_not())
            target.copy_(grad * hit)
        return full


def _last(places: Tensor, length: int) -> Tensor:
    """Whether no later value has the same place, shaped as `places` (..., cells); length: of a map."""
    order = torch.arange(places.shape[-1], device=places.device).expand_as(places)
    latest = places.new_full((*places.shape[:-1], length), -1).scatter_reduce_(-1, places, order, "amax")
    return latest.gather(-1, places) == order
