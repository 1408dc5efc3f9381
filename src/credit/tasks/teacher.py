"""Student-teacher regression: targets come from a random, wide teacher network.

Source: Meulemans et al. (NeurIPS 2021), Figure 3 and S1-S4: inputs uniform in [-1, 1], a relu teacher with four hidden
layers of 1000 units and a linear output, weights Xavier-normal with gain 3, no biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from credit.nets.dense import dense
from credit.numerics.rand import Rand
from credit.tasks.base import Context
from credit.tasks.supervised import Split, Supervised


@dataclass(frozen=True)
class Teacher:
    """Every seed has its own teacher and samples; they are drawn on the CPU and depend on the seed alone.

    n_in, n_out: inputs, uniform in [-1, 1], and outputs. hidden_sizes, hidden, init: of the teacher, which has no
    biases. train, validation, test: number of samples. batch_size: samples of a mini-batch.
    """

    metrics: ClassVar[tuple[str, ...]] = ("{split}_loss",)
    evaluated: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    targets: ClassVar[str] = "values"

    n_in: Annotated[int, "> 0"] = 15
    n_out: Annotated[int, "> 0"] = 5
    hidden_sizes: tuple[Annotated[int, "> 0"], ...] = (1000, 1000, 1000, 1000)
    hidden: Annotated[str, "credit.nets.names.activation"] = "relu"
    init: Annotated[str | dict, "credit.nets.names.layer_options"] = "teacher"
    train: Annotated[int, "> 0"] = 5000
    validation: Annotated[int, "> 0"] = 1000
    test: Annotated[int, "> 0"] = 1000
    batch_size: Annotated[int, "> 0"] = 128

    def build(self, context: Context) -> Supervised:
        """The task, with splits train, validation and test; x (M, N, n_in), y (M, N, n_out)."""
        net = dense([self.n_in, *self.hidden_sizes, self.n_out], self.hidden, bias=False, loss="mse")
        sizes = {"train": self.train, "validation": self.validation, "test": self.test}
        drawn: dict[int, dict[str, tuple]] = {}
        for seed in context.rand.seeds:
            if seed not in drawn:  # members of a grid share their seed's teacher
                rand = Rand(seed, dtype=context.dtype)
                params = net.init(rand, self.init, stream="teacher")
                drawn[seed] = {}
                for name, n in sizes.items():
                    x = rand.uniform(f"teacher.{name}", (n, self.n_in), -1.0, 1.0)
                    drawn[seed][name] = (x, net.predict(params, x))
        splits = {}
        for name in sizes:
            x, y = (torch.stack([drawn[s][name][k] for s in context.rand.seeds]) for k in (0, 1))
            splits[name] = Split(x.to(context.device), y.to(context.device), per_member=True)
        return Supervised(splits, (self.n_in,), self.n_out, context.members, self.batch_size)


part = Teacher
