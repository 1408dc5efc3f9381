"""Gradients scaled, clipped and compared, member by member: angles of DFC are measured after clipping."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.numerics.stack import Number, member, scaled
from credit.numerics.trees import Params

CLIP_EPSILON = 1e-6  # added to the norm, as torch's clip_grad_norm_ does


def added(total: Params, gradients: Params) -> Params:
    """Sum of two gradients, the first of which may be empty."""
    if not total:
        return gradients
    return {i: {name: total[i][name] + g for name, g in block.items()} for i, block in gradients.items()}


def clip_each(gradients: Params, limit: Number | None, stacked: bool) -> Params:
    """Every tensor of every member scaled down to the L2 norm `limit`; None: unchanged."""
    if limit is None:
        return gradients
    return {
        layer: {name: g * _scale(norms([g], stacked), limit, g) for name, g in block.items()}
        for layer, block in gradients.items()
    }


def clip_jointly(tensors: Sequence[Tensor], limit: Number | None, stacked: bool) -> list[Tensor]:
    """All tensors (M, ...) of a member scaled down together to the L2 norm `limit`; None: unchanged."""
    if limit is None:
        return list(tensors)
    total = norms(tensors, stacked)
    return [g * _scale(total, limit, g) for g in tensors]


def norms(tensors: Sequence[Tensor], stacked: bool) -> Tensor:
    """Joint L2 norm of the tensors (M, ...) of every member, (M,), or () for a single net.

    In float64, also of float32: torch adds the squares one by one, and loses the fifth digit of 10^6 numbers.
    """
    keep = 1 if stacked else 0
    each = [torch.linalg.vector_norm(g.flatten(keep), dim=-1, dtype=torch.float64) for g in tensors]
    return each[0] if len(each) == 1 else torch.linalg.vector_norm(torch.stack(each, -1), dim=-1)


def difference(ours: Params, reference: Params, stacked: bool) -> Tensor:
    """|ours - reference| / |reference| over all parameters, (M,), or () for a single net."""
    pairs = [(ours[i][name], g) for i, block in reference.items() for name, g in block.items()]
    return norms([a - b for a, b in pairs], stacked) / norms([b for _, b in pairs], stacked)


def unit(gradients: Params, stacked: bool) -> Params:
    """Every tensor of every member divided by its L2 norm; zero stays zero."""

    def one(g: Tensor) -> Tensor:
        norm = norms([g], stacked)
        return g / _fit(torch.where(norm > 0, norm, 1), g)

    return {layer: {name: one(g) for name, g in block.items()} for layer, block in gradients.items()}


def scaled_all(gradients: Params, factor: Number) -> Params:
    """All tensors times a hyperparameter."""
    return {layer: {name: scaled(g, factor) for name, g in block.items()} for layer, block in gradients.items()}


def rescale(
    gradients: Params, factor: float, target_stepsize: Number | None, limit: Number | None, stacked: bool
) -> Params:
    """A gradient of the loss brought to the scale of DFC, factor x target_stepsize, and clipped tensor by tensor.

    target_stepsize None: the scale is left as it is.
    """
    if target_stepsize is not None:
        gradients = scaled_all(scaled_all(gradients, factor), target_stepsize)
    return clip_each(gradients, limit, stacked)


def _scale(norm: Tensor, limit: Number, like: Tensor) -> Tensor:
    return _fit((member(limit, norm) / (norm + CLIP_EPSILON)).clamp(max=1), like)


def _fit(values: Tensor, like: Tensor) -> Tensor:
    """(M,) with trailing axes and the dtype of `like`, to be combined with it."""
    return values.reshape(*values.shape, *[1] * (like.ndim - values.ndim)).to(like.dtype)
