"""Direct feedback maps that learn from noise which travels from their layer to the output (Meulemans et al. 2020).

Feedback learns in passes of its own too: what they cost is shared out among the updates.
"""

from collections.abc import Sequence
from dataclasses import replace

from credit.costs.ldrl import block_macs
from credit.nets.geometry import layers
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs, maps = block_macs(run), [n * run.n_out for n in hidden_units(run)]
    # noise up to the output, then the map and its gradient
    return reconstructed(run, [sum(macs[i + 1 :]) + 2 * q for i, q in enumerate(maps)], sum(maps))


def reconstructed(run: Run, steps: Sequence[float], targets: float) -> Work:
    """steps, targets: multiply-adds of a sample in a step of each feedback map, and for all targets."""
    hyper, forward = run.hyper, sum(block_macs(run))
    given = hyper["feedback"].get("iterations", 1)
    several = list(given) if isinstance(given, Sequence) else [given] * len(steps)
    learned = sum(n * step for n, step in zip(several, steps))
    alone = (hyper["pretrain_epochs"] + run.epochs * hyper["extra_feedback_passes"]) / max(run.epochs, 1)
    whole = 2 * forward + targets + learned + alone * (forward + learned)
    return replace(run.backpropagation(whole / (3 * forward)), calls=2.0 + (1 + alone) * sum(several))


def hidden_units(run: Run) -> list[int]:
    """Numbers that each block but the last hands to the next one, after pooling."""
    blocks = layers(run.net, run.shape, run.n_out)[:-1]
    return [b.kept - (b.weight[0] * b.positions if len(b.weight) > 2 else 0) for b in blocks]
