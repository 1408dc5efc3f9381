"""Inverse operators of one layer pair: pseudo-inverse, and the fixed point of dynamic inversion.

Shapes: weight W (M, n_up, n_low), feedback B (M, n_low, n_up), signals (M, batch, n); the stack axis M is optional.
Source: Podlaski & Machens (NeurIPS 2020), whose code solves everything by least squares on the SVD. Here the
smaller side is factorised, and least squares is kept for what has no accurate factorisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from credit.numerics.linalg import pseudo_solve, solve
from credit.numerics.stack import member


def expands(weight: Tensor) -> bool:
    """Whether the layer of weight (M, n_up, n_low) has more upper than lower units."""
    return weight.shape[-2] > weight.shape[-1]


def loop_product(weight: Tensor, feedback: Tensor) -> Tensor:
    """K = W B, or B W where the layer expands: the smaller of the two, (M, d, d)."""
    return feedback @ weight if expands(weight) else weight @ feedback


def invert(weight: Tensor, feedback: Tensor, leak: float | Sequence[float], delta: Tensor) -> Tensor:
    """B (W B - leak I)^-1 delta, in the form (B W - leak I)^-1 B delta where the layer expands; (M, batch, n_low).

    Fixed point of dynamic inversion with linear dynamics. A singular system is solved by least squares.
    """
    product = loop_product(weight, feedback)
    diagonal = product.diagonal(dim1=-2, dim2=-1)
    diagonal.sub_(member(leak, diagonal))
    if expands(weight):
        return solve(product, feedback @ delta.mT).mT
    return (feedback @ solve(product, delta.mT)).mT


def pseudo_invert(weight: Tensor, delta: Tensor) -> Tensor:
    """W^+ delta, (M, batch, n_low), with the Moore-Penrose pseudo-inverse of the present weights."""
    return pseudo_solve(weight, delta.mT).mT
