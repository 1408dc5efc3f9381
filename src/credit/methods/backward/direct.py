"""What direct feedback rules share: one fixed random matrix from the output to each hidden block."""

from __future__ import annotations

from torch import Tensor

from credit.methods.base import Forward, Step
from credit.nets.base import Net
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params


def direct_feedback(net: Net, params: Params, rand: Rand, scheme: str | dict, scale: float) -> dict[str, Tensor]:
    """B_i (M, n_i, n_L) for every hidden block; n_i counts the block's outputs after pooling."""
    like, rand = net.like(params), net.rand(params, rand)
    return {
        str(i): scaled(init(scheme, (net.block(i).n_out, net.n_out), rand, f"feedback.{i}"), scale).to(like)
        for i in range(len(net) - 1)
    }


def direct_step(net: Net, run: Forward, feedback: dict[str, Tensor], signal: Tensor) -> Step:
    """Hidden blocks get B_i signal as the gradient at their output, the last block gets the error.

    signal: (M, B, n_L), already carrying the factor 1/B of a batch mean.
    """
    gradients, deltas = {}, []
    for i, step in enumerate(run.trace.blocks):
        block, last = net.block(i), i == len(net) - 1
        grad = run.error if last else signal @ feedback[str(i)].mT
        delta = block.local(step, grad)
        gradients[str(i)] = block.weight_gradient(step, delta)
        deltas.append(delta)
    return Step(gradients, run.info | {"deltas": deltas})
