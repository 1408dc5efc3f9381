"""PEPITA as in the authors' PyTorch tutorial for a fully connected net on CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from credit.methods.pepita import Pepita


@dataclass(frozen=True)
class PepitaTorch(Pepita):
    """Fully connected nets only; the dropout mask enters the difference of activities once.

    Published with one hidden layer of 1024 relu units, no biases, he_uniform weights, keep 0.9, batches of 64 and, in
    the task, `partial: nominal`; sgd with rate 0.01, momentum 0.9, `lr_in_velocity`, rates times 0.1 from epochs 60 and
    90 on.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense",)

    last_layer_error: Literal["second_pass", "first_pass"] = "second_pass"
    mask_power: Literal[0, 1, 2] = 1


part = PepitaTorch
