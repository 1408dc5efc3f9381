"""Alignment of the forward weights with the projection of the output onto the input (PEPITA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.numerics.trees import Params
from credit.probes.angles import angle
from credit.probes.base import Moment


def product_angle(params: Params, projection: Tensor) -> Tensor:
    """Angle of W_1^T W_2^T ... W_L^T (M, n_0, n_L) with F, (M,) degrees, by the Frobenius inner product.

    params: of a dense net. Source: the option `check_cos_norm` of the code of Dellaferrera & Kreiman 2022. PEPITA
    drives the product towards -F, to angles above 90 degrees.
    """
    weights = [block["weight"] for block in params.values()]
    product = weights[-1]  # multiplied from the output down, where the matrices are small
    for weight in reversed(weights[:-1]):
        product = product @ weight
    return angle(product.mT, projection)


@dataclass(frozen=True)
class Alignment:
    """Metric angle_projection: `product_angle` with the projection that the learning rule keeps.

    Put it `on: evaluate` to measure before training and after each epoch, as published. Needs a dense net and a
    learning rule of the PEPITA family; raises ValueError otherwise.
    """

    metrics: ClassVar[tuple[str, ...]] = ("angle_projection",)
    needs: ClassVar[str] = "credit.methods.pepita.Pepita"
    nets: ClassVar[tuple[str, ...]] = ("dense",)
    weights_alone: ClassVar[bool] = True  # may be measured at evaluations, without a mini-batch

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("angle_projection", "", degrees (M,))], of the weights after the update."""
        if moment.net.kind != "dense" or "projection" not in moment.state:
            raise ValueError(
                f"probe alignment needs a dense net and a method with a projection, such as pepita; "
                f"this is a {moment.net.kind} net with {type(moment.method).__name__}"
            )
        return [("angle_projection", "", torch.atleast_1d(product_angle(moment.after, moment.state["projection"])))]


part = Alignment
