"""Two tasks in turns, whose classes share the outputs: what is learned of one is forgotten with the other.

Source: Song et al. (2024), released code: forgetting (Figures 4d, 4e).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner
from credit.tasks.selection import Pools, Selected, select


@dataclass
class Alternating(Selected):
    """`turns` epochs of the one task, then as many of the other, again and again; an epoch is a shuffled pass."""

    turns: int = 4
    epochs: int = 0  # that are done

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """All training images of the task whose turn it is."""
        task = self.epochs // self.turns % 2
        self.visit(learner, rand, self.train.of_classes(task * self.n_out, (task + 1) * self.n_out))
        self.epochs += 1

    def test_errors(self, wrong: Tensor) -> dict[str, Tensor]:
        """{"task0_error", "task1_error", "test_error": (M,)}, the last their mean."""
        parts = (self.test.of_classes(task * self.n_out, (task + 1) * self.n_out) for task in (0, 1))
        first, second = (self.averaged(wrong[:, part], f"order.test{t}") for t, part in enumerate(parts))
        return {"task0_error": first, "task1_error": second, "test_error": (first + second) / 2}

    def state_dict(self) -> dict:
        """How many epochs are done, which says whose turn it is."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict) -> None:
        self.epochs = state["epochs"]


@dataclass(frozen=True)
class TwoTasks:
    """The first half of the classes is task 0, the second task 1; both have the same outputs, half as many.

    collisions: as published, a permutation of all classes is drawn by every seed, and a class labelled with its place
    modulo the number of outputs, so that two classes of a task may share a label. False: only the order of the places
    within a task counts, so that they do not. masked: the last outputs, so many, from which no error comes, but which
    may be an answer; published is 1. turns: epochs that a task is trained before the other one follows.

    per_class, test_per_class: images of each class that every seed draws, once; None: all. batch_size, test_batch_size:
    images of a mini-batch in training and in testing; None: the same. average: of the test error, as in `Classes`; so
    are the splits validation and held_out; test_error is the mean of task0_error and task1_error.
    """

    metrics: ClassVar[tuple[str, ...]] = ("{split}_loss", "{split}_error", "task0_error", "task1_error")
    evaluated: ClassVar[tuple[str, ...]] = ("train", "test", "validation", "held_out")
    targets: ClassVar[str] = "classes"
    classes_an_output: ClassVar[int] = 2

    per_class: Annotated[int, "> 0"] | None = 600
    test_per_class: Annotated[int, "> 0"] | None = None
    batch_size: Annotated[int, "> 0"] = 500
    test_batch_size: Annotated[int, "> 0"] | None = None
    turns: Annotated[int, "> 0"] = 4
    collisions: bool = True
    masked: Annotated[int, ">= 0"] = 1
    average: Literal["batches", "samples"] = "batches"

    def build(self, context: Context) -> Alternating:
        """The task; images (N, C, H, W). Raises ConfigError where classes cannot be halved, or no output is left."""
        pools, (rand, whose) = Pools.read(context), context.rand.distinct()
        train, test, n = pools.train, pools.test, pools.train.n_classes
        if n % 2:
            raise ConfigError(f"task = 'two_tasks'; needs an even number of classes, the data set has {n}")
        if self.masked >= n // 2:
            raise ConfigError(f"task.masked = {self.masked}; must be below the number of outputs, {n // 2}")
        task = Alternating(
            train, test, select(train.classes, n, self.per_class, rand, "train_images"),
            select(test.classes, n, self.test_per_class, rand, "test_images"), tuple(train.x.shape[1:]), n // 2,
            context.rand, whose, self._labels(rand, n), self.batch_size, self.test_batch_size or self.batch_size,
            average=self.average, masked=self.masked, turns=self.turns,
        )  # fmt: skip
        task.prepared = pools.state
        return task

    def _labels(self, rand: Rand, n: int) -> Tensor:
        """What every class is called, (S, n)."""
        places = rand.permutation("labels", n)
        if self.collisions:
            return places % (n // 2)
        return torch.cat([half.argsort(1).argsort(1) for half in places.split(n // 2, 1)], 1)


part = TwoTasks
