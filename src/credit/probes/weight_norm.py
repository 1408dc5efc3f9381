"""Size of the forward weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.probes.base import Moment


@dataclass(frozen=True)
class WeightNorm:
    """Metric weight_norm: Frobenius norm of a layer's weights after the update.

    layers: which ones, counted from 1 at the input; None: all.
    """

    metrics: ClassVar[tuple[str, ...]] = ("weight_norm",)
    weights_alone: ClassVar[bool] = True  # may be measured at evaluations, without a mini-batch

    layers: tuple[int, ...] | None = None

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("weight_norm", layer, values (M,))]. Raises ConfigError for a layer that the net does not have."""
        layers = range(1, len(moment.net) + 1) if self.layers is None else self.layers
        rows = []
        for layer in layers:
            if not 1 <= layer <= len(moment.net):
                raise ConfigError(f"weight_norm.layers = {self.layers}; this net has the layers 1 to {len(moment.net)}")
            weight = moment.after[str(layer - 1)]["weight"]
            axes = len(moment.net.block(layer - 1).shapes()["weight"])
            norm = torch.linalg.vector_norm(weight, dim=tuple(range(-axes, 0)), dtype=torch.float64)
            rows.append(("weight_norm", str(layer), torch.atleast_1d(norm)))
        return rows


part = WeightNorm
