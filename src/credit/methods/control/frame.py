"""How the network dynamics is written down: as deviations from the feedforward state, or in absolute values.

Both frames offer the same operations, so that everything above them is written once. In the *deviation* frame a
voltage or rate means its value minus the feedforward value. Nothing large is subtracted from something almost
equal to it: teaching signals keep full relative precision however small the control is, also in single precision.
The *absolute* frame is the form of the equations in print; tests hold one against the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit.nets import differences
from credit.nets.activations import Linear, difference
from credit.nets.base import Net, Trace
from credit.nets.dense import affine
from credit.numerics.trees import Params


class Deviation:
    """Voltages and rates minus their feedforward values.

    trace: the feedforward pass. `rest` holds the rates of the feedforward state that have to be added to a rate to
    make it absolute, the clamped input first.
    """

    def __init__(self, net: Net, params: Params, trace: Trace) -> None:
        self.phi = [block.phi for block in net.blocks]
        self.pre = [t.pre for t in trace.blocks]
        self.act = [t.act for t in trace.blocks]
        self.input = trace.blocks[0].input
        self.weights = [params[str(i)]["weight"] for i in range(len(net))]
        self.members = net.members(params)
        self.rest: list[Tensor | None] = [self.input, *self.act[:-1]]
        self.slopes = [phi.derivative(v, r) for phi, v, r in zip(self.phi, self.pre, self.act, strict=True)]

    def __len__(self) -> int:
        return len(self.phi)

    def voltage(self, i: int) -> Tensor:
        """The feedforward voltage of layer i in this frame, (M, B, n_i)."""
        return torch.zeros_like(self.pre[i])

    def start_rate(self, i: int) -> Tensor:
        """The feedforward rate of layer i in this frame, (M, B, n_i)."""
        return torch.zeros_like(self.act[i])

    def basal(self, i: int, rate: Tensor) -> Tensor:
        """Basal voltage (M, B, n_i) of layer i > 0 from the rates (M, B, n_{i-1}) of the layer below."""
        return rate @ self.weights[i].mT

    def rate(self, i: int, voltage: Tensor) -> Tensor:
        """Firing rate of layer i at a somatic voltage, both (M, B, n_i)."""
        if differences.possible(self.phi[i], self.pre[i], voltage):
            return differences.change(self.phi[i], voltage, self.pre[i], self.act[i], self.slopes[i])
        return difference(self.phi[i], self.pre[i], self.act[i], voltage)

    def step(self, i: int, base: Tensor, shift: Tensor) -> Tensor:
        """phi(base + shift) - phi(base), (M, B, n_i), the same number in both frames."""
        if isinstance(self.phi[i], Linear):
            return shift
        if differences.possible(self.phi[i], self.pre[i], base, shift):
            return differences.step(self.phi[i], base, shift, self.pre[i], self.act[i], self.slopes[i])
        pre = self.pre[i] + base
        return difference(self.phi[i], pre, self.phi[i].value(pre), shift)

    def goal(self, delta: Tensor) -> Tensor:
        """The output target, given its distance `delta` from the feedforward output, both (M, B, n_L)."""
        return delta

    def absolute_voltage(self, i: int, voltage: Tensor) -> Tensor:
        """A voltage (M, B, n_i) of this frame as an absolute one."""
        return self.pre[i] + voltage

    def absolute_rate(self, i: int, rate: Tensor) -> Tensor:
        """A rate (M, B, n_i) of this frame as an absolute one."""
        return self.act[i] + rate


class Absolute(Deviation):
    """Voltages and rates as they are."""

    def __init__(self, net: Net, params: Params, trace: Trace) -> None:
        super().__init__(net, params, trace)
        self.biases = [params[str(i)].get("bias") for i in range(len(net))]
        self.rest = [self.input, *[None] * (len(net) - 1)]

    def voltage(self, i: int) -> Tensor:
        return self.pre[i]

    def start_rate(self, i: int) -> Tensor:
        return self.act[i]

    def basal(self, i: int, rate: Tensor) -> Tensor:
        return affine(rate, self.weights[i], self.biases[i])

    def rate(self, i: int, voltage: Tensor) -> Tensor:
        return self.phi[i].value(voltage)

    def step(self, i: int, base: Tensor, shift: Tensor) -> Tensor:
        return self.phi[i].value(base + shift) - self.phi[i].value(base)

    def goal(self, delta: Tensor) -> Tensor:
        return self.act[-1] + delta

    def absolute_voltage(self, i: int, voltage: Tensor) -> Tensor:
        return voltage

    def absolute_rate(self, i: int, rate: Tensor) -> Tensor:
        return rate
