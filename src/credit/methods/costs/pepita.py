"""A second, modulated forward pass takes the place of the backward pass; masks and projections are extra."""

from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return run.backpropagation(1.1)
