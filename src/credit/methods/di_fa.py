"""Feedback alignment as in the experiments of Podlaski & Machens (NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from credit.methods.base import State
from credit.methods.inversion.rule import LayerByLayer, WithFeedback
from credit.methods.online.loops import Carry


@dataclass(frozen=True)
class InversionFA(WithFeedback, LayerByLayer):
    """delta_low = phi' * B delta_up, B fixed.

    With the feedback "neg_transpose", which two of the paper's models use, the hidden layers climb at first: it has
    the sign that dynamic inversion needs, not that of a gradient.
    """

    feedback: Annotated[str | dict, "credit.methods.inversion.names.options"] = "random"

    def below(self, weight: Tensor, feedback: Tensor, delta: Tensor) -> Tensor:
        return delta @ feedback.mT

    def carry(self, state: State) -> Carry | None:
        return None if self.extra_slope else Carry(state["feedback"]["1"])


part = InversionFA
