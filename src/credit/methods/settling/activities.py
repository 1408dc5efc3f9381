"""Activities from one mini-batch to the next: cleared, or as the last one left them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import State, batch_size
from credit.nets.base import Batch, Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.trees import Params

Activities = dict[str, list[Tensor]]  # {"x": [(M, B, n_0), .., (M, B, n_L)]}, and more of some rules


def found(net: Net, params: Params, state: State, batch: Batch, rand: Rand, names: Sequence[str]) -> Activities:
    """Those of the state, or N(0, 1) draws x_l of the streams `activity.i`, shared by all `names`, where it has none.

    Raises ConfigError for a mini-batch of another size than the one whose activities were kept.
    """
    samples = batch_size(net, params, batch)
    if names[0] in state:
        kept = {name: [state[name][str(i)] for i in range(len(net) + 1)] for name in names}
        before = kept[names[0]][-1].shape[-2]
        if before != samples:
            raise ConfigError(
                f"actions: a mini-batch has {samples} samples, the activities of the one before are of {before}; "
                "without 'reset' all must have the same size"
            )
        return kept
    rand = net.rand(params, rand)
    drawn = [rand.normal(f"activity.{i}", (samples, n)) for i, n in enumerate(widths(net, params))]
    return {name: list(drawn) for name in names}


def cleared(net: Net, params: Params, samples: int, names: Sequence[str]) -> Activities:
    """Zeros for `samples` samples."""
    like, lead = net.like(params), net.lead(params)
    zeros = [like.new_zeros(*lead, samples, n) for n in widths(net, params)]
    return {name: list(zeros) for name in names}


def widths(net: Net, params: Params) -> list[int]:
    """n_0 .. n_L of a dense net."""
    return [params["0"]["weight"].shape[-1], *(block.n_out for block in net.blocks)]


def kept(activities: Activities) -> State:
    """As a rule keeps them in its state."""
    return {name: {str(i): x for i, x in enumerate(layers)} for name, layers in activities.items()}


def clamped(target: Tensor, weights: Tensor | None, free: Tensor) -> Tensor:
    """The target (M, B, n_L), but `free` in units that have no target: those whose weight is 0."""
    target = target.expand(free.shape)
    return target if weights is None else torch.where(weights != 0, target, free)


def flat_input(trace: Trace, like: Tensor) -> Tensor:
    """The input as nodes (M, B, n_0), one for each member; like: nodes of that shape."""
    return trace.blocks[0].input.expand(like.shape)
