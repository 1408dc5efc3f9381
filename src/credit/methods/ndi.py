"""Non-dynamic inversion: the fixed point of dynamic inversion in closed form.

Source: Podlaski & Machens (NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from credit.methods.base import State
from credit.methods.inversion.operators import invert
from credit.methods.inversion.rule import LayerByLayer, WithFeedback
from credit.methods.online.loops import FIXED_POINT, Carry


@dataclass(frozen=True)
class NDI(WithFeedback, LayerByLayer):
    """delta_low = phi' * B (W B - leak I)^-1 delta_up, or (B W - leak I)^-1 B delta_up where the layer expands.

    B is fixed. With B = -W^T it is a damped pseudo-inverse. leak: 0 is `pbp`, a large one `bp` divided by it. Where the
    matrix is singular, the least-squares solution is taken, as in the paper's code.
    """

    leak: Annotated[float, ">= 0"] = 0.01

    def below(self, weight: Tensor, feedback: Tensor, delta: Tensor) -> Tensor:
        return invert(weight, feedback, self.leak, delta)

    def carry(self, state: State) -> Carry | None:
        return None if self.extra_slope else Carry(state["feedback"]["1"], FIXED_POINT, self.leak)


part = NDI
