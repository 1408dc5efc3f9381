"""Relative distances and angles as Ernoult et al. (ICML 2022) and their official code measure them."""

from __future__ import annotations

import torch
from torch import Tensor

PUBLISHED_EPSILON = 1e-8


def distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b|| / ||a|| of (..., n), in float64, (...): relative to the first."""
    a, b = a.double(), b.double()
    return torch.linalg.vector_norm(a - b, dim=-1) / torch.linalg.vector_norm(a, dim=-1)


def angle_with_epsilon(a: Tensor, b: Tensor, epsilon: float = PUBLISHED_EPSILON) -> Tensor:
    """acos(a.b / (||a|| ||b|| + epsilon)) of (..., n) in degrees, in float64, (...).

    The epsilon turns small vectors towards 90 degrees; `credit.probes.angles.vector_angle` has none.
    """
    a, b = a.double(), b.double()
    norms = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return torch.rad2deg(torch.acos(((a * b).sum(-1) / (norms + epsilon)).clamp(-1, 1)))


def row_angle(a: Tensor, b: Tensor) -> Tensor:
    """Mean over rows of the angles of rows of matrices (..., m, n), degrees (...): of an early version of the code."""
    a, b = (x.double() / torch.linalg.vector_norm(x.double(), dim=-1, keepdim=True) for x in (a, b))
    return torch.rad2deg(torch.acos((a * b).sum(-1).clamp(-1, 1))).mean(-1)
