"""Single weights of tiny networks, to follow them one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.probes.base import Moment

MOST = 64  # weights of a network


@dataclass(frozen=True)
class Weights:
    """Metric weight_OUT_IN, of the layer that is recorded with it: the weight of the connection from unit IN of the
    layer below to unit OUT, both counted from 1, before the update. For dense nets of at most 64 weights.
    """

    metrics: ClassVar[tuple[str, ...]] = ("weight_*",)
    nets: ClassVar[tuple[str, ...]] = ("dense",)
    weights_alone: ClassVar[bool] = True  # may be measured at evaluations, without a mini-batch

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("weight_OUT_IN", layer, values (M,))]. Raises ConfigError for a net that is too large."""
        sizes = [block.n_out * block.n_in for block in moment.net.blocks]
        if sum(sizes) > MOST:
            raise ConfigError(f"probe weights: the net has {sum(sizes)} weights; must be at most {MOST}")
        rows = []
        for i, block in moment.params.items():
            for out, row in enumerate(block["weight"].unbind(-2), 1):
                for into, value in enumerate(row.unbind(-1), 1):
                    rows.append((f"weight_{out}_{into}", str(int(i) + 1), torch.atleast_1d(value)))
        return rows


part = Weights
