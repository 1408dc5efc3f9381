"""Target propagation whose feedback blocks learn as denoising autoencoders."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.targets.chain import Link
from credit.methods.targets.losses import FeedbackStep, reconstruction
from credit.methods.targets.rule import TargetPropagation
from credit.numerics.rand import Rand


@dataclass(frozen=True)
class Denoising(TargetPropagation):
    """Feedback blocks learn to undo their layer on noisy activities (Lee et al. 2015; code of Ernoult et al. 2022)."""

    def feedback_step(
        self, link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str
    ) -> FeedbackStep:
        return reconstruction(link, params, sigma, rand, stream, self.feedback.samples)
