"""Iterations of inference, each a forward and a backward pass through all layers but the first (Song et al. 2024).

The first layer's prediction is the same in all of them; the gradient of the weights is taken once, or at every
iteration at which weights learn.
"""

from dataclasses import replace

from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work

LEARNING = {"last": lambda steps: 1, "last_half": lambda steps: steps - steps // 2, "all": lambda steps: steps}


def cost(run: Run) -> Work:
    macs, steps, which = block_macs(run), run.hyper.get("steps", 64), run.hyper.get("weight_updates", "last")
    if len(macs) == 1:
        return run.backpropagation()
    learns = LEARNING[which](steps) if isinstance(which, str) else len(which)
    again = learns - 1  # predictions of the first layer change with its weights
    total = (1 + again) * macs[0] + 2 * (steps - 1) * sum(macs[1:]) + sum(macs[1:]) + learns * sum(macs)
    return replace(run.backpropagation(total / (3 * sum(macs))), calls=float(steps))
