"""Predictive coding as hand-coded beside the trainer of Song et al. (2024), with conventions of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from credit.methods.settling.activities import Activities
from credit.methods.settling.chain import Chain
from credit.methods.settling.rule import Settling, Target
from credit.methods.settling.settings import Discounted
from credit.numerics.stack import scaled
from credit.numerics.trees import Params


@dataclass(frozen=True)
class HandCodedPredictiveCoding(Settling):
    """x_l += rho (-eps_l c_l + f'(x_l) (eps_{l+1} V_l^T) c_{l+1}²), eps_l = x_l - f(x_{l-1}) V_{l-1} as of the start of
    the sweep for all layers; c is loss_coefficient at the output, else 1. dV_l = f(x_l)^T eps_{l+1}, with the
    activities after the last sweep and the errors before it.

    inference: rate of the moves, see `credit.methods.settling.settings.Discounted`. loss_coefficient: c of the output.

    Beside `pc`: f of the input too, output nodes that relax where it predicts, increments divided by the number of
    samples. The energy of inference.discount is sum |eps|²/2. least_discounts: a member whose rho was cut less often in
    a relaxation is given up as diverged, where the released code ends with an error.
    """

    excludes: ClassVar[str] = "credit.methods.settling.names.of_pc_coded"

    inference: Discounted = Discounted()
    least_discounts: Annotated[int, ">= 0"] = 0
    loss_coefficient: Annotated[float, "> 0"] = 1.0

    def learn(self, chain: Chain, activities: Activities, target: Target, info: dict[str, Any]) -> Params:
        x = activities["x"]
        eps, cuts = self._relaxed(chain, x, self.clamp(chain, x, target), target)
        info["eps"] = eps
        if cuts is not None:
            info |= {"discounts": cuts, "diverged": cuts < self.least_discounts}
        return chain.products([chain.rate(x, i) for i in range(chain.top)], eps)

    def relax(self, chain: Chain, x: list[Tensor], top: int, target: Target | None = None) -> None:
        """Sweeps over nodes x_l (M, B, n_l) in place, all with the errors of their start."""
        self._relaxed(chain, x, top, target)

    def _relaxed(
        self, chain: Chain, x: list[Tensor], top: int, target: Target | None
    ) -> tuple[list[Tensor], Tensor | None]:
        """Sweeps in place; errors of the last one, and how often each member's rho was cut (M,), None without cuts."""
        before, rho, cuts = None, x[-1].new_ones(x[-1].shape[:-2]), None
        for _ in range(self.steps):
            eps = [torch.zeros_like(x[0]), *(x[i] - chain.below(x, i) for i in range(1, chain.top + 1))]
            if self.inference.discount is not None:
                energy = sum(e.square().sum((-2, -1)) for e in eps[1:])
                if before is None:
                    cuts = torch.zeros_like(rho, dtype=torch.int64)
                else:
                    fell = energy < before  # False for NaN
                    rho = torch.where(fell, rho, scaled(rho, self.inference.discount))
                    cuts = cuts + ~fell
                before = energy
            for i in range(1, top + 1):
                step = rho[..., None, None] * scaled(self._pull(chain, x, eps, i), self.inference.lr)
                x[i] = target.clamp(x[i] + step) if target is not None and i == chain.top else x[i] + step
        return eps, cuts

    def _pull(self, chain: Chain, x: list[Tensor], eps: list[Tensor], i: int) -> Tensor:
        """The move of x_l at rho = 1, (M, B, n_l)."""
        if i == chain.top:
            return -scaled(eps[i], self.loss_coefficient)
        teaching = chain.down(eps[i + 1], i)
        if i + 1 == chain.top:
            teaching = scaled(scaled(teaching, self.loss_coefficient), self.loss_coefficient)
        return chain.slope(x, i) * teaching - eps[i]


part = HandCodedPredictiveCoding
