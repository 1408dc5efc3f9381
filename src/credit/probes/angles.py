"""Angles between updates, and between matrices, in degrees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from credit.methods.base import method
from credit.numerics.trees import Params
from credit.probes.base import Moment


def angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle of two matrices (M, ..., m, n) by the Frobenius inner product, (M, ...) degrees; NaN for a zero matrix.

    The half-angle form 2 atan2(|u - v|, |u + v|) of the unit vectors is used: unlike the arc cosine it keeps full
    precision near 0 and 180 degrees.
    """
    return vector_angle(a.flatten(-2), b.flatten(-2))


def vector_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle of vectors (..., n) in degrees, (...); in float64, since sums over a large layer lose digits in float32."""
    a, b = a.double(), b.double()
    u = a / torch.linalg.vector_norm(a, dim=-1, keepdim=True)
    v = b / torch.linalg.vector_norm(b, dim=-1, keepdim=True)
    half = torch.atan2(torch.linalg.vector_norm(u - v, dim=-1), torch.linalg.vector_norm(u + v, dim=-1))
    return torch.rad2deg(2 * half)


def update_angles(update: Params, reference: Params, stacked: bool = True) -> dict[str, Tensor]:
    """Angles between two updates, (M,) degrees: {"1": first layer's weights, ..., "": all weights and biases together}.

    Layers are counted from 1 at the input. A parameter that `update` does not train counts as a zero for the whole
    net, and its layer has no angle of its own. Source: Meulemans et al. 2021, network-level angle.
    """
    keep = 1 if stacked else 0
    result = {
        str(int(i) + 1): vector_angle(update[i]["weight"].flatten(keep), block["weight"].flatten(keep))
        for i, block in reference.items()
        if i in update
    }
    pairs = [
        (update.get(i, {}).get(name, torch.zeros_like(value)).flatten(keep), value.flatten(keep))
        for i, block in reference.items()
        for name, value in block.items()
    ]
    result[""] = vector_angle(*(torch.cat(side, dim=-1) for side in zip(*pairs, strict=True)))
    return result


@dataclass(frozen=True)
class Angles:
    """Angle between the update that the optimiser was handed and a reference's, on the same mini-batch.

    reference: name of a learning rule without state, such as bp or mn. hyper: the reference's hyperparameters.
    metric: what it is recorded as, angle_REFERENCE if empty.
    """

    metrics: ClassVar[tuple[str, ...]] = ("{metric}|angle_{reference}",)
    uses: ClassVar[dict[str, str]] = {"reference": "methods"}  # fields that name parts, for the code digest

    reference: str = "bp"
    hyper: dict = field(default_factory=dict)
    metric: str = ""

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, degrees (M,))]."""
        rule = method(self.reference, **self.hyper)
        step = rule.gradients(moment.net, moment.params, {}, moment.batch, moment.rand)
        angles = update_angles(moment.info["gradients"], step.gradients)
        return [(self.metric or f"angle_{self.reference}", layer, value) for layer, value in angles.items()]


part = Angles
