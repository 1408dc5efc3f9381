"""A forward and a backward pass for every step of the optimiser on a mini-batch."""

from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return run.backpropagation(float(run.hyper.get("steps", 1)))
