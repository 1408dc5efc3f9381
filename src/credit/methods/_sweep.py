"""The backward sweep that backpropagation and feedback alignment share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from credit.nets.base import Net, Params, Trace


def sweep(net: Net, trace: Trace, error: Tensor, weights: Mapping[str, Tensor]) -> tuple[Params, list[Tensor]]:
    """Carry the output error down through `weights` ({block: weight, shaped as the forward weight}).

    error: gradient at the output, (M, B, n_out). Returns gradients and, by block, the gradients at the
    pre-activations. With the forward weights this is backpropagation.
    """
    gradients: Params = {}
    deltas: list[Tensor] = []
    for i in reversed(range(len(net))):
        block, step = net.block(i), trace.blocks[i]
        delta = block.local(step, error)
        gradients[str(i)] = block.weight_gradient(step, delta)
        deltas.append(delta)
        if i > 0:
            error = block.pull(weights[str(i)], delta, step)
    return dict(reversed(gradients.items())), deltas[::-1]
