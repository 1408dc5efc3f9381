"""PEPITA as in the authors' program for convolutional nets, with its two oddities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from credit.methods.pepita import Pepita


@dataclass(frozen=True)
class PepitaConv(Pepita):
    """The update of the filters has the opposite sign of the paper's rule and is divided by the batch size twice.

    Therefore the filters hardly move, by 5e-9 of their size in a mini-batch, and only the readout learns;
    `pepita_conv_corrected` mends both. Published with one convolution of 32 filters, no biases, no dropout,
    torch_default weights, batches of 50; sgd with rate 0.01, momentum 0.9, `lr_in_velocity`, rates times 0.1 from
    epochs 10, 30 and 60 on. On a dense net: what the same program does there.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")

    last_layer_error: Literal["second_pass", "first_pass"] = "first_pass"
    mask_power: Literal[0, 1, 2] = 0
    conv_sign: Literal["as_released", "pepita"] = "as_released"
    conv_positions: Literal["mean", "sqrt", "sum"] = "mean"
    conv_divisions: Literal[1, 2] = 2


part = PepitaConv
