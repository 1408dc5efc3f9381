"""The backward sweep that backpropagation and feedback alignment share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from credit.nets.base import Net, Trace
from credit.numerics.trees import Params


def sweep(
    net: Net, trace: Trace, error: Tensor, weights: Mapping[str, Tensor] | None = None, masks: str = "in_sweep"
) -> tuple[Params, list[Tensor | None]]:
    """Carry the output error down through `weights` ({block: weight, shaped as the forward weight}).

    error: gradient at the output, (M, B, n_out). Returns gradients and, by block, the gradients at the
    pre-activations. weights: None takes the forward weights, which is backpropagation. A stage of several layers is
    then passed by its `backward`, and has no such gradient (None); layers are passed by their pieces, which do the same
    and give it. masks: "in_sweep", or "after_sweep" as in
    PEPITA's code: what goes down past a dropout mask is not masked, only the deltas are in the end (dense nets).
    """
    late = masks == "after_sweep"
    gradients: Params = {}
    deltas: list[Tensor | None] = []
    for i in reversed(range(len(net))):
        block, step = net.block(i), trace.blocks[i]
        if weights is None and not hasattr(block, "pull"):
            gradients[str(i)], error = block.backward(step, error, i > 0)
            deltas.append(None)
            continue
        delta = block.local(replace(step, mask=None) if late else step, error)
        masked = delta * step.mask if late and step.mask is not None else delta
        gradients[str(i)] = block.weight_gradient(step, masked)
        deltas.append(masked)
        if i > 0:
            weight = step.params["weight"] if weights is None else weights[str(i)]
            error = block.pull(weight, delta, step)
    return dict(reversed(gradients.items())), deltas[::-1]
