"""Sweeps of both phases, each with a product from below and one from above for every layer that moves."""

from dataclasses import replace

from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs = block_macs(run)
    settles = {"predict": excited(macs, len(macs)), "learn": excited(macs, len(macs) - 1)}
    both = run.hyper.get("negative_phase", True) and "predict" in phases(run)
    return settled(run, settles, sum(macs) * (2 if both else 1))


def excited(macs: list[float], top: int) -> float:
    """A sweep over layers 1 .. top, driven from both sides: multiply-adds of a sample."""
    return sum(macs[:top]) + sum(macs[1 : top + 1])


def phases(run: Run) -> list[str]:
    """Actions that relax."""
    return [action for action in run.hyper.get("actions", ("predict", "learn")) if action != "reset"]


def settled(run: Run, sweeps: dict[str, float], products: float) -> Work:
    """Multiply-adds of a sample: a sweep of each action, then `products`; and the forward pass that is measured."""
    macs, steps = block_macs(run), run.hyper.get("steps", 64)
    total = sum(macs) + products + steps * sum(sweeps[action] for action in phases(run))
    return replace(run.backpropagation(total / (3 * sum(macs))), calls=float(steps * len(phases(run))))
