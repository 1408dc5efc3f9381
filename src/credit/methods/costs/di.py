"""Simulated loops of a few steps for each layer."""

from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return run.backpropagation(3.0)
