"""Parallel L-DRL: one step of all feedback blocks with many noise samples (code of Ernoult et al., ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.methods.targets.chain import Link
from credit.methods.targets.losses import FeedbackStep, difference_reconstruction
from credit.methods.targets.rule import TargetPropagation
from credit.methods.targets.settings import Feedback
from credit.numerics.rand import Rand


@dataclass(frozen=True)
class ParallelLocalDifferenceReconstruction(TargetPropagation):
    """As `ldrl` with one step of `feedback.samples` noise samples for every mini-batch. Not in the paper's tables.

    Adam also decays the biases of the feedback blocks, which have no gradient of their own; nothing depends on them.
    """

    excludes: ClassVar[str] = "credit.methods.targets.names.parallel"

    feedback: Feedback = Feedback(iterations=1, samples=10, optimizer="adam", lr=3e-4, decay=1e-4)

    def feedback_step(
        self, link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str
    ) -> FeedbackStep:
        step = difference_reconstruction(link, params, sigma, rand, stream, self.feedback.samples)
        step.gradients |= {n: torch.zeros_like(p) for n, p in params.items() if n not in step.gradients}
        return step


part = ParallelLocalDifferenceReconstruction
