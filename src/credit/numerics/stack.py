"""Hyperparameters of stacks: one number for all members, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Number = float | Sequence[float]  # for all members, or one for each


def member(value: Number, like: Tensor) -> float | Tensor:
    """A hyperparameter ready to be combined with `like` (M, ...): per-member values get trailing axes."""
    if isinstance(value, (int, float)):
        return value
    values = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def scaled(tensor: Tensor, factor: Number) -> Tensor:
    """`tensor` (M, ...) times a hyperparameter that may differ between members."""
    return tensor * member(factor, tensor)


def combine(f: Callable[..., float], *values: Number) -> Number:
    """f of hyperparameters, member by member where one of them has a value for each."""
    lengths = {len(v) for v in values if not isinstance(v, (int, float))}
    if not lengths:
        return f(*values)
    spread = [[v] * max(lengths) if isinstance(v, (int, float)) else v for v in values]
    return tuple(f(*one) for one in zip(*spread, strict=True))


def table(values: Sequence[Number], members: int, dtype) -> np.ndarray:
    """Hyperparameters of all members, (M, n) for n values."""
    return np.stack([np.broadcast_to(np.asarray(v, dtype), members) for v in values], -1)
