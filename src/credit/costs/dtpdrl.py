"""Layer-wise feedback maps that learn from noise which travels to the output and back (Meulemans et al. 2020)."""

from credit.costs.ddtp_linear import reconstructed
from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs = block_macs(run)
    # of map i: noise up to the output, down to i by the maps above for the disturbed and the clean pass, both gradients
    steps = [sum(macs[i:]) + 2 * sum(macs[i + 1 :]) + 4 * macs[i] for i in range(1, len(macs))]
    return reconstructed(run, steps, 2 * sum(macs[1:]))
