"""Portions of a batch whose intermediates stay in the processor's cache."""

from __future__ import annotations

from torch import Tensor

CHUNK = 2**19  # bytes of memory that is near


def chunks(like: Tensor, size: int) -> list[slice]:
    """The samples of like (M, B, n) in portions whose intermediates, `size` numbers a sample, fit into a CPU cache."""
    batch = like.shape[-2]
    step = max(1, CHUNK // (size * like.element_size())) if like.device.type == "cpu" else batch
    return [slice(a, a + step) for a in range(0, batch, step)]
