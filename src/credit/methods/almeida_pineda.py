"""Almeida-Pineda: recurrent backpropagation, as hand-coded for Song et al. (2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from credit.methods.settling.activities import Activities
from credit.methods.settling.chain import Chain
from credit.methods.settling.recurrent import excitation
from credit.methods.settling.rule import Settling, Target
from credit.numerics.stack import scaled
from credit.numerics.trees import Params


@dataclass(frozen=True)
class AlmeidaPineda(Settling):
    """Activities settle by dx_l/dt = -x_l + f(x_{l-1}) V_{l-1} + f(x_{l+1}) V_l^T, then errors y_l through the same
    weights: dy_l/dt = -y_l + f'(x_l) [y_{l-1} V_{l-1} + y_{l+1} V_l^T], + J = target - x_L at the output;
    dV_l = f(x_l)^T y_{l+1}.

    adjoint: "released" as in the released code, where the input has an error too, from above alone, and y_L none from
    below. "exact" with the errors of the layers that do settle, all terms of the output's, and y_l^T f(x_{l+1}) of the
    feedback added to dV_l: at rest, minus the gradient of the mean |target - x_L|²/2 through the fixed point.
    """

    excludes: ClassVar[str] = "credit.methods.settling.names.of_almeida_pineda"
    held: ClassVar[tuple[str, ...]] = ("x", "y")

    adjoint: Literal["released", "exact"] = "released"

    def drive(self, chain: Chain, x: list[Tensor], i: int) -> Tensor:
        return excitation(chain, x, i) - x[i]

    def learn(self, chain: Chain, activities: Activities, target: Target, info: dict[str, Any]) -> Params:
        x, y = activities["x"], activities["y"]
        error = target.values - x[-1] if target.weights is None else (target.values - x[-1]) * target.weights
        slopes, exact = [chain.slope(x, i) for i in range(chain.top)], self.adjoint == "exact"
        if exact:
            slopes.append(chain.slope(x, chain.top))
        for _ in range(self.steps):
            for i in range(exact, chain.top + 1):
                y[i] = y[i] + scaled(self._flow(chain, slopes, y, i, error) - y[i], self.inference.lr)
        rates = [chain.rate(x, i) for i in range(chain.top + 1)]
        increments = chain.products(rates, y)
        for i in range(1, chain.top) if exact else ():
            increments[str(i)]["weight"] += chain.product(y[i], rates[i + 1], i)["weight"]
        return increments

    def _flow(self, chain: Chain, slopes: list[Tensor], y: list[Tensor], i: int, error: Tensor) -> Tensor:
        """Where y_l is drawn to, (M, B, n_l)."""
        exact = self.adjoint == "exact"
        from_below = i > 1 if exact else 0 < i < chain.top
        flows = [chain.up(y[i - 1], i - 1)] if from_below else []
        flows += [chain.down(y[i + 1], i)] if i < chain.top else []
        drawn = slopes[i] * sum(flows) if flows else 0.0
        return drawn + error if i == chain.top else drawn


part = AlmeidaPineda
