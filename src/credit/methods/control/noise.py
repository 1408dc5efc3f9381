"""Noise of the linearised feedback phase: in full, or drawn only where the output's Jacobian sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from credit.methods.control.frame import Deviation
from credit.numerics.blocks import IN_LANES, Numbers, numbers, over_time
from credit.numerics.rand import Rand
from credit.numerics.seen_noise import Full, Projected, Source


@dataclass(frozen=True)
class LayerNoise:
    """Standard normal noise of a layer. within: zeta (M, B, T, k), or without `rest` all of the noise, (M, B, T, n).
    rest: Y (M, B, k, n)."""

    within: Numbers
    rest: Numbers | None = None

    def source(self, jacobian: Tensor) -> Source:
        """What the jacobian (M, B, k, n) sees of it."""
        within, *rest = (
            t if self.within.stacked else t.unsqueeze(0)
            for t in (n.tensor(jacobian.dtype, jacobian.device) for n in (self.within, self.rest) if n is not None)
        )
        return Projected(within, rest[0], jacobian) if rest else Full(within.transpose(1, 2), jacobian)


def full(draws: Sequence[Tensor | Numbers]) -> list[LayerNoise]:
    """By layer, of draws (M, T, B, n), or (T, B, n) without a stack axis, or of numbers (T, n) of every sample."""
    return [LayerNoise(xi if isinstance(xi, Numbers) else over_time(xi)) for xi in draws]


def draw_over_time(rand: Rand, name: str, frame: Deviation, steps: int) -> list[Numbers]:
    """By layer, from the streams NAME.0, NAME.1, ...: numbers (steps, n) of every sample.

    A replay gives (M, steps, B, n).
    """
    sizes = [pre.shape[-2:] for pre in frame.pre]
    return [
        numbers(rand, f"{name}.{i}", batch, (steps, n), IN_LANES, sample_axis=1) for i, (batch, n) in enumerate(sizes)
    ]


def draw_projected(rand: Rand, name: str, frame: Deviation, steps: int) -> list[LayerNoise]:
    """By layer, from the streams NAME.0 (zeta) and NAME_rest.0 (Y); in full where that takes no more numbers.

    A replay gives zeta (M, B, T, k) and Y (M, B, k, n), or the noise (M, T, B, n).
    """
    n_out, result = frame.pre[-1].shape[-1], []
    for i, pre in enumerate(frame.pre):
        batch, n = pre.shape[-2:]
        if (steps + n) * n_out < steps * n:
            within = numbers(rand, f"{name}.{i}", batch, (steps, n_out), IN_LANES)
            result.append(LayerNoise(within, numbers(rand, f"{name}_rest.{i}", batch, (n_out, n), (1, 0, -1))))
        else:
            result.append(LayerNoise(numbers(rand, f"{name}.{i}", batch, (steps, n), IN_LANES, sample_axis=1)))
    return result
