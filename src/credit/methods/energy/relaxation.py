"""Inference in predictive coding, in torch: the value nodes descend in the energy, all layers at once.

Source: Song et al. (Nature Neuroscience 2024), Methods and released code. Every mini-batch is a problem of its own of T
iterations that starts from the feed-forward pass:

    t = 0, ..., T - 1:   E_t, and its gradients at x
                         x <- x - gamma dE_t/dx
                         from t = 1 on: gamma <- gamma * amplifier where E_t < E_{t-1}, else gamma * discount

so that a step which raised the energy is kept, and the following ones are shorter. gamma is one number for all layers
and samples of a member, and starts anew in every mini-batch. "Not lower" includes NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from credit.methods.energy import state
from credit.methods.energy.settings import Inference, iterations
from credit.nets.base import Batch, Net
from credit.numerics.stack import Number, member
from credit.numerics.trees import Params

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, as torch has them


@dataclass
class Moment:
    """Iteration t: the net before the step of x, gradients at what every block's weights give, the rate of the step.

    slopes: gradients at the nodes, None where these do not move.
    """

    now: state.Energy
    deltas: list[Tensor]
    rate: Tensor  # (M,)
    slopes: list[Tensor] | None = None


def relax(
    net: Net, params: Params, batch: Batch, steps: int, inference: Inference, coefficient: float = 1.0,
    before: bool = True, stop_below: float | None = None,
) -> Iterator[Moment]:  # fmt: skip
    """Iterations 0 to `steps` - 1; `params` may be changed in place between them.

    coefficient: of the nodes' energy. before: where the nodes stand, see `state`. stop_below: a member's nodes stay
    once its rate is below this fraction of its start.
    """
    moves = iterations(inference.updates, steps)
    x, rate, start, last = None, None, None, None
    descent = _Adam() if inference.optimizer == "adam" else None
    for t in range(steps):
        now = state.at(net, params, batch, x, before)
        downward = state.deltas(net, now, coefficient, before)
        if rate is None:
            start = rate = spread(inference.lr, now.loss)
        moving = moves[t] and t < steps - 1  # the last step would be seen by nothing
        slopes = state.node_gradients(net, params, now, downward, coefficient, before) if moving else None
        yield Moment(now, downward, rate, slopes)  # here weights may learn
        x, total = now.x, now.total(coefficient)
        if moving:
            step = rate if stop_below is None else torch.where(rate < stop_below * start, 0, rate)
            slopes = slopes if descent is None else descent(slopes)
            x = [a - member_wise(step, a) * g for a, g in zip(x, slopes, strict=True)]
            if last is not None:
                falls = total < last
                rate = torch.where(
                    falls, rate * member(inference.amplifier, rate), rate * member(inference.discount, rate)
                )
        last = total


def member_wise(values: Tensor, like: Tensor) -> Tensor:
    """(M,) with trailing axes, to be combined with `like` (M, ...); () as it is."""
    return values.reshape(*values.shape, *[1] * (like.ndim - values.ndim)) if values.ndim else values


def spread(value: Number, like: Tensor) -> Tensor:
    """A hyperparameter as (M,), or () of a single network. like: shaped so."""
    return torch.zeros_like(like) + member(value, like)


class _Adam:
    """Directions of Adam (Kingma & Ba 2015) for the nodes, without state from another mini-batch."""

    def __init__(self) -> None:
        self.steps, self.first, self.second = 0, None, None

    def __call__(self, slopes: list[Tensor]) -> list[Tensor]:
        self.steps += 1
        a, b = BETAS
        zero = [torch.zeros_like(g) for g in slopes]
        self.first = [a * m + (1 - a) * g for m, g in zip(self.first or zero, slopes, strict=True)]
        self.second = [b * v + (1 - b) * g * g for v, g in zip(self.second or zero, slopes, strict=True)]
        unbiased = [(v / (1 - b**self.steps)).sqrt() for v in self.second]
        return [m / (1 - a**self.steps) / (v + EPSILON) for m, v in zip(self.first, unbiased, strict=True)]
