"""Reconstruction losses of a feedback map g(y) = phi(Q y + d), and their gradients.

Shapes: Q (M, n, k), d (M, n), inputs y (M, B, k). Means are over batch and units. Source: Meulemans, Carzaniga,
Suykens, Sacramento & Grewe (NeurIPS 2020), "A Theoretical Framework for Target Propagation", and its official code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit.nets import activations
from credit.nets.base import Net, Trace
from credit.nets.dense import affine
from credit.numerics.stack import Number, combine, scaled
from credit.numerics.trees import Params


@dataclass
class FeedbackStep:
    """Gradient {"weight": (M, n, k), "bias": (M, n)} of a feedback map, a missing entry is 0; loss (M,)."""

    gradients: dict[str, Tensor]
    loss: Tensor


def value(own: dict[str, Tensor], activation: str, y: Tensor) -> Tensor:
    """g(y), (M, B, n)."""
    return activations.get(activation).value(affine(y, own["weight"], own.get("bias")))


def difference(own: dict[str, Tensor], activation: str, y: Tensor, base: Tensor) -> Tensor:
    """g(y) - g(base), (M, B, n)."""
    if activation == "linear":
        return (y - base) @ own["weight"].mT
    return value(own, activation, y) - value(own, activation, base)


def difference_loss(
    own: dict[str, Tensor], activation: str, y: Tensor, base: Tensor, noise: Tensor, sigma: Number
) -> FeedbackStep:
    """1/sigma² mean((g(y) - g(base) - noise)²): the difference reconstruction loss of one map.

    y, base (M, B, k): what the map gets from the disturbed and from the clean pass. noise (M, B, n): sigma times a
    standard normal draw.
    """
    if activation == "linear":
        moved = y - base
        error = moved @ own["weight"].mT - noise
        delta, loss = _errors(error, sigma)
        return FeedbackStep({"weight": delta.mT @ moved}, loss)  # the bias cancels
    phi = activations.get(activation)
    pre = [affine(x, own["weight"], own.get("bias")) for x in (y, base)]
    act = [phi.value(a) for a in pre]
    delta, loss = _errors(act[0] - act[1] - noise, sigma)
    above, below = (phi.backward(delta, a, h) for a, h in zip(pre, act, strict=True))
    gradients = {"weight": above.mT @ y - below.mT @ base}
    if "bias" in own:
        gradients["bias"] = (above - below).sum(-2)
    return FeedbackStep(gradients, loss)


def plain_loss(own: dict[str, Tensor], activation: str, y: Tensor, goal: Tensor, sigma: Number = 1.0) -> FeedbackStep:
    """1/sigma² mean((g(y) - goal)²): reconstruction without the difference correction, goal (M, B, n)."""
    phi = activations.get(activation)
    pre = affine(y, own["weight"], own.get("bias"))
    act = phi.value(pre)
    delta, loss = _errors(act - goal, sigma)
    delta = phi.backward(delta, pre, act)
    gradients = {"weight": delta.mT @ y}
    if "bias" in own:
        gradients["bias"] = delta.sum(-2)
    return FeedbackStep(gradients, loss)


def _errors(error: Tensor, sigma: Number) -> tuple[Tensor, Tensor]:
    """Gradient at the error (M, B, n) of 1/sigma² mean(error²), and its value (M,)."""
    factor = combine(lambda s: 1 / s**2, sigma)
    slope = combine(lambda f: 2 * f / (error.shape[-1] * error.shape[-2]), factor)
    return scaled(error, slope), scaled((error * error).mean((-2, -1)), factor)


def disturbed(net: Net, params: Params, trace: Trace, noise: dict[int, Tensor], axis: int) -> dict[int, Tensor]:
    """Outputs (M, B, n_L) of the net where the activities of one hidden layer are disturbed, for each layer of `noise`.

    noise: {layer: (M, B, ...)}, shaped as the layer's output. axis: of the samples. One pass for all layers.
    """
    rows: Tensor | None = None
    for i in range(min(noise), len(net)):
        if rows is not None:
            rows = net.block(i).forward(params[str(i)], rows).out
        if i in noise:
            own = trace.blocks[i].out + noise[i]
            rows = own if rows is None else torch.cat([rows, own], axis)
    return dict(zip(sorted(noise), rows.chunk(len(noise), axis), strict=True))
