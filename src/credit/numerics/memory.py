"""Which tensors a compiled loop can take as plain memory."""

from __future__ import annotations

import torch
from torch import Tensor

_wrapped = torch._C._functorch.is_functorch_wrapped_tensor


def in_memory(*tensors: Tensor) -> bool:
    """Whether tensors of any shape are contiguous on the CPU, of one precision (float32, float64), without autograd."""
    first = tensors[0]
    if first.device.type != "cpu" or first.dtype not in (torch.float32, torch.float64):
        return False
    return all(
        t.dtype == first.dtype and t.is_contiguous() and not t.requires_grad and not _wrapped(t) for t in tensors
    )
