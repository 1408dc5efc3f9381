"""A simulated chain of all loops at once."""

from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return run.backpropagation(10.0)
