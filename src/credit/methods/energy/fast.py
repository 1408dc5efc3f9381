"""Updates of predictive coding in compiled loops: dense nets whose weights learn once, at the last iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit.methods.energy import loops
from credit.methods.energy.settings import Inference
from credit.methods.fast import Fast, Result
from credit.nets import activations
from credit.nets.base import Batch, Net
from credit.nets.losses import SquaredError
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand
from credit.numerics.stack import table
from credit.numerics.threads import share
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


def form(net: Net, params: Params, batch: Batch, steps: int, inference: Inference) -> Fast | None:
    """The compiled form of an update, None where there is none for this net, its parameters and mini-batch."""
    tensors = [p for block in params.values() for p in block.values()]
    if net.kind != "dense" or not in_memory(*tensors) or batch.x.dtype != tensors[0].dtype or len(batch.x) == 0:
        return None
    hidden = [kind_of(block.activation) for block in net.blocks[:-1]]
    biased = {block.bias for block in net.blocks}
    if None in hidden or net.blocks[-1].activation != "linear" or len(biased) > 1 or not half_of_squares(net, batch):
        return None
    return Fast(Compiled(net, params, steps, inference, hidden).update)


def kind_of(activation: str) -> tuple[int, float] | None:
    """The loop's number for an activation and its slope below 0; None where the loop has no such."""
    phi = activations.get(activation)
    exact = {activations.Linear: loops.LINEAR, activations.Sigmoid: loops.SIGMOID, activations.Tanh: loops.TANH,
             activations.ReLU: loops.LEAKY, activations.LeakyReLU: loops.LEAKY}  # fmt: skip
    return (exact[type(phi)], getattr(phi, "slope", 0.0)) if type(phi) in exact else None


def half_of_squares(net: Net, batch: Batch) -> bool:
    """Whether the loss, summed over samples, is half the sum of squared errors."""
    return isinstance(net.loss, SquaredError) and (net.loss.summed or net.loss.scale(1, net.n_out) == 0.5)


@dataclass
class Group:
    """Mini-batches of the members: inputs (S, B, n_0), targets (S, B, n_L), and which of them is whose, (M,)."""

    inputs: np.ndarray
    targets: np.ndarray
    whose: np.ndarray


class Compiled:
    """The memory of an update, and the update."""

    def __init__(
        self, net: Net, params: Params, steps: int, inference: Inference, hidden: Sequence[tuple[int, float]]
    ) -> None:
        self.net, self.stacked = net, net.stacked(params)
        self.members, like = max(1, net.members(params)), net.like(params)
        self.kind = like.numpy().dtype.type
        self.sizes = np.array([net.block(0).n_in, *(block.n_out for block in net.blocks)])
        self.steps = steps if len(net) > 1 else 1
        self.kinds = np.array([0, *(k for k, _ in hidden), 0])
        self.slopes = np.array([0, *(s for _, s in hidden), 0], self.kind)
        self.options = table([inference.lr, inference.discount, inference.amplifier], self.members, self.kind)
        self.sizes_of_w = (self.sizes[1:] * self.sizes[:-1])[1:].tolist()
        units = int(self.sizes[1:].sum()) if net.block(0).bias else 0
        self.w = like.new_empty(self.members, sum(self.sizes_of_w))
        self.biases = like.new_empty(self.members, units)
        self.memory: dict[int, tuple[np.ndarray, ...]] = {}  # by the number of samples

    def update(self, params: Params, opt: OptimizerLike, state: dict, batch: Batch, rand: Rand) -> Result:
        """One update, as of `pc`; info: loss (M,)."""
        group, weights = self._group(batch), self._weights(batch)
        x, h, eps = self._memory(group.inputs.shape[1])
        w1 = self._gather(params)
        losses, energies, rates = (np.empty(self.members, t) for t in (np.float64, np.float64, self.kind))
        arrays = w1.numpy(), self.w.numpy(), self.biases.numpy()
        where = group.inputs, group.targets, weights, group.whose, *arrays
        what = self.sizes, self.kinds, self.slopes, self.options, self.steps
        share(loops.relax, self.members, *where, *what, x, h, eps, losses, energies, rates)
        factor = self._factor(group.inputs.shape[1], batch)
        self._learn(params, opt, group, (h, eps), w1, factor)
        loss = torch.from_numpy(losses / (1 if self.net.loss.summed else group.inputs.shape[1])).to(w1.dtype)
        return params, opt, state, {"loss": loss if self.stacked else loss[0]}

    def _learn(self, params, opt, group: Group, nodes: tuple[np.ndarray, ...], w1: Tensor, factor: float) -> None:
        affine = opt.affine(1)
        arrays = group.inputs, group.whose, *nodes, self.sizes
        if affine is None:
            zeros = [torch.zeros_like(t) for t in (w1, self.w, self.biases)]
            keep, rate = (np.full((self.members, 2 * len(self.net)), v, self.kind) for v in (0, -factor))
            share(loops.learn, self.members, *arrays, *(z.numpy() for z in zeros), keep, rate)
            opt.step(params, self._named(*zeros))
            return
        names = [(str(i), name) for name in ("weight", "bias") for i in range(len(self.net))]
        pairs = [affine[i].get(name, (None, None)) for i, name in names]
        keep, rate = (
            np.stack([np.zeros(self.members, self.kind) if p[k] is None else p[k].numpy() for p in pairs], -1)
            for k in (0, 1)
        )
        rate = (rate * factor).astype(self.kind, copy=False)
        share(loops.learn, self.members, *arrays, w1.numpy(), self.w.numpy(), self.biases.numpy(), keep, rate)
        named = self._named(w1, self.w, self.biases)
        for i, block in params.items():
            for name, p in block.items():
                if i != "0" or name != "weight":
                    p.copy_(named[i][name])

    def _factor(self, samples: int, batch: Batch) -> float:
        """Of gradients that are sums over the samples, where the loss is a mean."""
        return 1.0 if self.net.loss.summed else 1.0 / (batch.divisor or samples)

    def _gather(self, params: Params) -> Tensor:
        """Weights of the first layer, (M, n_1, n_0); those of the others and all biases go to one piece of memory."""
        named = self._named(None, self.w, self.biases)
        for i, block in params.items():
            for name, p in block.items():
                if i != "0" or name != "weight":
                    named[i][name].copy_(p)
        first = params["0"]["weight"]
        return first if self.stacked else first.unsqueeze(0)

    def _named(self, w1: Tensor | None, w: Tensor, biases: Tensor) -> Params:
        """Views of the memory under the names of the parameters, in their shapes."""
        weights = [w1, *(w.split(self.sizes_of_w, 1) if self.sizes_of_w else ())]
        units = biases.split(self.sizes[1:].tolist(), 1) if biases.shape[1] else [None] * len(self.net)
        found: Params = {}
        for i, (weight, bias) in enumerate(zip(weights, units, strict=True)):
            own = {} if weight is None else {"weight": weight.view(self.members, self.sizes[i + 1], self.sizes[i])}
            own |= {} if bias is None else {"bias": bias}
            found[str(i)] = own if self.stacked else {name: t[0] for name, t in own.items()}
        return found

    def _group(self, batch: Batch) -> Group:
        lead = (self.members,) if self.stacked else ()
        y = self.net.loss.targets(batch.y, self.net.n_out, batch.x.dtype)
        x, y = (t if self.stacked else t.unsqueeze(0) for t in (batch.x, y))
        same = x.shape[0] == 1 or (x.stride(0) == 0 and batch.y.stride(0) == 0)
        if same:
            whose = np.zeros(self.members, np.int64)
            x, y = x[:1], y[:1]
        else:
            whose = np.arange(self.members)
            y = y.expand(*lead, *y.shape[1:])
        return Group(x.flatten(2).contiguous().numpy(), y.contiguous().numpy(), whose)

    def _weights(self, batch: Batch) -> np.ndarray:
        """Weights of the output errors (M, B, n_L), of no members where there are none."""
        if batch.weights is None:
            return np.empty((0, 0, 0), self.kind)
        own = batch.weights if self.stacked else batch.weights.unsqueeze(0)
        return own.expand(self.members, *own.shape[1:]).contiguous().numpy()

    def _memory(self, samples: int) -> tuple[np.ndarray, ...]:
        """x, h and eps of all members, (M, B n) each, and what one member needs besides."""
        if samples not in self.memory:
            units = samples * int(self.sizes[1:].sum())
            self.memory = {samples: (*(np.empty((self.members, units), self.kind) for _ in range(3)),)}
        return self.memory[samples]
