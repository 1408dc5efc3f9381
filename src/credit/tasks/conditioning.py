"""Fear conditioning with two stimuli, a light and a noise: overshadowing, and what extinction of the light changes.

Source: Song et al. (2024), released code: fear_conditioning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner, Task

LIGHT, NOISE, BOTH, NOTHING = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)
PHASES = {"N+": (NOISE, NOTHING), "LN+": (BOTH, NOTHING), "LN+,L-": (BOTH, LIGHT)}  # stimuli of the two phases


@dataclass
class Conditioning(Task):
    """stimuli (2, n_in), of either phase; targets (2, n_out), 1 and then 0. Nothing is drawn, nothing remembered."""

    stimuli: Tensor
    targets: Tensor
    per_phase: int
    members: int
    shape_in: tuple[int, ...] = (2,)
    n_out: int = 1

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """Both phases, `per_phase` updates each, of one trial."""
        order = torch.arange(2, device=self.stimuli.device).repeat_interleave(self.per_phase)
        whose = torch.zeros(self.members, dtype=torch.int64, device=order.device)
        learner.visit(order[None], lambda index: (self.stimuli[index], self.targets[index]), 1, whose)

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"fear", "fear_light": (M,)}: the output for the noise alone, which is what was measured, and the light."""
        tested = self.stimuli.new_tensor([NOISE, LIGHT])
        noise, light = learner.predict(tested[None])[..., 0].unbind(1)
        return {"fear": noise, "fear_light": light}


@dataclass(frozen=True)
class ConditioningConfig:
    """The groups of animals: the noise is conditioned alone (N+), or together with the light (LN+), and what follows is
    nothing, or the light without a shock (LN+,L-). Inputs are (light, noise), the output is fear.

    group: one of them. per_phase: trials of conditioning, with the target 1, and as many of the second phase, with the
    target 0. Nothing is input 0: where the net has no biases, weights that learn from input and error stay.
    """

    metrics: ClassVar[tuple[str, ...]] = ("fear", "fear_light")
    evaluated: ClassVar[tuple[str, ...]] = ("stimuli",)
    targets: ClassVar[str] = "values"
    shape: ClassVar[tuple[int, int]] = (2, 1)  # inputs, outputs
    trials: ClassVar[int] = 64  # of an epoch, about

    group: Literal["N+", "LN+", "LN+,L-"]
    per_phase: Annotated[int, "> 0"] = 32

    def build(self, context: Context) -> Conditioning:
        """The task: the same trials for all members."""
        like = {"dtype": context.dtype, "device": context.device}
        stimuli, targets = torch.tensor(PHASES[self.group], **like), torch.tensor([[1.0], [0.0]], **like)
        return Conditioning(stimuli, targets, self.per_phase, context.members)


part = ConditioningConfig
