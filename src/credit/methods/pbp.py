"""Pseudo-backpropagation: the pseudo-inverse of the weights in place of their transpose.

Source: Podlaski & Machens (NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.base import State
from credit.methods.inversion.operators import pseudo_invert
from credit.methods.inversion.rule import LayerByLayer
from credit.methods.online.loops import PSEUDO, Carry


@dataclass(frozen=True)
class PBP(LayerByLayer):
    """delta_low = phi' * W^+ delta_up, W^+ of the present weights; a singular W counts by its nonzero part."""

    def below(self, weight: Tensor, feedback: Tensor | None, delta: Tensor) -> Tensor:
        return pseudo_invert(weight, delta)

    def carry(self, state: State) -> Carry | None:
        return None if self.extra_slope else Carry(solve=PSEUDO)


part = PBP
