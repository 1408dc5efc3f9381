"""DFC-SSA solves for the steady state; only its feedback learning is simulated."""

from credit.costs.dfc import dynamics
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    return dynamics(run, 3.0)
