"""Normal noise that is seen through a matrix: as it is drawn, and drawn only where it acts.

Of the noise xi (T, n) of a sample, a computation sees the products J xi with a matrix J (k, n), and takes xi^T w in the
end, w (T, k) made from what it saw. With J J^T = C C^T, the rows of C^-1 J are orthonormal, and so, in distribution,

    xi J^T = zeta C^T,    xi^T w = J^T C^-T zeta^T w + (1 - J^T (J J^T)^-1 J) Y^T L^T,    L L^T = w^T w,

with standard normal zeta (T, k) and Y (k, n): given zeta, w does not depend on the rest of the noise. These are
(T + n) k numbers instead of T n.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

RANK_FLOOR = 1e-12  # squared singular values below it, relative to their mean, count as zero


class Later:
    """w (M, B, T, k), what every noise meets in the end; root: L with L L^T = w^T w, float64."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @cached_property
    def root(self) -> Tensor:
        """L, (M, B, k, k)."""
        wide = self.values.double()
        return _root(wide.mT @ wide)


class Source(Protocol):
    """Noise xi of all samples."""

    def seen(self) -> Tensor:
        """J xi, (M, B, T, k)."""

    def collected(self, later: Later) -> Tensor:
        """Sum over samples of xi^T w, (M, n, k)."""


class Full(Source):
    """Given as it is: draws (M, T, B, n), jacobian (M, B, k, n)."""

    def __init__(self, draws: Tensor, jacobian: Tensor) -> None:
        self.draws, self.jacobian = draws, jacobian

    def seen(self) -> Tensor:
        """Member by member: no copy of the draws."""
        return torch.stack(
            [torch.bmm(xi.transpose(0, 1), j.mT) for xi, j in zip(self.draws, self.jacobian, strict=True)]
        )

    def collected(self, later: Later) -> Tensor:
        """One product for all samples and times."""
        return self.draws.flatten(1, 2).mT @ later.values.transpose(1, 2).flatten(1, 2)


class Projected(Source):
    """zeta: within (M, B, T, k); rest: Y (M, B, k, n); jacobian (M, B, k, n)."""

    def __init__(self, within: Tensor, rest: Tensor, jacobian: Tensor) -> None:
        self.within, self.rest, self.jacobian = within, rest, jacobian
        gram = (jacobian @ jacobian.mT).double()
        self.root, self.blind = _root(gram), gram.diagonal(dim1=-2, dim2=-1).sum(-1) == 0

    def seen(self) -> Tensor:
        """zeta C^T."""
        return self.within @ self.root.mT.to(self.within.dtype)

    def collected(self, later: Later) -> Tensor:
        """J^T C^-T (zeta^T w - C^-1 J Y^T L^T) + Y^T L^T, summed over samples."""
        overlap = torch.linalg.solve_triangular(self.root, (self.jacobian @ self.rest.mT).double(), upper=False)
        inner = (self.within.mT @ later.values).double() - overlap @ later.root.mT
        inner = torch.linalg.solve_triangular(self.root.mT, inner, upper=True)
        inner = inner.masked_fill(self.blind[..., None, None], 0)  # beyond the range of float32, and J is 0
        inner, outer = inner.to(self.rest.dtype), later.root.mT.to(self.rest.dtype)
        return self.jacobian.flatten(1, 2).mT @ inner.flatten(1, 2) + self.rest.flatten(1, 2).mT @ outer.flatten(1, 2)


def _root(gram: Tensor) -> Tensor:
    """Lower triangular C with C C^T = gram + a multiple of the identity that makes it regular, (..., n, n)."""
    n = gram.shape[-1]
    floor = RANK_FLOOR * gram.diagonal(dim1=-2, dim2=-1).mean(-1) + torch.finfo(gram.dtype).tiny
    eye = torch.eye(n, dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky_ex(gram + floor[..., None, None] * eye).L
