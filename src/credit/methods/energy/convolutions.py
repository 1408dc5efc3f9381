"""Inference of single convolutional nets on the CPU: torch's products, and compiled passes over the nodes.

Nodes of convolutions are channels last, and what follows a product is done in as few passes over memory as there can
be: one for the errors and their energy, one for the step of x and the activation that the next products take. Nothing
moves but the last hidden block's nodes in the first iteration, where all errors are 0. All equals
`credit.methods.energy.relaxation` but for rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from credit.methods.base import Batch, OptimizerLike, State, check_input, redivided
from credit.methods.energy import state as energies
from credit.methods.energy.settings import Inference, iterations
from credit.methods.fast import Fast, Result
from credit.nets.base import Net
from credit.nets.conv import Conv
from credit.nets.dense import Dense, affine
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand
from credit.numerics.trees import Params

LAST = torch.channels_last


@functools.cache
def _passes():
    """The module of passes, loaded when the first runs."""
    from credit.methods.energy import passes

    return passes


def fast(
    net: Net, params: Params, batch: Batch, steps: int, inference: Inference, learns: tuple[bool, ...]
) -> Fast | None:
    """The fast form of an update, whose nodes descend by plain steps; learns: at which iterations weights do.

    None for stacks, nets without convolutions or with pooling, dropout, other activations, and on devices.
    """
    *hidden, last = net.blocks
    convolutions = [b for b in hidden if isinstance(b, Conv)]
    known = all(_passes().kind_of(b.phi) is not None for b in hidden)
    single = net.members(params) <= 1 and net.keep >= 1
    if not convolutions or any(b.pool for b in convolutions) or not isinstance(last, Dense) or not known or not single:
        return None
    tensors = [p for block in params.values() for p in block.values()]
    form = Form(steps, inference, learns)
    return Fast(functools.partial(form.update, net)) if in_memory(*tensors, batch.x) else None


@dataclass(frozen=True)
class Form:
    """How often nodes move, at which rates, and at which iterations weights learn."""

    steps: int
    inference: Inference
    learns: tuple[bool, ...]

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """As of `credit.methods.pc`, params (M, ...) with one member or without stack; info: loss (M,)."""
        check_input(net, params, batch.x)
        moves = iterations(self.inference.updates, self.steps)
        nodes, info = _Nodes(net, params, batch), {}
        rate, discount, amplifier = (
            nodes.kind(v[0] if isinstance(v, tuple) else v)
            for v in (self.inference.lr, self.inference.discount, self.inference.amplifier)
        )
        last = None
        for t in range(max(t for t, learns in enumerate(self.learns) if learns) + 1):
            total = nodes.look()
            info.setdefault("loss", nodes.loss)
            gradients = nodes.gradients() if self.learns[t] else None
            if moves[t] and t < self.steps - 1:
                nodes.move(rate)
                if last is not None:
                    rate *= amplifier if total < last else discount
            if gradients is not None:
                opt.step(params, redivided(gradients, net, params, batch))
            last = total
        return params, opt, state, info


class _Nodes:
    """The value nodes x of a mini-batch, h = f(x), and their errors."""

    def __init__(self, net: Net, params: Params, batch: Batch) -> None:
        self.net, self.batch, self.stacked = net, batch, net.stacked(params)
        self._layers = [
            (_Convolution if isinstance(b, Conv) else _Matrix)(b, self._own(params[str(i)]))
            for i, b in enumerate(net.blocks)
        ]
        x = batch.x[0] if self.stacked else batch.x
        self.below = [x.contiguous(memory_format=LAST)]  # what every layer takes: the input, then h
        self.x: list[Tensor] = []
        self.kind: Callable[[float], Any] = x.numpy().dtype.type
        self.loss = x.new_zeros(())
        self.phi = [(kind, self.kind(slope)) for kind, slope in (_passes().kind_of(b.phi) for b in net.blocks[:-1])]

    def look(self) -> float:
        """Errors and energies at the nodes as they are; the nodes of the first look are the predictions."""
        first, energy = not self.x, 0.0
        self.taken: list[Tensor] = []  # by every layer
        self.deltas: list[Tensor | None] = []  # x - mu, None for 0; of the output the descent of the loss
        for i in range(len(self.phi)):
            mu = self._predicted(i)
            if first:
                self.x.append(mu)
                self.below.append(torch.empty_like(mu))
                _passes().activate(flat(mu), flat(self.below[-1]), *self.phi[i])
            else:
                energy += _passes().errors_in_place(flat(self.x[i]), flat(mu))
            self.deltas.append(None if first else mu)
        return 0.5 * energy + self._look_at_output(self._predicted(len(self.phi)))

    def _predicted(self, i: int) -> Tensor:
        self.taken.append(self._layers[i].taken(self.below[i]))
        return self._layers[i].predict(self.taken[i])

    def _look_at_output(self, mu: Tensor) -> float:
        block = self.net.block(len(self.phi))
        trace = block.activate(self._lifted(self.taken[-1]), self._lifted(mu))
        weights = () if self.batch.weights is None else (self.batch.weights,)
        self.loss, error = self.net.loss.value_and_gradient(trace.out, self.batch.y, *weights)
        self.count = energies.samples(self.net, trace.out)
        delta = block.local(trace, error * -self.count)  # the sign of the other errors
        self.deltas.append(delta[0] if self.stacked else delta)
        return float(self.loss) * self.count

    def gradients(self) -> Params:
        """As `energies.weight_gradients`."""
        found: Params = {}
        for i, (layer, delta) in enumerate(zip(self._layers, self.deltas, strict=True)):
            own = layer.gradients(delta, self.taken[i], -1 / self.count)
            found[str(i)] = {name: self._lifted(g) for name, g in own.items()}
        return found

    def move(self, rate: Any) -> None:
        """One step of all nodes."""
        for i, x in enumerate(self.x):
            eps, above = self.deltas[i], self.deltas[i + 1]
            if above is None:
                continue
            eps, h = torch.zeros_like(x) if eps is None else eps, self.below[i + 1]
            pulled = self._layers[i + 1].pull(above, h)
            _passes().move(*map(flat, (x, h, eps, pulled)), rate, *self.phi[i])

    def _own(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {n: p[0] if self.stacked else p for n, p in params.items()}

    def _lifted(self, t: Tensor) -> Tensor:
        return t.unsqueeze(0) if self.stacked else t


class _Layer:
    """The products of a block; params: of a single network."""

    def __init__(self, block: Conv | Dense, params: dict[str, Tensor]) -> None:
        self.block, self.params = block, params
        self.weight, self.bias = params["weight"], params.get("bias")

    def gradients(self, delta: Tensor | None, taken: Tensor, factor: float) -> dict[str, Tensor]:
        """Of the parameters, times `factor`; delta: gradient at what they give, None for 0."""
        if delta is None:
            return {name: torch.zeros_like(p) for name, p in self.params.items()}
        return self._gradients(delta, taken, factor)


class _Convolution(_Layer):
    """From (B, C_in, H, W) to (B, C, H, W), both channels last."""

    def taken(self, h: Tensor) -> Tensor:
        return h

    def predict(self, taken: Tensor) -> Tensor:
        mu = F.conv2d(taken, self.weight, self.bias, self.block.stride, self.block.padding)
        return mu.contiguous(memory_format=LAST)

    def pull(self, delta: Tensor, h: Tensor) -> Tensor:
        return self._backward(delta, h, (True, False, False))[0].contiguous(memory_format=LAST)

    def _gradients(self, delta: Tensor, taken: Tensor, factor: float) -> dict[str, Tensor]:
        weight = self._backward(delta, taken, (False, True, False))[1].mul_(factor)
        return {"weight": weight} if self.bias is None else {"weight": weight, "bias": delta.sum((0, 2, 3)) * factor}

    def _backward(self, delta: Tensor, taken: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, ...]:
        stride, padding = [self.block.stride] * 2, [self.block.padding] * 2
        return torch.ops.aten.convolution_backward(
            delta, taken, self.weight, None, stride, padding, [1, 1], False, [0, 0], 1, wanted
        )


class _Matrix(_Layer):
    """From (B, n_in), or images (B, C, H, W) with the channels last, to (B, n_out)."""

    def taken(self, h: Tensor) -> Tensor:
        return h.flatten(1)

    def predict(self, taken: Tensor) -> Tensor:
        return affine(taken, self.weight, self.bias)

    def pull(self, delta: Tensor, h: Tensor) -> Tensor:
        down = (delta @ self.weight).view(h.shape)
        return down.contiguous(memory_format=LAST) if h.ndim == 4 else down

    def _gradients(self, delta: Tensor, taken: Tensor, factor: float) -> dict[str, Tensor]:
        scaled = delta * factor
        weight = {"weight": scaled.mT @ taken}
        return weight if self.bias is None else weight | {"bias": scaled.sum(0)}


def flat(t: Tensor) -> np.ndarray:
    """The memory of a tensor, (B, n) or (B, C, H, W) with the channels last, as (n,)."""
    return (t.permute(0, 2, 3, 1) if t.ndim == 4 else t).view(-1).numpy()
