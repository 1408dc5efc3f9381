"""PEPITA for convolutional nets with filters that learn; not what was published, see `pepita_conv`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from credit.methods.pepita import Pepita


@dataclass(frozen=True)
class PepitaConvCorrected(Pepita):
    """The paper's rule for layers with shared weights, summed over the positions that share a weight.

    The sum is averaged over the batch once. The readout is trained as in the released program.
    """

    nets: ClassVar[tuple[str, ...]] = ("conv",)

    last_layer_error: Literal["second_pass", "first_pass"] = "first_pass"
    mask_power: Literal[0, 1, 2] = 0
    conv_sign: Literal["as_released", "pepita"] = "pepita"
    conv_positions: Literal["mean", "sqrt", "sum"] = "sum"
    conv_divisions: Literal[1, 2] = 1


part = PepitaConvCorrected
