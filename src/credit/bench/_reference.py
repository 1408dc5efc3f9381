"""Official timings, made on another machine, carried over to this one by a matrix product that was timed on both."""

from __future__ import annotations

from collections.abc import Callable

import torch

# seconds on the machine of the official timings: (10000 x 784) (784 x 1000), float32, one thread
PRODUCT_SECONDS = 0.264


def product() -> Callable[[], None]:
    """The reference product, to be timed among the other runs."""
    a, b = torch.rand(10_000, 784), torch.rand(784, 1000)

    def run() -> None:
        a @ b

    return run


def official(seconds: float, product_here: float) -> float:
    """What an official program that took `seconds` there would take here."""
    return seconds * product_here / PRODUCT_SECONDS
