"""Energies of connections, summed over all of a net, with their gradients.

A connection takes mu = f(x_pre) w to the nodes x_post. Of x_post and mu, its energy is

    prediction      |x_post - mu|²/2            what predictive coding descends
    hopfield        -f(x_post) mu               what `hopfield` descends, where there is one for each pair of layers
    generec         |x_post|²/2 - f(x_post) mu  what `generec` descends, likewise

each summed over batch and units. The signal -dE/dmu says all of the rest: dE/dx_pre = -f'(x_pre) (signal w^T) and
dE/dw = -f(x_pre)^T signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from credit.methods.settling.chain import Chain
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Connection:
    """From nodes x_before to x_after through block `block`; reverse: through its weight the other way, without bias."""

    before: int
    after: int
    block: int
    reverse: bool = False


def connections(n_blocks: int, recurrent: bool) -> list[Connection]:
    """Those of a layered net: each block forward, and if recurrent backward as well."""
    forward = [Connection(i, i + 1, i) for i in range(n_blocks)]
    return forward + [Connection(i + 1, i, i, reverse=True) for i in range(n_blocks) if recurrent]


class Prediction:
    """|x_post - mu|²/2."""

    def value(self, post: Tensor, rate: Tensor, mu: Tensor) -> Tensor:
        """(M,), summed; post x_post, rate f(x_post) and mu are (M, B, n)."""
        return 0.5 * (post - mu).square().sum((-2, -1))

    def signal(self, post: Tensor, rate: Tensor, mu: Tensor) -> Tensor:
        """-dE/dmu, (M, B, n)."""
        return post - mu

    def gradient(self, post: Tensor, slope: Tensor, mu: Tensor) -> Tensor:
        """dE/dx_post at the mu given, (M, B, n); slope: f'(x_post)."""
        return post - mu


class Hopfield:
    """-f(x_post) mu."""

    def value(self, post: Tensor, rate: Tensor, mu: Tensor) -> Tensor:
        """As of `Prediction`, of (M, B, n)."""
        return -(rate * mu).sum((-2, -1))

    def signal(self, post: Tensor, rate: Tensor, mu: Tensor) -> Tensor:
        """As of `Prediction`, of (M, B, n)."""
        return rate

    def gradient(self, post: Tensor, slope: Tensor, mu: Tensor) -> Tensor:
        """As of `Prediction`, of (M, B, n)."""
        return -slope * mu


class GeneRec(Hopfield):
    """|x_post|²/2 - f(x_post) mu."""

    def value(self, post: Tensor, rate: Tensor, mu: Tensor) -> Tensor:
        """As of `Prediction`, of (M, B, n)."""
        return super().value(post, rate, mu) + 0.5 * post.square().sum((-2, -1))

    def gradient(self, post: Tensor, slope: Tensor, mu: Tensor) -> Tensor:
        """As of `Prediction`, of (M, B, n)."""
        return super().gradient(post, slope, mu) + post


ENERGIES = {"prediction": Prediction(), "hopfield": Hopfield(), "generec": GeneRec()}


def _means(chain: Chain, rates: Sequence[Tensor], one: Connection) -> Tensor:
    if one.reverse:
        return chain.down(rates[one.before], one.block)
    return chain.blocks[one.block].linear(chain.params[one.block], rates[one.before])


def of_nodes(
    energy: Prediction | Hopfield, chain: Chain, x: list[Tensor], net: Sequence[Connection]
) -> tuple[Tensor, list[Tensor | float]]:
    """(energy (M,), its gradients at all nodes, each (M, B, n), 0.0 at nodes without connections)."""
    rates, slopes = ([f(x, i) for i in range(len(x))] for f in (chain.rate, chain.slope))
    total, gradients = 0.0, [0.0] * len(x)
    for one in net:
        post, mu = x[one.after], _means(chain, rates, one)
        signal = energy.signal(post, rates[one.after], mu)
        back = chain.up(signal, one.block) if one.reverse else chain.down(signal, one.block)
        total = total + energy.value(post, rates[one.after], mu)
        gradients[one.after] = gradients[one.after] + energy.gradient(post, slopes[one.after], mu)
        gradients[one.before] = gradients[one.before] - slopes[one.before] * back
    return total, gradients


def of_weights(energy: Prediction | Hopfield, chain: Chain, x: list[Tensor], net: Sequence[Connection]) -> Params:
    """Gradient of the energy at weights (M, n_out, n_in) and biases (M, n_out), in the structure of the parameters."""
    rates, found = [chain.rate(x, i) for i in range(len(x))], {}
    for one in net:
        signal = energy.signal(x[one.after], rates[one.after], _means(chain, rates, one))
        ends = (signal, rates[one.before]) if one.reverse else (rates[one.before], signal)
        block = found.setdefault(str(one.block), {})
        for name, product in chain.product(*ends, one.block).items():
            if name == "weight" or not one.reverse:
                block[name] = block.get(name, 0.0) - product
    return found
