"""Steps of the feedback blocks; then a forward pass, targets, and gradients of the blocks (Ernoult et al. 2022).

A fused step takes four passes through the weights of its block: F at the noise, T_Q of what the output's noise moves,
two gradients. A stage is not affine in its feedback weights: F, three times G, three gradients, what lies within it.
"""

from collections.abc import Sequence
from dataclasses import replace

from credit.nets.geometry import layers
from credit.nets.work import Run, Work

FUSED, STAGE = 4.0, 10.0


def cost(run: Run) -> Work:
    return iterated(run, FUSED, STAGE)


def block_macs(run: Run) -> list[float]:
    """Multiply-adds of a sample's forward pass, by block."""
    found: dict[str, float] = {}
    for layer in layers(run.net, run.shape, run.n_out):
        size = float(layer.positions)
        for n in layer.weight:
            size *= n
        block = layer.place.partition(".")[0]
        found[block] = found.get(block, 0.0) + size
    return list(found.values())


def iterated(run: Run, plain: float, stage: float) -> Work:
    """`plain` or `stage` passes through a block for every step of its feedback and sample of noise."""
    macs, feedback = block_macs(run), run.hyper["feedback"]
    given, samples = feedback.get("iterations", 0), feedback.get("samples", 1)
    steps = list(given) if isinstance(given, Sequence) else [given] * (len(macs) - 1)
    residual = run.net.get("kind") == "resnet"
    passes = [stage if residual and 0 < i < len(macs) - 1 else plain for i in range(1, len(macs))]
    learned = sum(k * samples * p * c for k, p, c in zip(steps, passes, macs[1:]))
    exact = 3 * sum(macs) - macs[0]
    return replace(run.backpropagation((exact + learned) / (3 * sum(macs))), calls=2.0 + sum(steps))
