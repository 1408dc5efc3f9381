"""Losses of feedback that is not affine in its weights, written out; see `credit.methods.targets.losses`."""

from __future__ import annotations

import torch
from torch import Tensor

from credit.methods.targets.chain import Link, repeated


def difference_reconstruction(
    link: Link, params: dict[str, Tensor], dx: Tensor, dy: Tensor, samples: int
) -> tuple[dict[str, Tensor], Tensor]:
    """(gradients, loss (M,)) of L-DRL with the noise dx, dy (M, R, ...), `samples` rows for every sample."""
    axis, clean = link.axis, link.trace.out
    noisy = link.layer.forward(link.params, repeated(link.below, samples, axis) + dx).out
    given = [clean, noisy, repeated(clean, samples, axis) + dy]
    out, cache = link.feedback.run(params, torch.cat(given, axis))
    base, from_noise, from_output = out.split([y.shape[axis] for y in given], axis)
    base, n = repeated(base, samples, axis), dx.shape[axis]
    apart = from_output - base
    loss = (_sum(apart * apart, axis) - 2 * _sum(dx * (from_noise - base), axis)) / n
    at_base = ((dx - apart) * (2 / n)).unflatten(axis, (-1, samples)).sum(axis + 1)
    grad = torch.cat([at_base, dx * (-2 / n), apart * (2 / n)], axis)
    return link.feedback.backward(params, cache, grad), loss


def reconstruction(
    link: Link, params: dict[str, Tensor], dx: Tensor, samples: int, clean: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """(gradients, loss (M,)) of the denoising reconstruction with the noise dx (M, R, ...); clean: against clean x."""
    axis, below = link.axis, repeated(link.below, samples, link.axis)
    out, cache = link.feedback.run(params, link.layer.forward(link.params, below + dx).out)
    error, n = (below if clean else below + dx) - out, dx.shape[axis]
    return link.feedback.backward(params, cache, error * (-2 / n)), _sum(error * error, axis) / n


def _sum(x: Tensor, axis: int) -> Tensor:
    """Over all axes but that of the stack, (M,)."""
    return torch.sum(x, dim=tuple(range(axis, x.ndim)))
