"""The part of an update that does not change the output on its own mini-batch, to first order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.nets.jacobian import output_jacobian
from credit.numerics.finite import finite_parts
from credit.probes.base import Moment

NULL = 1e-12  # singular values below count as zero, as published


def null_space_ratio(jacobian: Tensor, rates: Tensor, gradient: Tensor) -> Tensor:
    """|component of the gradient in the null space| / |gradient|, (M,), or () for a single net.

    The space is that of the Jacobian of all B n_L outputs of the mini-batch to the weights of one layer. jacobian:
    of the output to the layer's pre-activations (M, B, n_L, n_i). rates: below the layer (M, B, n_{i-1}). gradient:
    (M, n_i, n_{i-1}). Takes an SVD of B n_L x n_i n_{i-1}: for small nets. NaN where something is not finite.
    """
    rows = jacobian.unsqueeze(-1) * rates[..., None, None, :]  # (M, B, n_L, n_i, n_{i-1})
    rows = rows.flatten(-2).flatten(-3, -2)
    finite = finite_parts(rows)[0] & finite_parts(gradient)[0]
    _, values, basis = torch.linalg.svd(torch.where(finite, rows, 0.0), full_matrices=False)
    vector = gradient.flatten(-2).unsqueeze(-1)
    inside = (basis @ vector) * (values >= NULL).unsqueeze(-1)
    outside = torch.linalg.vector_norm(vector - basis.mT @ inside, dim=(-2, -1))
    ratio = outside / torch.linalg.vector_norm(vector, dim=(-2, -1))
    return torch.where(finite[..., 0, 0], ratio, torch.nan)


@dataclass(frozen=True)
class NullSpace:
    """Metric null_space_ratio of every layer's weights, for the update that the optimiser was handed; dense nets."""

    metrics: ClassVar[tuple[str, ...]] = ("null_space_ratio",)
    nets: ClassVar[tuple[str, ...]] = ("dense",)

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("null_space_ratio", layer, values (M,))]."""
        trace = moment.info["trace"]
        jacobian = output_jacobian(moment.net, moment.params, trace)
        ratios = [
            (i, null_space_ratio(j, step.input, moment.info["gradients"][str(i)]["weight"]))
            for i, (j, step) in enumerate(zip(jacobian, trace.blocks, strict=True))
            if str(i) in moment.info["gradients"]
        ]
        return [("null_space_ratio", str(i + 1), torch.atleast_1d(value)) for i, value in ratios]


part = NullSpace
