"""Noise of the linearised feedback phase: as it is drawn, and drawn only where it acts.

Of the noise of a sample and layer, xi (T - 1, n), the dynamics see the products J xi with the Jacobian J (n_L, n), and
the gradient takes xi^T w. With J J^T = C C^T, the rows of C^-1 J are orthonormal, and so, in distribution,

    xi J^T = zeta C^T,    xi^T w = J^T C^-T zeta^T w + (1 - J^T (J J^T)^-1 J) Y^T L^T,    L L^T = w^T w,

with standard normal zeta (T - 1, n_L) and Y (n_L, n): given zeta, w does not depend on the rest of the noise. These are
(T - 1 + n) n_L numbers instead of (T - 1) n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor

from credit.methods.control.frame import Deviation
from credit.numerics.rand import Rand

RANK_FLOOR = 1e-12  # squared singular values below it, relative to their mean, count as zero


class Later:
    """w (M, B, T - 1, n_L), what every noise meets in the gradient; root: L with L L^T = w^T w, float64."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @cached_property
    def root(self) -> Tensor:
        """L, (M, B, n_L, n_L)."""
        wide = self.values.double()
        return _root(wide.mT @ wide)


class Source(Protocol):
    """Noise of one layer."""

    def seen(self) -> Tensor:
        """J xi, (M, B, T - 1, n_L)."""

    def collected(self, later: Later) -> Tensor:
        """Sum over samples of xi^T w, (M, n, n_L)."""


class Full(Source):
    """Given as it is: draws (M, T - 1, B, n), jacobian (M, B, n_L, n)."""

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
    """zeta: within (M, B, T - 1, n_L); rest: Y (M, B, n_L, n); jacobian (M, B, n_L, n)."""

    def __init__(self, within: Tensor, rest: Tensor, jacobian: Tensor) -> None:
        self.within, self.rest, self.jacobian = within, rest, jacobian
        self.root = _root((jacobian @ jacobian.mT).double())

    def seen(self) -> Tensor:
        """zeta C^T."""
        return self.within @ self.root.mT.to(self.within.dtype)

    def collected(self, later: Later) -> Tensor:
        """J^T C^-T (zeta^T w - C^-1 J Y^T L^T) + Y^T L^T, summed over samples."""
        overlap = torch.linalg.solve_triangular(self.root, (self.jacobian @ self.rest.mT).double(), upper=False)
        inner = (self.within.mT @ later.values).double() - overlap @ later.root.mT
        inner = torch.linalg.solve_triangular(self.root.mT, inner, upper=True)
        inner, outer = inner.to(self.rest.dtype), later.root.mT.to(self.rest.dtype)
        return self.jacobian.flatten(1, 2).mT @ inner.flatten(1, 2) + self.rest.flatten(1, 2).mT @ outer.flatten(1, 2)


def full(draws: Sequence[Tensor]) -> list[Callable[[Tensor], Source]]:
    """By layer, of draws (M, T - 1, B, n), or (T - 1, B, n) without a stack axis."""
    return [partial(Full, xi if xi.ndim > 3 else xi.unsqueeze(0)) for xi in draws]


def draw_projected(rand: Rand, name: str, frame: Deviation, steps: int) -> list[Callable[[Tensor], Source]]:
    """By layer, from the streams NAME.0 (zeta) and NAME_rest.0 (Y); in full where that takes no more numbers.

    Each makes a source of the jacobian (M, B, n_L, n).
    """
    n_out, result = frame.pre[-1].shape[-1], []
    for i, pre in enumerate(frame.pre):
        batch, n = pre.shape[-2:]
        projected = (steps + n) * n_out < steps * n
        shapes = {name: (steps, batch, n)}
        if projected:
            shapes = {name: (batch, steps, n_out), f"{name}_rest": (batch, n_out, n)}
        draws = [rand.normal(f"{stream}.{i}", shape).to(pre.dtype) for stream, shape in shapes.items()]
        draws = [xi if pre.ndim > 2 else xi.unsqueeze(0) for xi in draws]
        result.append(partial(Projected if projected else Full, *draws))
    return result


def _root(gram: Tensor) -> Tensor:
    """Lower triangular C with C C^T = gram + a multiple of the identity that makes it regular, (..., n, n)."""
    n = gram.shape[-1]
    floor = RANK_FLOOR * gram.diagonal(dim1=-2, dim2=-1).mean(-1) + torch.finfo(gram.dtype).tiny
    eye = torch.eye(n, dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky_ex(gram + floor[..., None, None] * eye).L
