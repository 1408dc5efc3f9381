"""Noise of the linearised feedback phase: in full, or drawn only where the output's Jacobian sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from credit.methods.control.frame import Deviation
from credit.numerics.rand import Rand
from credit.numerics.seen_noise import Full, Projected, Source


def full(draws: Sequence[Tensor]) -> list[Callable[[Tensor], Source]]:
    """By layer, of draws (M, T - 1, B, n), or (T - 1, B, n) without a stack axis."""
    return [partial(Full, xi if xi.ndim > 3 else xi.unsqueeze(0)) for xi in draws]


def draw_projected(rand: Rand, name: str, frame: Deviation, steps: int) -> list[Callable[[Tensor], Source]]:
    """By layer, from the streams NAME.0 (zeta) and NAME_rest.0 (Y); in full where that takes no more numbers.

    Each makes a source of the jacobian (M, B, n_L, n).
    """
    n_out, result = frame.pre[-1].shape[-1], []
    for i, pre in enumerate(frame.pre):
        batch, n = pre.shape[-2:]
        projected = (steps + n) * n_out < steps * n
        shapes = {name: (steps, batch, n)}
        if projected:
            shapes = {name: (batch, steps, n_out), f"{name}_rest": (batch, n_out, n)}
        draws = [rand.normal(f"{stream}.{i}", shape).to(pre.dtype) for stream, shape in shapes.items()]
        draws = [xi if pre.ndim > 2 else xi.unsqueeze(0) for xi in draws]
        result.append(partial(Projected if projected else Full, *draws))
    return result
