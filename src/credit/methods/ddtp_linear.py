"""DDTP-linear: direct difference target propagation with linear feedback (Meulemans et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from credit.methods.reconstruction.direct import Direct
from credit.methods.reconstruction.settings import Feedback


@dataclass(frozen=True)
class DDTPLinear(Direct):
    """Defaults are the published settings for MNIST. In the official code the last hidden layer has no bias.

    The feedback biases have no part in losses or targets, and keep their initial values.
    """

    target_stepsize: Annotated[float, "> 0"] = 0.06096940412767466
    feedback: Feedback = Feedback(
        sigma=0.0907524824699504,
        lr=1.6378232822128718e-4,
        betas=(0.999, 0.999),
        eps=2.8384e-4,
        decay=5.836204840235672e-7,
    )


part = DDTPLinear
