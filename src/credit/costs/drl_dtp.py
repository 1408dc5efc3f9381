"""Layer-wise feedback maps that learn to undo their layer on noise: layer, map, gradient (Meulemans et al. 2020)."""

from credit.costs.ddtp_linear import reconstructed
from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs = block_macs(run)
    return reconstructed(run, [3 * c for c in macs[1:]], 2 * sum(macs[1:]))
