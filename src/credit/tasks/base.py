"""Where data comes from, and the shape of the loop over it.

A task's configuration is a frozen dataclass (`part` of its module) with a method `build(context) -> task`. A task
owns its loop: it hands batches to a *learner*, which the training loop supplies:

    learner.update(Batch)       one update of all members of the stack
    learner.predict(x)          outputs of all members, (M, B, n_out)

Supervised tasks share the loop below; interactive ones (control, conditioning) write their own `epoch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from credit.nets.base import Batch
from credit.rand import Rand

EVALUATION_BATCH = 2500  # samples a forward pass when evaluating: bounds memory, fills the cores


@dataclass(frozen=True)
class Context:
    """What a task is built from. data: the prepared data set's file, for tasks that read one."""

    rand: Rand
    members: int
    device: torch.device
    dtype: torch.dtype
    data: Path | None = None


@dataclass(frozen=True)
class Split:
    """Samples x (N, ...) and targets y (N, ...), or (M, N, ...) each when every member has its own."""

    x: Tensor
    y: Tensor
    per_member: bool = False

    def __len__(self) -> int:
        return self.x.shape[1 if self.per_member else 0]

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Samples `index` (M, B) -> x (M, B, ...), y (M, B, ...)."""
        if not self.per_member:
            if index.shape[0] == 1:  # one flat gather is cheaper than advanced indexing with two axes
                return self.x.index_select(0, index[0]).unsqueeze(0), self.y.index_select(0, index[0]).unsqueeze(0)
            return self.x[index], self.y[index]
        rows = torch.arange(index.shape[0], device=index.device).unsqueeze(-1)
        return self.x[rows, index], self.y[rows, index]

    def slices(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Consecutive pieces in order, with a leading member axis of 1 or M."""
        for start in range(0, len(self), size):
            cut = slice(start, start + size)
            if self.per_member:
                yield self.x[:, cut], self.y[:, cut]
            else:
                yield self.x[None, cut], self.y[None, cut]


@dataclass
class Supervised:
    """Mini-batches from a fresh permutation per member and pass; losses and error rates on the splits."""

    splits: dict[str, Split]
    shape_in: tuple[int, ...]
    n_out: int
    members: int
    batch_size: int = 128
    drop_last: bool = False

    def batches_per_epoch(self) -> int:
        """Number of mini-batches in one pass over the training data."""
        n, size = len(self.splits["train"]), self.batch_size
        return n // size if self.drop_last else -(-n // size)

    def epoch(self, learner, rand: Rand) -> None:
        """One pass over the training data; every member visits it in its own order."""
        train = self.splits["train"]
        order = rand.permutation("order", len(train)).to(train.x.device)
        for i in range(self.batches_per_epoch()):
            x, y = train.take(order[:, i * self.batch_size : (i + 1) * self.batch_size])
            learner.update(Batch(x, y))

    def evaluate(self, learner, loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"SPLIT_loss": (M,), "SPLIT_error": (M,)}: mean loss and, for classes, the fraction misclassified."""
        results: dict[str, Tensor] = {}
        for name in splits:
            split, total, wrong = self.splits[name], 0.0, 0.0
            for x, y in split.slices(EVALUATION_BATCH):
                output = learner.predict(x)
                y = y.expand(output.shape[0], *y.shape[1:])
                total = total + loss.value(output, y) * y.shape[1]
                count = loss.error_count(output, y)
                wrong = None if count is None else wrong + count
            results[f"{name}_loss"] = total / len(split)
            if wrong is not None:
                results[f"{name}_error"] = wrong / len(split)
        return results
