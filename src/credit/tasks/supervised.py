"""Mini-batches of samples with targets: the loop that most tasks share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.base import Batch
from credit.nets.losses import Loss, is_classes
from credit.numerics.rand import Rand
from credit.tasks.augment import Augmentation
from credit.tasks.base import Learner, Take, Task

EVALUATION_BATCH = 2500  # samples a forward pass when evaluating: bounds memory, fills the cores


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
            return gathered(self.x, index), gathered(self.y, index)
        rows = torch.arange(index.shape[0], device=index.device).unsqueeze(-1)
        return self.x[rows, index], self.y[rows, index]

    def slices(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Consecutive pieces in order: x and y, (M, size, ...) each, M = 1 for samples that all members share."""
        for start in range(0, len(self), size):
            cut = slice(start, start + size)
            if self.per_member:
                yield self.x[:, cut], self.y[:, cut]
            else:
                yield self.x[None, cut], self.y[None, cut]


def gathered(values: Tensor, index: Tensor) -> Tensor:
    """values (N, ...) at `index` (M, B), (M, B, ...): one flat gather takes half of the time of advanced indexing."""
    return values.index_select(0, index.reshape(-1)).reshape(*index.shape, *values.shape[1:])


def gathered_rows(values: Tensor, index: Tensor) -> Tensor:
    """values (S, N, n) at `index` (S, k), (S, k, n)."""
    return values.gather(1, index.unsqueeze(-1).expand(*index.shape, values.shape[-1]))


@dataclass
class Supervised(Task):
    """Mini-batches from a fresh permutation per seed and pass; losses and error rates on the splits.

    partial: what becomes of the last samples of an epoch when they do not fill a mini-batch:

        own       a mini-batch of their own, averaged over its own samples
        nominal   a mini-batch of their own; its sum is divided by `batch_size`
        carry     they wait, and join the first mini-batch of the next epoch; its sum is divided by `batch_size`

    Carrying samples is the same as carrying their gradients, since no update lies in between.

    ties: "first", of the largest outputs the first is the answer (published for DFC, dynamic inversion and PEPITA);
    "wrong", a sample without one largest output counts as an error (prospective configuration).

    top: numbers k of largest outputs among which the class may be, for the measures topK_error.
    """

    splits: dict[str, Split]
    shape_in: tuple[int, ...]
    n_out: int
    members: int
    batch_size: int = 128
    drop_last: bool = False
    partial: str = "own"
    ties: str = "first"
    augmentation: Augmentation | None = None  # of the training images
    top: tuple[int, ...] = ()
    waiting: Tensor | None = None  # (M, R) samples that an epoch has left to the next one, or once for each seed

    def __post_init__(self) -> None:
        if self.partial == "carry" and self.batch_size > len(self.splits["train"]):
            n = len(self.splits["train"])
            raise ConfigError(f"task.batch_size = {self.batch_size}; must be at most the {n} samples to carry any over")

    def batches_per_epoch(self) -> int:
        """Number of mini-batches in one pass over the training data."""
        n, size = len(self.splits["train"]), self.batch_size
        return n // size if self.drop_last or self.partial == "carry" else -(-n // size)

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """One pass over the training data, in an order of its own for every seed, whose members share mini-batches."""
        train, size = self.splits["train"], self.batch_size
        rand, whose = (rand, None) if train.per_member else rand.distinct()
        order = rand.permutation("order", len(train)).to(train.x.device)
        take = train.take if self.augmentation is None else self.augmentation.of(train.take, train.x, rand)
        start, whole = 0, len(train) // size * size
        if self.partial == "carry":
            order, start = self._carry(learner, take, order, whole, whose)
        stop = whole if self.drop_last or self.partial == "nominal" else order.shape[1]
        learner.visit(order[:, start:stop], take, size, whose)
        if self.partial == "nominal" and stop < order.shape[1]:
            learner.update(Batch(*take(order[:, stop:]), divisor=size, whose=whose))

    def _carry(
        self, learner: Learner, take: Take, order: Tensor, whole: int, whose: Tensor | None
    ) -> tuple[Tensor, int]:
        """Set the last samples aside, after those that wait have joined the first mini-batch.

        Returns the order of this epoch and where in it to go on.
        """
        waiting, self.waiting = self.waiting, order[:, whole:]
        if waiting is None or waiting.shape[1] == 0:
            return order[:, :whole], 0
        first = torch.cat([waiting, order[:, : self.batch_size]], 1)
        learner.update(Batch(*take(first), divisor=self.batch_size, whose=whose))
        return order[:, :whole], self.batch_size

    def state_dict(self) -> dict:
        """Samples that wait for the next epoch."""
        return {} if self.waiting is None else {"waiting": self.waiting}

    def load_state_dict(self, state: dict) -> None:
        if "waiting" in state:
            self.waiting = state["waiting"].to(self.splits["train"].x.device)

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"SPLIT_loss": (M,), "SPLIT_error": (M,), ...}: the loss of all samples and, for classes, error rates.

        The loss is a mean over the samples, or a sum where the loss is one over the batch.
        """
        results: dict[str, Tensor] = {}
        for name in splits:
            split, sums = self.splits[name], {}
            for x, y in split.slices(EVALUATION_BATCH):
                output = learner.predict(x)
                y = y.expand(output.shape[0], *y.shape[1:])
                for key, value in self.measures(loss, output, y).items():
                    sums[key] = sums.get(key, 0) + value
            for key, total in sums.items():
                results[f"{name}_{key}"] = total if key == "loss" and loss.summed else total / len(split)
        return results

    def predictions(self, learner: Learner) -> dict[str, dict[str, Tensor]]:
        """Of the splits validation and test, as far as they are there; see `Task.predictions`."""
        found = {}
        for name in ("validation", "test"):
            if split := self.splits.get(name):
                outputs = torch.cat([learner.predict(x) for x, _ in split.slices(EVALUATION_BATCH)], 1)
                own = split.per_member or is_classes(split.y)
                found[name] = {"outputs": outputs, **({"targets": split.y} if own else {})}
        return found

    def measures(self, loss: Loss, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """What an evaluation reports, summed over some samples, (M,): "loss", and of classes "error", "topK_error"."""
        sums = {"loss": loss.value(output, y) * (1 if loss.summed else y.shape[1])}
        wrong = loss.error_count(output, y, self.ties == "wrong")
        if wrong is None:
            return sums
        counts = {f"top{k}_error": loss.top_error_count(output, y, k, self.ties == "wrong") for k in self.top}
        return sums | {"error": wrong} | counts
