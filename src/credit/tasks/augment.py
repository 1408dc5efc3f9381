"""Random changes of training images: every one is drawn anew for every image and epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit.numerics.rand import Rand
from credit.tasks.base import Take


@dataclass(frozen=True)
class Augmentation:
    """A horizontal flip with probability `flip`, then a crop of the image's size out of the image that is continued by
    its edges for `crop` pixels on all sides. Both only move pixels, so that it does not matter whether they are scaled
    before or after.
    """

    flip: float = 0.0
    crop: int = 0

    def of(self, taken: Take, images: Tensor, rand: Rand) -> Take:
        """`taken`, of images (N, C, H, W) or (M, N, C, H, W), with the changes of one epoch, drawn from the streams
        flip, crop_rows and crop_columns: one number for each of the N images."""
        n, (height, width) = images.shape[-4], images.shape[-2:]
        flipped = rand.uniform("flip", (n,)) < self.flip if self.flip else None
        rows = self._shifts(rand, "crop_rows", n)
        columns = self._shifts(rand, "crop_columns", n)

        def take(index: Tensor) -> tuple[Tensor, Tensor]:
            x, y = taken(index)
            across = _moved(columns, index, width)
            if flipped is not None:
                across = torch.where(flipped.gather(-1, index).unsqueeze(-1), width - 1 - across, across)
            down = _moved(rows, index, height)
            members, samples = (torch.arange(size, device=x.device) for size in index.shape)
            places = members[:, None, None, None], samples[:, None, None], down[..., None], across[..., None, :]
            # an index beside a slice comes first, wherever it stands
            return x.movedim(2, -1)[places].movedim(-1, 2).contiguous(), y

        return take

    def _shifts(self, rand: Rand, stream: str, n: int) -> Tensor | None:
        """Of the crop's corner, -crop to crop, (M, n)."""
        return rand.integers(stream, (n,), 2 * self.crop + 1) - self.crop if self.crop else None


def _moved(shifts: Tensor | None, index: Tensor, length: int) -> Tensor:
    """Where each of `length` pixels comes from, (M, k, length), for the samples `index` (M, k)."""
    pixels = torch.arange(length, device=index.device).expand(*index.shape, length)
    return pixels if shifts is None else (pixels + shifts.gather(-1, index).unsqueeze(-1)).clamp_(0, length - 1)
