"""Regression on a random teacher, sample by sample in one pass; the error is that of all samples of the pass.

Source: Podlaski & Machens (NeurIPS 2020), Figure 3: standard normal inputs, a linear or a tanh teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.nets.base import Net
from credit.nets.dense import dense
from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner
from credit.tasks.supervised import EVALUATION_BATCH, Split, Supervised


@dataclass
class OnePass(Supervised):
    """Every sample once, in an order of its own for every member; an epoch is the next `per_epoch` samples.

    After the last sample the pass starts again, in a new order. teacher: matrix (M, n_out, n_in) of a linear teacher.
    """

    per_epoch: int = 1
    teacher: Tensor | None = None
    order: Tensor | None = None  # (M, N), of the present pass
    seen: int = 0  # samples of the present pass
    untrained: Tensor | None = None  # (M,) error before training

    def batches_per_epoch(self) -> int:
        return -(-self.per_epoch // self.batch_size)

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """The next samples of the pass."""
        n, left = len(self.splits["train"]), self.per_epoch
        while left:
            if self.order is None or self.seen == n:
                self.order, self.seen = rand.permutation("order", n).to(self.splits["train"].x.device), 0
            stop = min(self.seen + left, n)
            learner.visit(self.order[:, self.seen : stop], self.splits["train"].take, self.batch_size)
            left, self.seen = left - (stop - self.seen), stop

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"log10_nse": (M,)}: logarithm of the squared error of all samples, divided by that before training."""
        squares = self.squared_error(learner)
        self.untrained = squares if self.untrained is None else self.untrained
        return {"log10_nse": torch.log10(squares / self.untrained)}

    def squared_error(self, learner: Learner) -> Tensor:
        """Sum of (y - r)² over all samples and outputs, (M,).

        Where teacher and net are both linear, it is tr(D X^T X D^T) with D the difference of their matrices, which
        costs the same for any number of samples and keeps its relative accuracy down to errors of rounding.
        """
        train = self.splits["train"]
        if self.teacher is not None and is_linear(learner.net):
            identity = torch.eye(self.shape_in[0], dtype=train.x.dtype, device=train.x.device)
            difference = self.teacher.mT - learner.predict(identity[None])
            return (self.gram @ difference * difference).sum((-2, -1))
        return sum((learner.predict(x) - y).square_().sum((-2, -1)) for x, y in train.slices(EVALUATION_BATCH))

    @cached_property
    def gram(self) -> Tensor:
        """X^T X of all samples, (M, n_in, n_in)."""
        x = self.splits["train"].x
        return x.mT @ x

    def state_dict(self) -> dict:
        """Where the pass stands."""
        state = {"order": self.order, "untrained": self.untrained}
        return {"seen": self.seen} | {k: v for k, v in state.items() if v is not None}

    def load_state_dict(self, state: dict) -> None:
        device = self.splits["train"].x.device
        self.seen = state["seen"]
        for name in ("order", "untrained"):
            if name in state:
                setattr(self, name, state[name].to(device))


def is_linear(net: Net) -> bool:
    """Whether the net is a product of matrices."""
    return net.kind == "dense" and net.keep == 1 and all(b.activation == "linear" and not b.bias for b in net.blocks)


@dataclass(frozen=True)
class Regression:
    """Every seed has its own teacher and samples; they are drawn on the CPU and depend on the seed alone.

    n_in, n_out: inputs and outputs. hidden_sizes, hidden, bias, init: of the teacher; without hidden layers it is
    linear. batch_size: samples of an update. samples: of the pass. per_epoch: how many of them make an epoch, by which
    runs are recorded and interrupted; all when left out.
    """

    metrics: ClassVar[tuple[str, ...]] = ("log10_nse",)
    evaluated: ClassVar[tuple[str, ...]] = ("train",)
    targets: ClassVar[str] = "values"

    n_in: Annotated[int, "> 0"] = 30
    n_out: Annotated[int, "> 0"] = 10
    hidden_sizes: tuple[Annotated[int, "> 0"], ...] = ()
    hidden: Annotated[str, "credit.nets.names.activation"] = "tanh"
    bias: bool = False
    init: Annotated[str | dict, "credit.nets.names.layer_options"] = "xavier_normal"
    samples: Annotated[int, "> 0"] = 2000
    per_epoch: Annotated[int, "> 0"] | None = None
    batch_size: Annotated[int, "> 0"] = 1

    def build(self, context: Context) -> OnePass:
        """The task; x (M, N, n_in) standard normal, y (M, N, n_out)."""
        net = dense([self.n_in, *self.hidden_sizes, self.n_out], self.hidden, bias=self.bias, loss="mse")
        drawn: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for seed in context.rand.seeds:
            if seed not in drawn:  # members of a grid share their seed's teacher
                rand = Rand(seed, dtype=context.dtype)
                params = net.init(rand, self.init, stream="teacher")
                x = rand.normal("teacher.train", (self.samples, self.n_in))
                drawn[seed] = x, net.predict(params, x), params["0"]["weight"]
        x, y, matrix = (torch.stack([drawn[s][k] for s in context.rand.seeds]).to(context.device) for k in range(3))
        return OnePass(
            {"train": Split(x, y, per_member=True)}, (self.n_in,), self.n_out, context.members, self.batch_size,
            per_epoch=self.per_epoch or self.samples, teacher=matrix if is_linear(net) and len(net) == 1 else None,
        )  # fmt: skip


part = Regression
