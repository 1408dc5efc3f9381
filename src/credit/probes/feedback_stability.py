"""Stability of the dynamics that feedback weights make with the forward weights (Podlaski & Machens 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from credit.methods.inversion.stability import chain_lambda_max, lambda_max
from credit.probes.base import Moment


@dataclass(frozen=True)
class FeedbackStability:
    """Largest real part of the eigenvalues of [[-I, B], [W, -leak I]], for learning rules with feedback and a leak.

    Weights and feedback are those after the update, re-stabilisation included, as the scripts record them. Metric:
    lambda_max of each hidden layer with the one above; where one loop runs through all layers, that of the loop too,
    for the whole net.
    """

    metrics: ClassVar[tuple[str, ...]] = ("lambda_max",)

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("lambda_max", layer, (M,))]; nothing for other learning rules."""
        leak, feedback = getattr(moment.method, "leak", None), moment.state_after.get("feedback", {})
        if leak is None:
            return []
        weights = {i: moment.after[i]["weight"] for i in feedback}
        rows = [("lambda_max", i, lambda_max(weights[i], b, leak)) for i, b in feedback.items()]
        if "direct" in moment.state_after:
            direct = moment.state_after["direct"]
            rows.append(("lambda_max", "", chain_lambda_max(list(weights.values()), direct, leak)))
        return rows


part = FeedbackStability
