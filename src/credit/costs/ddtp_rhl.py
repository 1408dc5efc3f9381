"""As of `ddtp_linear`, with maps that get the units of a random hidden layer; the last hidden layer's gets the output.

The maps are not linear: values of the disturbed and of the clean output are told apart behind them.
"""

from credit.costs.ddtp_linear import hidden_units, reconstructed
from credit.costs.ldrl import block_macs
from credit.nets.work import Run, Work


def cost(run: Run) -> Work:
    macs, units, hidden = block_macs(run), hidden_units(run), run.hyper.get("units", 0)
    maps = [n * hidden for n in units[:-1]] + [units[-1] * run.n_out]
    seen = [run.n_out * hidden] * (len(units) - 1) + [0]
    steps = [sum(macs[i + 1 :]) + 4 * q + 2 * r for i, (q, r) in enumerate(zip(maps, seen))]
    return reconstructed(run, steps, 2 * (sum(maps) + sum(seen)))
