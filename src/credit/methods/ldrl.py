"""Difference target propagation with the local difference reconstruction loss, L-DRL (Ernoult et al., ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.targets.chain import Link
from credit.methods.targets.losses import FeedbackStep, difference_reconstruction
from credit.methods.targets.rule import TargetPropagation
from credit.numerics.rand import Rand


@dataclass(frozen=True)
class LocalDifferenceReconstruction(TargetPropagation):
    """With small noise the Jacobian of a feedback block becomes the transposed one of its layer (Theorem 4.2), and with
    small beta the updates those of backpropagation (Theorem 4.3).

    The bias of a feedback block has no part in loss or targets, and keeps its initial value.
    """

    def feedback_step(
        self, link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str
    ) -> FeedbackStep:
        return difference_reconstruction(link, params, sigma, rand, stream, self.feedback.samples)


part = LocalDifferenceReconstruction
