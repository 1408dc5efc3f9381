"""As of `ldrl`, with the steps of denoising autoencoders: F, T_Q, one gradient; what lies within a stage too."""

from credit.costs.ldrl import iterated
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return iterated(run, 3.0, 4.0)
