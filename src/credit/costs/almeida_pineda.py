"""Sweeps of the activities, and of the errors, which the input has too in the released form."""

from credit.costs.generec import excited, settled
from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs = block_macs(run)
    exact = run.hyper.get("adjoint", "released") == "exact"
    errors = 2 * sum(macs[1:]) if exact else sum(macs) + sum(macs[:-1])
    products = sum(macs) + (sum(macs[1:]) if exact else 0.0)
    return settled(run, {"predict": excited(macs, len(macs)), "learn": errors}, products)
