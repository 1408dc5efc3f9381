"""How numbers get to another device without the host waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of any shape on `device`, of another type where one is given.

    A copy from the CPU is only queued: CUDA has taken the numbers out of ordinary memory before it returns.
    """
    return tensor.to(device, dtype or tensor.dtype, non_blocking=tensor.device.type == "cpu")


def on(value: float | Sequence[float] | Tensor, like: Tensor) -> Tensor:
    """A number, or numbers, as a tensor with dtype and device of `like`, which has any shape."""
    return moved(torch.as_tensor(value, dtype=like.dtype), like.device)


def normal(shape: Sequence[int], seed: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Standard normal draws of `shape` (...,), made on `device` by its own generator with `seed`."""
    return torch.randn(tuple(shape), generator=generator(device, seed), dtype=dtype, device=device)


def generator(device: torch.device, seed: int) -> torch.Generator:
    """A generator of a device, at the beginning of its stream."""
    return torch.Generator(device).manual_seed(seed)


def full_precision() -> None:
    """Products and convolutions of float32 on a GPU are float32's, not of the 10 bits that TF32 keeps of a number."""
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
