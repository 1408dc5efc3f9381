"""Gradients of large weights that stay products of two factors until the step.

A gradient delta^T x of n_out x n_in numbers is written once and read once, and both cost as much as the product.
The step takes it in tiles, rows that stay in the cache. A stack gains more: a batched product with a transposed
factor takes 1.7 times as long as the same products one by one.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Measured on a processor with 2 MB of second-level cache per core (`credit.bench.pepita`, and batches of 128 and 512):
LARGE = 2**21  # weights of a stack, of which fewer are still in the cache when the step comes
MANY = 128  # samples, beyond which the product takes nearly all of the time
# (samples up to, bytes of a tile): large tiles leave the cache, small ones read the inputs again and again
TILES = ((64, 2**19), (MANY, 3 * 2**20))
ALIGN = 32  # rows: those of a tile are a multiple of it


def pays(delta: Tensor, x: Tensor) -> bool:
    """Whether the gradient delta^T x had better stay a product; delta (M, B, n_out), x (M, B, n_in)."""
    samples = delta.shape[-2]
    return 0 < samples <= MANY and delta.numel() // samples * x.shape[-1] >= LARGE


@dataclass(frozen=True)
class Product:
    """delta^T x, (M, n_out, n_in), not multiplied out; delta (M, B, n_out), x (M or 1, B, n_in), M may be absent."""

    delta: Tensor
    x: Tensor

    @property
    def shape(self) -> torch.Size:
        """Shape of the gradient."""
        return torch.Size([*self.delta.shape[:-2], self.delta.shape[-1], self.x.shape[-1]])

    def __mul__(self, factor: float) -> Product:
        if not isinstance(factor, numbers.Real):
            return NotImplemented  # a tensor could mean rows, columns or members
        return Product(self.delta * factor, self.x)

    def tensor(self) -> Tensor:
        """The gradient itself, (M, n_out, n_in)."""
        return self.delta.mT @ self.x

    def tiles(self, dtype: torch.dtype) -> Iterator[Iterator[tuple[slice, Tensor, Tensor]]]:
        """Of every member: (rows of the gradient, factors a and b). These rows are a b, a (rows, B) and b (B, n_in)."""
        n_in = self.shape[-1]
        deltas, inputs = (t.to(dtype) if t.ndim == 3 else t.to(dtype).unsqueeze(0) for t in (self.delta, self.x))
        inputs = inputs.expand(len(deltas), -1, -1)
        size = next((size for samples, size in TILES if deltas.shape[-2] <= samples), TILES[-1][1])
        height = max(size // (n_in * deltas.element_size()) // ALIGN, 1) * ALIGN
        for delta, x in zip(deltas.mT, inputs):
            yield _rows(delta, x, height)


def _rows(delta: Tensor, x: Tensor, height: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    for start in range(0, len(delta), height):
        rows = slice(start, min(start + height, len(delta)))
        yield rows, delta[rows], x


def multiplied_out(gradients: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Tensor]]:
    """Nested gradients {layer: {name: tensor or Product}} as tensors (M, ...), made when they are looked at."""
    products = any(isinstance(g, Product) for block in gradients.values() for g in block.values())
    return _MultipliedOut(gradients) if products else gradients


class _MultipliedOut(Mapping):
    def __init__(self, gradients: Mapping[str, Mapping[str, Any]]) -> None:
        self._gradients = gradients
        self._made: dict[str, dict[str, Tensor]] = {}

    def __getitem__(self, layer: str) -> dict[str, Tensor]:
        if layer not in self._made:
            block = self._gradients[layer]
            self._made[layer] = {n: g.tensor() if isinstance(g, Product) else g for n, g in block.items()}
        return self._made[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self._gradients

    def __iter__(self) -> Iterator[str]:
        return iter(self._gradients)

    def __len__(self) -> int:
        return len(self._gradients)
