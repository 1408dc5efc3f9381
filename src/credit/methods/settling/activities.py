"""Activities from one mini-batch to the next: cleared, or as the last one left them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import State
from credit.nets.base import Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.trees import Params

Activities = dict[str, list[Tensor]]  # {"x": [(M, B, n_0), .., (M, B, n_L)]}, and more of some rules


def found(net: Net, params: Params, state: State, x0: Tensor, rand: Rand, names: Sequence[str]) -> Activities:
    """Those of the state with the input x0 (M, B, n_0); where it has none, all `names` start as copies of x.

    Its layers above the input are then N(0, 1) draws, of the streams `activity.1` and so on. Raises ConfigError for a
    mini-batch of another size than the one whose activities were kept.
    """
    samples = x0.shape[-2]
    if "x" in state:
        before = {name: [state[name][str(i)] for i in range(len(net) + 1)] for name in names}
        if before["x"][0].shape[-2] != samples:
            raise ConfigError(
                f"actions: a mini-batch has {samples} samples, the activities of the one before are of "
                f"{before['x'][0].shape[-2]}; without 'reset' all must have the same size"
            )
        return before | {"x": [x0, *before["x"][1:]]}
    rand = net.rand(params, rand)
    drawn = [rand.normal(f"activity.{i}", (samples, block.n_out)) for i, block in enumerate(net.blocks, 1)]
    return {name: [x0, *drawn] for name in names}


def cleared(net: Net, x0: Tensor, names: Sequence[str]) -> Activities:
    """Zeros, but for the input x0 (M, B, n_0) of x."""
    zeros = [x0.new_zeros(*x0.shape[:-1], block.n_out) for block in net.blocks]
    return {name: [x0 if name == "x" else torch.zeros_like(x0), *zeros] for name in names}


def kept(activities: Activities) -> State:
    """As a rule keeps them in its state."""
    return {name: {str(i): x for i, x in enumerate(layers)} for name, layers in activities.items()}


def clamped(target: Tensor, weights: Tensor | None, free: Tensor) -> Tensor:
    """The target (M, B, n_L), but `free` in units that have no target: those whose weight is 0."""
    target = target.expand(free.shape)
    return target if weights is None else torch.where(weights != 0, target, free)


def inputs(net: Net, params: Params, trace: Trace) -> Tensor:
    """The input as nodes x_0 (M, B, n_0), one for each member."""
    x = trace.blocks[0].input
    return x.expand(*net.lead(params), *x.shape[-2:])
