"""Concepts that drift: from time to time some classes exchange their labels, and all images are drawn anew.

Source: Song et al. (2024), released code: concept_drift (Figures 4f, 4g). There both loaders are rebuilt with every
mini-batch of an epoch of drift; only the last of these draws is ever used, so that one is made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner
from credit.tasks.selection import Pools, Selected, Selection, select


@dataclass
class Drifting(Selected):
    """Behind the epochs 0, `every`, 2 `every`, ... the last `moved` classes exchange labels, before they are tested.

    per_class: of training and test images. later_min: `target_min` from the first drift on.
    """

    every: int = 64
    moved: int = 5
    per_class: tuple[int | None, int | None] = (None, None)
    later_min: float = 0.0
    epochs: int = 0  # that are done

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """A shuffled pass over the images as they are, then maybe a drift."""
        self.visit(learner, rand)
        if self.epochs % self.every == 0:
            self._drift(rand)
        self.epochs += 1

    def _drift(self, rand: Rand) -> None:
        once, _ = rand.distinct()
        n, device = self.train_pool.n_classes, self.labels.device
        drawn = once.permutation("labels", self.moved).to(device) + n - self.moved
        self.labels = torch.cat([torch.arange(n - self.moved, device=device).expand(len(drawn), -1), drawn], 1)
        self.train, self.test = (
            select(pool.classes, n, count, once, f"{name}_images")
            for name, pool, count in zip(("train", "test"), (self.train_pool, self.test_pool), self.per_class)
        )
        self.target_min = self.later_min

    def state_dict(self) -> dict:
        """How many epochs are done, which images are drawn, and what they are called: (S, ...) each."""
        drawn = {"train": self.train.index, "test": self.test.index, "labels": self.labels}
        return {"epochs": self.epochs, "target_min": self.target_min, **drawn}

    def load_state_dict(self, state: dict) -> None:
        device = self.labels.device
        self.epochs, self.target_min = state["epochs"], state["target_min"]
        self.train = Selection(state["train"].to(device), self.train.counts)
        self.test = Selection(state["test"].to(device), self.test.counts)
        self.labels = state["labels"].to(device)


@dataclass(frozen=True)
class Drift:
    """Epochs count from 0. A drift follows on the training of epoch 0, `every`, 2 `every`, ..., before its test: every
    seed draws its images anew, and which labels the last `moved` classes have; the others keep theirs.

    every: epochs from drift to drift. moved: so many last classes exchange labels. batch_size, test_batch_size: images
    of a mini-batch in training and in testing; None: the same.

    target_min: target of the outputs that are not the label's, whose is 1, up to the first drift. later_target_min: the
    same from then on. Published is that a target_min of 0 is lost with the first drift, and -1 stands from then on.
    per_class, test_per_class: images of each class that a drift draws; None: all. average: of the test error, as in
    `Classes`; so are the splits validation and held_out.
    """

    metrics: ClassVar[tuple[str, ...]] = ("{split}_loss", "{split}_error")
    evaluated: ClassVar[tuple[str, ...]] = ("train", "test", "validation", "held_out")
    targets: ClassVar[str] = "classes"

    per_class: Annotated[int, "> 0"] | None = 120
    test_per_class: Annotated[int, "> 0"] | None = 100
    batch_size: Annotated[int, "> 0"] = 32
    test_batch_size: Annotated[int, "> 0"] | None = None
    every: Annotated[int, "> 0"] = 64
    moved: Annotated[int, "> 0"] = 5
    target_min: Annotated[float, "< 1"] = 0.0
    later_target_min: Annotated[float, "< 1"] = -1.0
    average: Literal["batches", "samples"] = "batches"

    def build(self, context: Context) -> Drifting:
        """The task; images (N, C, H, W). Raises ConfigError where there are not so many classes."""
        pools, (rand, whose) = Pools.read(context), context.rand.distinct()
        train, test, n = pools.train, pools.test, pools.train.n_classes
        if self.moved > n:
            raise ConfigError(f"task.moved = {self.moved}; the data set has {n} classes")
        task = Drifting(
            train, test, select(train.classes, n, self.per_class, rand, "train_images"),
            select(test.classes, n, self.test_per_class, rand, "test_images"), tuple(train.x.shape[1:]), n,
            context.rand, whose, self._names(n, rand, context), self.batch_size,
            self.test_batch_size or self.batch_size, average=self.average, target_min=self.target_min,
            every=self.every, moved=self.moved, per_class=(self.per_class, self.test_per_class),
            later_min=self.later_target_min,
        )  # fmt: skip
        task.prepared = pools.state
        return task

    @staticmethod
    def _names(n: int, rand: Rand, context: Context) -> Tensor:
        """Every class has its own name at first, (S, n)."""
        return torch.arange(n, device=context.device).expand(len(rand.seeds), -1)


part = Drift
