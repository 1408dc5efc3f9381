"""Backpropagation as in the experiments of Podlaski & Machens (NeurIPS 2020), with their clipping and skipping."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.base import State
from credit.methods.inversion.rule import LayerByLayer
from credit.methods.online.loops import Carry


@dataclass(frozen=True)
class InversionBP(LayerByLayer):
    """delta_low = phi' * W^T delta_up; with the default options this is `bp`."""

    def below(self, weight: Tensor, feedback: Tensor | None, delta: Tensor) -> Tensor:
        return delta @ weight

    def carry(self, state: State) -> Carry | None:
        return None if self.extra_slope else Carry()


part = InversionBP
