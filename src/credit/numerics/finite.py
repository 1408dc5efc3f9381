"""What is not finite, kept apart, so that decompositions neither fail nor spread it."""

from __future__ import annotations

import torch
from torch import Tensor


def finite_parts(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Which matrices (..., m, n) are finite, bool (..., 1, 1), and the matrices with 0 in place of the others."""
    finite = matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    return finite, torch.where(finite, matrix, 0)
