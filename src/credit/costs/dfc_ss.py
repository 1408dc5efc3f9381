"""DFC-SS: the controller of DFC to its steady state, without the sums over time."""

from credit.costs.dfc import dynamics
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return dynamics(run, 9.0, 6e-9)
