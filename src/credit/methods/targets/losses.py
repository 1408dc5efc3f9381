"""Losses of feedback blocks, with the gradients of their weights in closed form.

A feedback block G(y) = T_Q rho(U y) + c of a layer is affine in Q: no autograd is needed; of a stage see `staged`. Sums
are over features, means over the batch. Source: Ernoult et al. (ICML 2022), and its official code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit.methods.targets import staged
from credit.methods.targets.chain import Link, repeated
from credit.numerics.rand import Rand


@dataclass
class FeedbackStep:
    """Gradient {"weight": (M, ...), "bias": (M, ...)} of a feedback block, a missing entry is 0; loss (M,)."""

    gradients: dict[str, Tensor]
    loss: Tensor


def difference_reconstruction(
    link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str, samples: int = 1
) -> FeedbackStep:
    """L-DRL, -2 <sum dx (G(F(x + dx)) - G(y))> + <||G(y + dy) - G(y)||²>, y = F(x), of one block (paper, section 4).

    params: of the feedback block, (M, ...). dx, dy: normal noise of standard deviation `sigma` from the streams
    STREAM_input and STREAM_output. The noisy reconstruction unpools with the noisy pass's indices, the others with the
    clean ones. samples: draws for every sample of the batch, averaged. The bias cancels.
    """
    axis, feedback = link.axis, link.feedback
    dx = sigma * rand.normal(f"{stream}_input", _rows(link.below, samples, axis))
    dy = sigma * rand.normal(f"{stream}_output", _rows(link.trace.out, samples, axis))
    if not feedback.affine:
        return FeedbackStep(*staged.difference_reconstruction(link, params, dx, dy, samples))
    weight, clean = params["weight"], repeated(link.rates, samples, axis)
    p = link.disturbed(dx, samples)[0] - clean
    route = None if link.route is None else repeated(link.route, samples, axis)
    v = feedback.rates(repeated(link.trace.out, samples, axis) + dy, route) - clean
    trace, dx = _rows_of(link, samples), link.flat(dx)
    out = feedback.linear(weight, v, trace)
    along, across = feedback.correlation(dx, p, trace), feedback.correlation(out, v, trace)
    n = v.shape[axis]
    # sum dx (T_Q p) is the inner product of Q and its own gradient: the loss costs nothing more
    loss = (_sum(out * out, axis) - 2 * _sum(weight * along, axis)) / n
    return FeedbackStep({"weight": (across - along).mul_(2 / n)}, loss)


def reconstruction(
    link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str, samples: int = 1, clean: bool = False
) -> FeedbackStep:
    """Denoising reconstruction <||x + dx - G(F(x + dx))||²> of one block, for DTP and TP (Lee et al. 2015).

    Arguments as above, params (M, ...). clean: the error is that of the clean x, as in a variant of the official code.
    """
    axis, feedback = link.axis, link.feedback
    dx = sigma * rand.normal(f"{stream}_input", _rows(link.below, samples, axis))
    if not feedback.affine:
        return FeedbackStep(*staged.reconstruction(link, params, dx, samples, clean))
    weight = params["weight"]
    q, trace = link.disturbed(dx, samples)[0], _rows_of(link, samples)
    below = repeated(link.below, samples, axis)
    error = link.flat(below if clean else below + dx) - feedback.linear(weight, q, trace)
    if "bias" in params:
        error = error - feedback.broadcast(params["bias"])
    n = q.shape[axis]
    gradients = {"weight": feedback.correlation(error, q, trace).mul_(-2 / n)}
    if "bias" in params:
        features = [a for a in range(axis, error.ndim) if a != (axis + 1)]
        gradients["bias"] = error.sum(features).mul_(-2 / n)
    return FeedbackStep(gradients, _sum(error * error, axis) / n)


def _rows(x: Tensor, samples: int, axis: int) -> tuple[int, ...]:
    """Shape of the noise for x (M, B, ...), without the stack axis, which `Rand` adds."""
    return (x.shape[axis] * samples, *x.shape[axis + 1 :])


def _rows_of(link: Link, samples: int):
    """The layer's trace with an input of as many rows as the noise has."""
    if samples == 1:
        return link.trace
    shape = list(link.trace.input.shape)
    shape[link.axis] *= samples
    blank = link.trace.input.new_empty(1).expand(shape)
    return type(link.trace)(blank, link.trace.pre, link.trace.act, link.trace.out)


def _sum(x: Tensor, axis: int) -> Tensor:
    """Over all axes but that of the stack, (M,)."""
    return torch.sum(x, dim=tuple(range(axis, x.ndim)))
