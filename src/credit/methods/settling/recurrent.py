"""Rules whose layers excite each other through the same weights, and learn by correlations of activities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor

from credit.methods.settling.activities import Activities
from credit.methods.settling.chain import Chain
from credit.methods.settling.rule import Settling, Target
from credit.numerics.trees import Params


def excitation(chain: Chain, x: list[Tensor], i: int) -> Tensor:
    """f(x_{l-1}) V_{l-1} + f(x_{l+1}) V_l^T, (M, B, n_l); of the output the first alone."""
    below = chain.below(x, i)
    return below if i == chain.top else below + chain.down(chain.rate(x, i + 1), i)


@dataclass(frozen=True)
class Correlation(Settling):
    """dV_l = f(x_l)^T f(x_{l+1}) with the output clamped, minus the same where the net predicts freely.

    negative_phase: False leaves the second out, as the recorded runs of the released code do, and those of its path
    lengths, which never predict.
    """

    excludes: ClassVar[str] = "credit.methods.settling.names.with_negative_phase"

    steps: Annotated[int, "> 0"] = 128
    negative_phase: bool = True

    def predict(self, chain: Chain, activities: Activities) -> Params | None:
        super().predict(chain, activities)
        if not self.negative_phase:
            return None
        return {i: {n: -p for n, p in block.items()} for i, block in self.correlations(chain, activities["x"]).items()}

    def learn(self, chain: Chain, activities: Activities, target: Target, info: dict[str, Any]) -> Params:
        x = activities["x"]
        self.relax(chain, x, self.clamp(chain, x, target), target)
        return self.correlations(chain, x)

    def correlations(self, chain: Chain, x: list[Tensor]) -> Params:
        """f(x_l)^T f(x_{l+1}) of every block, (M, n_{l+1}, n_l) as its weight."""
        rates = [chain.rate(x, i) for i in range(chain.top + 1)]
        return chain.products(rates, rates)
