"""Condition 1 of Deep Feedback Control: the rates of all layers have the same norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.nets.base import Trace
from credit.probes.base import Moment


def rate_norms(trace: Trace) -> Tensor:
    """|r_i| of the input and of every hidden layer, for every sample: (M, B, L)."""
    return torch.stack([torch.linalg.vector_norm(t.input, dim=-1, dtype=torch.float64) for t in trace.blocks], -1)


def condition_one(norms: Tensor, published: bool = True) -> Tensor:
    """Spread of the norms (M, B, L) over the layers, (M, B); 0 where the condition holds.

    published: std / sqrt(mean), as the official code has it; otherwise std / mean, as the paper's caption has it.
    """
    mean = norms.mean(-1)
    std = (norms - mean.unsqueeze(-1)).square().mean(-1).sqrt()
    return std / mean.sqrt() if published else std / mean


@dataclass(frozen=True)
class ConditionOne:
    """Batch means of condition1 (as in the official code), condition1_caption (as in the paper's caption), and, with
    batch standard deviations under NAME_std, of norm_r (mean norm over the layers) and norm_r_deviation: by how much a
    layer's norm differs from it, relative to it; layer "0" is the input.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "condition1", "condition1_caption", "norm_r", "norm_r_std", "norm_r_deviation", "norm_r_deviation_std",
    )  # fmt: skip

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, values (M,))], of the feedforward rates before the update."""
        norms = rate_norms(moment.info["trace"])
        mean = norms.mean(-1)
        deviation = norms / mean.unsqueeze(-1) - 1
        rows = [("condition1", "", condition_one(norms).mean(-1))]
        rows += [("condition1_caption", "", condition_one(norms, published=False).mean(-1))]
        layers = {"": mean} | {str(i): deviation[..., i] for i in range(norms.shape[-1])}
        for layer, values in layers.items():
            name = "norm_r_deviation" if layer else "norm_r"
            rows += [(name, layer, values.mean(-1)), (f"{name}_std", layer, values.std(-1, correction=0))]
        return [(name, layer, torch.atleast_1d(values)) for name, layer, values in rows]


part = ConditionOne
