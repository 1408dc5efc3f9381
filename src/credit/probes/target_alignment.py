"""How straight an update moves the output to its target (Song et al. 2024, Figure 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.probes.base import Moment


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle of vectors (..., n), (...), in float64; NaN where one of them is 0."""
    a, b = a.double(), b.double()
    norms = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return (a * b).sum(-1) / norms


@dataclass(frozen=True)
class TargetAlignment:
    """Metrics target_alignment, the mean over the mini-batch of cos(p' - p, y - p), and target_angle, the same as an
    angle in degrees, arccos(min(target_alignment, 1)).

    p and p': outputs for the samples of the mini-batch before and after the update, both fed forward; y: their targets.
    A sample whose output does not move, or which is at its target, makes both NaN.
    """

    metrics: ClassVar[tuple[str, ...]] = ("target_alignment", "target_angle")

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("target_alignment", "", (M,)), ("target_angle", "", degrees (M,))]."""
        net, batch = moment.net, moment.batch
        before, after = (net.predict(params, batch.x) for params in (moment.params, moment.after))
        target = net.loss.targets(batch.y, before.shape[-1], before.dtype)
        mean = torch.atleast_1d(cosine(after - before, target - before).mean(-1))
        angle = torch.rad2deg(torch.acos(mean.clamp(max=1.0)))
        return [("target_alignment", "", mean), ("target_angle", "", angle)]


part = TargetAlignment
