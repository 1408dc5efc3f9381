"""Moves with the energy of every connection and its gradient on both sides, then steps of the weights."""

from credit.costs.generec import settled
from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    directions = 2 if run.hyper.get("connectivity", "forward") == "recurrent" else 1
    both = 2 * directions * sum(block_macs(run))
    steps = run.hyper.get("learning_steps", 1) * (2 if run.hyper.get("negative_phase", False) else 1)
    return settled(run, {"predict": both, "learn": both}, both * steps)
