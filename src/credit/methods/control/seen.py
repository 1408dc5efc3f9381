"""The linear feedback phase with projected noise, for nets on the CPU: groups of samples that stay in the cache.

The fast form of `credit.methods.control.feedback.correlated`, with the same numbers up to rounding (`loops.seen`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.methods.control.loops import seen as loops
from credit.methods.control.loops.draws import draws_of
from credit.methods.control.loops.step import settings
from credit.methods.control.noise import LayerNoise
from credit.numerics.memory import in_memory
from credit.numerics.stack import Number, table
from credit.numerics.threads import as_array, share
from credit.numerics.tiles import SIDE

WIDEST = 32  # outputs, beyond which the matrices of a group leave the cache


def possible(frame: Deviation, controller: Controller, noise: Sequence[LayerNoise]) -> bool:
    """Whether `correlated` here can do it: hidden layers with projected noise, few outputs, memory of the CPU."""
    return (
        len(frame) > 1
        and frame.pre[-1].shape[-1] <= WIDEST
        and all(layer.rest is not None for layer in noise[:-1])
        and noise[-1].rest is None
        and (controller.instant, controller.proactive, controller.leak) == (True, False, "control")
        and in_memory(*frame.weights, *frame.slopes)
    )


def correlated(
    frame: Deviation,
    feedback: Sequence[Tensor],
    controller: Controller,
    factors: Sequence[Number],
    noise: Sequence[LayerNoise],
) -> list[Tensor]:
    """Sum over t and samples of v_i^a[t] u[t+1]^T to first order in the noise, (M, n_i, n_L) by layer."""
    stacked = frame.act[0].ndim > 2
    weights, slopes, feedback = (
        [t if stacked else t.unsqueeze(0) for t in tensors] for tensors in (frame.weights, frame.slopes, feedback)
    )
    members, batch, n_out = slopes[-1].shape
    kind, sizes = as_array(slopes[0]).dtype, [s.shape[-1] for s in slopes]
    gains, rows = table(factors, members, kind), torch.cat(feedback, -2)
    groups, upper = -(-batch // SIDE), torch.cat([w.flatten(1) for w in weights[1:]], -1)
    drawn, correlation = rows.new_empty(members, groups, *rows.shape[1:]), rows.new_empty(members, groups, n_out, n_out)
    net = loops.Net(*map(as_array, (upper, torch.cat(slopes, -1), rows)), np.array(sizes))
    share(
        loops.loop, members * groups, net, draws_of([n.within for n in noise], members, rows.dtype),
        draws_of([n.rest for n in noise[:-1]], members, rows.dtype), gains, settings(controller, members, kind),
        controller.steps, drawn.numpy(), correlation.numpy(),
    )  # fmt: skip
    factor = torch.from_numpy(np.repeat(gains, sizes, -1)).unsqueeze(-1)
    result = torch.addcmul(rows @ correlation.sum(1), drawn.sum(1), factor).split(sizes, -2)
    return list(result) if stacked else [g.squeeze(0) for g in result]
