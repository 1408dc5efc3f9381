"""Sweeps with a prediction of every layer, and the errors of those above carried down to all hidden ones."""

from credit.costs.generec import settled
from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs = block_macs(run)
    sweep = sum(macs) + sum(macs[1:])
    return settled(run, {"predict": sweep, "learn": sweep}, sum(macs))
