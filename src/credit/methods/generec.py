"""GeneRec, the generalised recirculation algorithm, as hand-coded for Song et al. (2024)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.settling.chain import Chain
from credit.methods.settling.recurrent import Correlation, excitation


@dataclass(frozen=True)
class GeneRec(Correlation):
    """dx_l/dt = -x_l + f'(x_l) [f(x_{l-1}) V_{l-1} + f(x_{l+1}) V_l^T], down sum |x|²/2 - sum f(x_l) V_l f(x_{l+1}).

    Where the free nodes are at rest at the target, both phases agree, and nothing is learned.
    """

    def drive(self, chain: Chain, x: list[Tensor], i: int) -> Tensor:
        return chain.slope(x, i) * excitation(chain, x, i) - x[i]


part = GeneRec
