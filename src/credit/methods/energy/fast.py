"""Updates of predictive coding in compiled loops: dense nets whose weights learn once, at the last iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from credit.methods.energy import lanes, loops
from credit.methods.energy.passes import kind_of
from credit.methods.energy.settings import Inference
from credit.methods.fast import Fast, Result
from credit.nets.base import Batch, Net
from credit.nets.losses import SquaredError
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand
from credit.numerics.stack import table
from credit.numerics.threads import share
from credit.numerics.trees import Params
from credit.optim.base import Affine, OptimizerLike, uniform


def form(
    net: Net, params: Params, opt: OptimizerLike, batch: Batch, size: int, steps: int, inference: Inference
) -> Fast | None:
    """The compiled form of updates with mini-batches like `batch`, of `size` samples; None where there is none."""
    tensors = [p for block in params.values() for p in block.values()]
    if net.kind != "dense" or not in_memory(*tensors) or batch.distinct.x.dtype != tensors[0].dtype:
        return None
    hidden = [kind_of(block.phi) for block in net.blocks[:-1]]
    biased = {block.bias for block in net.blocks}
    if None in hidden or net.blocks[-1].activation != "linear" or len(biased) > 1 or not half_of_squares(net):
        return None
    form = Compiled(net, params, steps, inference, hidden, size, opt)
    several = form.steps_within and net.loss.summed  # means have factors of their own
    return Fast(form.update, at_once=1024 if several else 1, alone=True)


def half_of_squares(net: Net) -> bool:
    """Whether the loss, summed over samples, is half the sum of squared errors."""
    return isinstance(net.loss, SquaredError) and (net.loss.summed or net.loss.scale(1, net.n_out) == 0.5)


class Compiled:
    """Updates of one net in compiled loops; it keeps memory, and nothing that a result depends on."""

    def __init__(
        self,
        net: Net,
        params: Params,
        steps: int,
        inference: Inference,
        hidden: Sequence[tuple[int, float]],
        batch: int,
        opt: OptimizerLike,
    ) -> None:
        self.net, self.stacked, self.batch = net, net.stacked(params), batch
        self.members, like = max(1, net.members(params)), net.like(params)
        self.kind = like.numpy().dtype.type
        self.sizes = np.array([net.block(0).n_in, *(block.n_out for block in net.blocks)])
        self.steps = steps if len(net) > 1 else 1
        kinds, slopes = ([0, *(pair[k] for pair in hidden), 0] for k in (0, 1))
        options = table([inference.lr, inference.discount, inference.amplifier], self.members, self.kind)
        self.model = loops.Model(self.sizes, np.array(kinds), np.array(slopes, self.kind), options)
        self.large = (self.sizes[1:] * self.sizes[:-1])[1:].tolist()  # numbers of the weights from W_2 on
        units = int(self.sizes[1:].sum()) if net.block(0).bias else 0
        self.tiny = batch * int((self.sizes[1:] * self.sizes[:-1]).sum()) <= lanes.TINY
        affine = opt.affine(0)
        self.steps_within = uniform(affine) or (affine is not None and self.tiny)
        self.w = like.new_empty(self.members, sum(self.large))
        self.biases = like.new_empty(self.members, units)

    def update(self, params: Params, opt: OptimizerLike, state: dict, batch: Batch, rand: Rand) -> Result:
        """Consecutive mini-batches, of which each is learned as `pc` says; info: loss (K, M), or () of a single net."""
        inputs, targets, weights, whose = self._samples(batch)
        count = -(-inputs.shape[1] // self.batch)
        affine = opt.affine(count) if self.steps_within else None
        if affine is None and count > 1:
            raise ValueError("several mini-batches at once need steps that are affine in the gradient")
        factor = 1.0 if self.net.loss.summed else 1.0 / (batch.divisor or inputs.shape[1])
        losses, where = np.empty((count, self.members), self.kind), loops.Samples(inputs, targets, weights, whose)
        w1 = self._gather(params)
        if affine and self.tiny:
            self._side_by_side(params, where, self._rates_of_each(affine, factor), losses)
        else:
            to = self._one_by_one(w1, where, self._rates(affine, factor), losses, steps=affine is not None)
        if affine:
            for kept, given in self._pairs(params):
                given.copy_(kept)
        else:
            opt.step(params, to)
        return params, opt, state, {"loss": self._mean(torch.from_numpy(losses), inputs.shape[1])}

    def _one_by_one(
        self, w1: Tensor, where: loops.Samples, rates: loops.Rates, losses: np.ndarray, steps: bool
    ) -> Params:
        """One member after another; returns what the steps are taken in, the weights or, without steps, gradients."""
        own = w1, self.w, self.biases
        to = own if steps else tuple(map(torch.zeros_like, own))
        share(
            loops.train, self.members, where, self.model, self.steps, self.batch,
            *(loops.Weights(*(t.numpy() for t in tensors)) for tensors in (own, to)), rates, losses,
        )  # fmt: skip
        return self._named(*to)

    def _side_by_side(self, params: Params, where: loops.Samples, rates: lanes.Rates, losses: np.ndarray) -> None:
        """The same with members in lanes, which take their steps in place."""
        first = params["0"]["weight"].view(self.members, -1)
        weights, biased = torch.cat([first, self.w], 1), self.biases.shape[1] > 0
        biases = self.biases if biased else self.w.new_zeros(self.members, int(self.sizes[1:].sum()))
        share(
            lanes.train, -(-self.members // lanes.LANES), where, self.model, self.steps, self.batch,
            lanes.Weights(weights.numpy(), biases.numpy(), biased), rates, losses,
        )  # fmt: skip
        first.copy_(weights[:, : first.shape[1]])
        self.w.copy_(weights[:, first.shape[1] :])

    def _rates(self, affine: Affine | None, factor: float) -> loops.Rates:
        """Steps with one rate for all of a parameter; without steps, such that gradients come out."""
        shape = self.members, 2 * len(self.net)
        if affine is None:
            return loops.Rates(np.zeros(shape, self.kind), np.full(shape, -factor, self.kind))
        keep, rate = (torch.stack([p[k] for p in self._of_all(affine)], -1).numpy() for k in (0, 1))
        return loops.Rates(np.ascontiguousarray(keep), np.ascontiguousarray(rate * self.kind(factor)))

    def _rates_of_each(self, affine: Affine, factor: float) -> lanes.Rates:
        """Steps with rates that may differ between the weights of a layer."""
        pairs, depth, (n, k) = self._of_all(affine), len(self.net), (self.sizes[1:].tolist(), self.sizes[:-1].tolist())
        keep = torch.stack([stay for stay, _ in pairs], -1).numpy()
        weights = [
            rate.reshape(self.members, *rate.shape[1:], *[1] * (3 - rate.ndim)).expand(-1, *shape).flatten(1)
            for (_, rate), shape in zip(pairs[:depth], zip(n, k, strict=True), strict=True)
        ]
        biases = [rate.unsqueeze(1).expand(-1, units) for (_, rate), units in zip(pairs[depth:], n, strict=True)]
        rates = ((torch.cat(r, 1).numpy() * self.kind(factor)) for r in (weights, biases))
        return lanes.Rates(np.ascontiguousarray(keep), *rates)

    def _of_all(self, affine: Affine) -> list[tuple[Tensor, Tensor]]:
        """(keep, rate) of the weights of all layers, then of their biases, zeros where there are none."""
        zero = torch.zeros(self.members, dtype=self.w.dtype)
        names = [(str(i), name) for name in ("weight", "bias") for i in range(len(self.net))]
        return [affine[i].get(name, (zero, zero)) for i, name in names]

    def _mean(self, losses: Tensor, samples: int) -> Tensor:
        """Of sums over the samples, (K, M); a loss that is a mean is that of one mini-batch."""
        losses = losses if self.net.loss.summed else losses / samples
        return losses if self.stacked else losses[:, 0] if len(losses) > 1 else losses[0, 0]

    def _gather(self, params: Params) -> Tensor:
        """Weights of the first layer, (M, n_1, n_0); those of the others and all biases go to one piece of memory."""
        for kept, given in self._pairs(params):
            kept.copy_(given)
        first = params["0"]["weight"]
        return first if self.stacked else first.unsqueeze(0)

    def _pairs(self, params: Params) -> Iterator[tuple[Tensor, Tensor]]:
        """Views of the memory, each with the parameter that it stands for."""
        for i, block in self._named(None, self.w, self.biases).items():
            yield from ((kept, params[i][name]) for name, kept in block.items())

    def _named(self, w1: Tensor | None, w: Tensor, biases: Tensor) -> Params:
        """Views of the memory under the names of the parameters, in their shapes."""
        weights = [w1, *(w.split(self.large, 1) if self.large else ())]
        units = biases.split(self.sizes[1:].tolist(), 1) if biases.shape[1] else [None] * len(self.net)
        found: Params = {}
        for i, (weight, bias) in enumerate(zip(weights, units, strict=True)):
            own = {} if weight is None else {"weight": weight.view(self.members, self.sizes[i + 1], self.sizes[i])}
            own |= {} if bias is None else {"bias": bias}
            found[str(i)] = own if self.stacked else {name: t[0] for name, t in own.items()}
        return found

    def _samples(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """inputs (S, N, n_0), targets and weights (S, N, n_L) of S members, or (S, 0, 0), and which are whose, (M,)."""
        given = batch.distinct
        y = self.net.loss.targets(given.y, self.net.n_out, given.x.dtype)
        x, y, weights = (t if t is None or self.stacked else t.unsqueeze(0) for t in (given.x, y, given.weights))
        count = max(x.shape[0], y.shape[0], 1 if weights is None else weights.shape[0])
        weights = x.new_empty(count, 0, 0) if weights is None else weights
        x, y, weights = (t.expand(count, *t.shape[1:]).contiguous().numpy() for t in (x.flatten(2), y, weights))
        whose = np.arange(count) if batch.whose is None else batch.whose.numpy()
        return x, y, weights, np.broadcast_to(whose, self.members).copy() if count == 1 else whose
