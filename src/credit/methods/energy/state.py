"""The energy of a net with value nodes, and its gradients, block by block.

Source: Song et al. (Nature Neuroscience 2024), Methods. With x_l the value nodes of hidden block l and mu_l what the
block below predicts of them,

    E = 1/2 sum_l ||x_l - mu_l||^2 + loss,    summed over samples and units

nodes "before": x_l takes the place of the pre-activation, mu_l = W_l f(x_{l-1}) + b_l (published); "after": that of
the block's output, mu_l = f(W_l x_{l-1} + b_l). The output block has no node: its energy is the loss. With f = identity
both are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit.nets.base import Batch, BlockTrace, Net
from credit.numerics.trees import Params


@dataclass
class Energy:
    """A net at given value nodes x_1, ..., x_{L-1}, (M, B, ...) each.

    mu, eps: predictions of the nodes, and x - mu. traces: of all blocks. error: gradient of the loss at the output,
    (M, B, n_out), of single samples, that is without the 1/B of a mean. loss, energy: of all samples, (M,).
    """

    x: list[Tensor]
    mu: list[Tensor]
    eps: list[Tensor]
    traces: list[BlockTrace]
    error: Tensor
    loss: Tensor
    energy: Tensor

    @property
    def output(self) -> Tensor:
        """(M, B, n_out)."""
        return self.traces[-1].out

    def total(self, coefficient: float) -> Tensor:
        """coefficient times the nodes' energy, plus the loss, (M,)."""
        return self.energy + self.loss if coefficient == 1 else coefficient * self.energy + self.loss


def at(net: Net, params: Params, batch: Batch, x: list[Tensor] | None, before: bool = True) -> Energy:
    """The net at value nodes `x`, (M, B, ...) each, or, with None, at those of its feed-forward pass.

    before: see the module.
    """
    below, nodes, predictions, traces = batch.x, [], [], []
    last = len(net) - 1
    for i in range(len(net)):
        block, own = net.block(i), params[str(i)]
        below = _fitting(own, below, len(net.lead(params)))
        mu = block.linear(own, below)
        if i < last and before:
            nodes.append(mu if x is None else x[i])
            predictions.append(mu)
            trace = block.activate(below, nodes[i])
        else:
            trace = block.activate(below, mu)
            if i < last:
                predictions.append(trace.out)
                nodes.append(trace.out if x is None else x[i])
        trace.params = own
        traces.append(trace)
        below = trace.out if before or i == last else nodes[i]
    eps = [a - b for a, b in zip(nodes, predictions, strict=True)]
    weights = () if batch.weights is None else (batch.weights,)
    loss, error = net.loss.value_and_gradient(below, batch.y, *weights)
    count = samples(net, below)
    energy = sum((squares(e, len(net.lead(params))) for e in eps), torch.zeros_like(loss))
    return Energy(nodes, predictions, eps, traces, error * count, loss * count, 0.5 * energy)


def deltas(net: Net, now: Energy, coefficient: float = 1.0, before: bool = True) -> list[Tensor]:
    """Gradients of the energy at what every block's weights give, W_l h_{l-1} + b_l, (M, B, ...), the lowest first."""
    hidden = []
    for i, e in enumerate(now.eps):
        up = -e if coefficient == 1 else -coefficient * e
        hidden.append(up if before else net.block(i).local(now.traces[i], up))
    return [*hidden, net.block(len(net) - 1).local(now.traces[-1], now.error)]


def node_gradients(
    net: Net, params: Params, now: Energy, downward: list[Tensor], coefficient: float = 1.0, before: bool = True
) -> list[Tensor]:
    """dE/dx_l = eps_l - f'(x_l) (W_{l+1}^T eps_{l+1}), (M, B, ...). downward: `deltas` of the same state."""
    found = []
    for i, e in enumerate(now.eps):
        above = net.block(i + 1)
        pulled = above.pull(params[str(i + 1)]["weight"], downward[i + 1], now.traces[i + 1])
        pulled = net.block(i).local(now.traces[i], pulled) if before else pulled.reshape(e.shape)
        found.append(pulled + (e if coefficient == 1 else coefficient * e))
    return found


def weight_gradients(net: Net, now: Energy, downward: list[Tensor]) -> Params:
    """dE/dW_l and dE/db_l, (M, ...), with the 1/B of a loss that is a mean over the batch."""
    count = samples(net, now.output)
    scaled = downward if count == 1 else [d / count for d in downward]
    return {str(i): net.block(i).weight_gradient(t, d) for i, (t, d) in enumerate(zip(now.traces, scaled, strict=True))}


def samples(net: Net, output: Tensor) -> int:
    """What a loss that is a mean is multiplied by, so that it is a sum over samples: each then relaxes by itself.

    output: (M, B, n_out).
    """
    return 1 if net.loss.summed else output.shape[-2]


def squares(e: Tensor, lead: int) -> Tensor:
    """Sum of squares of every member, (M,), or () where `lead`, the number of axes before the samples, is 0."""
    return e.square().flatten(lead).sum(-1) if e.numel() else e.new_zeros(e.shape[:lead])


def _fitting(params: dict[str, Tensor], x: Tensor, lead: int) -> Tensor:
    """x (M or 1, B, ...) as the block takes it: of all members, and images flattened where the weight is a matrix."""
    weight = params["weight"]
    x = x.flatten(weight.ndim - 1) if x.ndim > weight.ndim else x
    return x.expand(weight.shape[0], *x.shape[1:]) if lead else x
