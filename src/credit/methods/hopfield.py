"""A continuous Hopfield net with clamped outputs, as hand-coded for Song et al. (2024)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.settling.chain import Chain
from credit.methods.settling.recurrent import Correlation, excitation


@dataclass(frozen=True)
class Hopfield(Correlation):
    """`generec` without its leak: dx_l/dt = f'(x_l) [f(x_{l-1}) V_{l-1} + f(x_{l+1}) V_l^T]."""

    def drive(self, chain: Chain, x: list[Tensor], i: int) -> Tensor:
        return chain.slope(x, i) * excitation(chain, x, i)


part = Hopfield
