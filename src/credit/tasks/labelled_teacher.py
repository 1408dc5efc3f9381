"""Points with the labels that a random teacher gives them, -1 or 1, in always the same order.

Source: Song et al. (2024), released code: teacher_example_122.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.nets.dense import dense
from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner
from credit.tasks.supervised import Split, Supervised


class InOrder(Supervised):
    """Mini-batches in the order of the points."""

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """All points, not shuffled."""
        points = self.splits["train"]
        order = torch.arange(len(points), device=points.x.device).expand(self.members, -1)
        learner.visit(order, points.take, self.batch_size)

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"points_loss", "points_error": (M,)}: loss of all points, and the share whose output has another sign."""
        points = self.splits["train"]
        output = learner.predict(points.x)
        wrong = (output.sign() != points.y).any(-1)  # also where it is NaN
        return {"points_loss": loss.value(output, points.y), "points_error": wrong.to(torch.float64).mean(1)}


@dataclass(frozen=True)
class LabelledTeacher:
    """Every seed has its own teacher and points; they are drawn on the CPU and depend on the seed alone.

    points: standard normal ones, n_in numbers each. n_in, n_out: inputs and outputs. batch_size: points of a
    mini-batch. hidden_sizes, hidden, bias, init: of the teacher. A label is the sign of its output, so that it is 0
    where no unit of a relu teacher is active, as published.

    What Song et al. plot is train_loss: of every mini-batch before its update, averaged over the epoch.
    """

    metrics: ClassVar[tuple[str, ...]] = ("points_loss", "points_error")
    evaluated: ClassVar[tuple[str, ...]] = ("points",)
    targets: ClassVar[str] = "values"

    n_in: Annotated[int, "> 0"] = 2
    n_out: Annotated[int, "> 0"] = 1
    hidden_sizes: tuple[Annotated[int, "> 0"], ...] = (2,)
    hidden: Annotated[str, "credit.nets.names.activation"] = "relu"
    bias: bool = False
    init: Annotated[str | dict, "credit.nets.names.layer_options"] = "torch_default"
    points: Annotated[int, "> 0"] = 64
    batch_size: Annotated[int, "> 0"] = 4

    def build(self, context: Context) -> InOrder:
        """The task; x (M, N, n_in), y (M, N, n_out)."""
        net = dense([self.n_in, *self.hidden_sizes, self.n_out], self.hidden, bias=self.bias, loss="mse")
        once, whose = Rand(context.rand.seeds, dtype=context.dtype).distinct()
        params = net.init(once, self.init, stream="teacher")
        x = once.normal("teacher.train", (self.points, self.n_in))
        y = net.predict(params, x).sign()
        x, y = ((values if whose is None else values[whose]).to(context.device) for values in (x, y))
        points = Split(x, y, per_member=True)
        return InOrder({"train": points}, (self.n_in,), self.n_out, context.members, self.batch_size)


part = LabelledTeacher
