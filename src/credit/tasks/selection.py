"""Selections of images, balanced over classes: one for each seed, from one copy of the images that all members share.

Source: Song et al. (2024), released code: subsets, targets and error rates of all of their tasks with images. Of every
class a random permutation is cut off behind the number that is asked for; where there are no more images than that, its
last element is dropped all the same, so that "6000 of a class" of FashionMNIST are 5999.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.losses import Loss, wrong
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner, Take, Task
from credit.tasks.pixels import pixels, read
from credit.tasks.supervised import gathered

# Samples a forward pass when evaluating: what a stack makes of them stays in the cache, which halves the time of 15
# layers; fewer where they have to be laid out for every member.
SHARED_BATCH, OWN_BATCH = 500, 250
Average = Literal["batches", "samples"]


@dataclass(frozen=True)
class Pool:
    """Images x (N, ...) and their classes (N,) from 0 to n_classes - 1: what selections are made from."""

    x: Tensor
    classes: Tensor
    n_classes: int


@dataclass(frozen=True)
class Selection:
    """Images of a pool for each of S seeds: index (S, n), class by class in the pool's order. counts: of each class."""

    index: Tensor
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return self.index.shape[1]

    def of_classes(self, start: int, stop: int) -> slice:
        """Where the images of the classes from start to stop - 1 are."""
        return slice(sum(self.counts[:start]), sum(self.counts[:stop]))

    @cached_property
    def first_half(self) -> Tensor:
        """Whether an image is in the first half of its class, bool (n,)."""
        halves = [torch.arange(count) < count // 2 for count in self.counts]
        return torch.cat(halves).to(self.index.device)


def select(classes: Tensor, n_classes: int, per_class: int | None, rand: Rand, stream: str) -> Selection:
    """`per_class` images of each class (None: all), drawn by every seed of `rand` for itself; see the module.

    classes: (N,). stream: of the draws, one permutation a class. Raises ConfigError where nothing is left.
    """
    parts, counts = [], []
    for c in range(n_classes):
        mine = (classes == c).nonzero().flatten()
        whole = per_class is None or per_class >= len(mine)
        counts.append(max(len(mine) - 1, 0) if whole else per_class)
        drawn = rand.permutation(stream, len(mine))[:, : counts[-1]].to(mine.device)
        parts.append(mine[drawn.sort(-1).values])
    if not sum(counts):
        raise ConfigError(f"the data set has {len(classes)} images of {n_classes} classes; needs 2 of one of them")
    return Selection(torch.cat(parts, 1), tuple(counts))


@dataclass(frozen=True)
class Pools:
    """The images of a data set that every seed draws from, as tasks begin: train, test; state: digest of the arrays."""

    train: Pool
    test: Pool
    state: str

    @classmethod
    def read(cls, context: Context) -> Pools:
        """All images of the context's data set, pixels in [0, 1]. Raises DataError as `credit.tasks.pixels.read`."""
        data = read(context)
        sides = (data.train_x, data.train_y), (data.test_x, data.test_y)
        pools = (Pool(pixels(x, data.scale, 0.0, 1.0, context), labels(y, context), data.n_classes) for x, y in sides)
        return cls(*pools, data.state)


def labels(y: np.ndarray, context: Context) -> Tensor:
    """Classes (N,) of a data set as int64, where the context computes."""
    return torch.from_numpy(y.astype(np.int64)).to(context.device)


@dataclass
class Selected(Task):
    """What the tasks with selections share: mini-batches of them, and error rates.

    rand: draws for members, also when testing. whose: (M,), which of the S seeds a member has; None: S = M. labels:
    (S, n_classes), what a class is called. target_min: target of the outputs that are not the label's, whose is 1.
    masked: the last outputs, so many, that no error reaches. test_size: of mini-batches when testing. average: see
    `credit.tasks.classes.Classes`.

    An answer is right where the label's output is larger than all others, and no output is NaN.
    """

    train_pool: Pool
    test_pool: Pool
    train: Selection
    test: Selection
    shape_in: tuple[int, ...]
    n_out: int
    rand: Rand
    whose: Tensor | None
    labels: Tensor
    batch_size: int
    test_size: int
    drop_last: bool = False
    average: Average = "batches"
    target_min: float = 0.0
    masked: int = 0

    def __post_init__(self) -> None:
        if self.drop_last and self.average == "batches" and self.test_size > len(self.test):
            raise ConfigError(
                f"task.drop_last = true; {len(self.test)} test images give no mini-batch of {self.test_size}"
            )
        if self.drop_last and self.batch_size > len(self.train):
            raise ConfigError(
                f"task.drop_last = true; {len(self.train)} training images give no mini-batch of {self.batch_size}"
            )

    # ---- training

    def visit(self, learner: Learner, rand: Rand, part: slice = slice(None), batches: int | None = None) -> None:
        """A shuffled pass over the training images, or a part of them; of it only the first so many mini-batches."""
        chosen = self.train.index[:, part]
        once, whose = rand.distinct()
        order = once.permutation("order", chosen.shape[1]).to(chosen.device)
        stop = order.shape[1] // self.batch_size * self.batch_size if self.drop_last else order.shape[1]
        stop = stop if batches is None else min(stop, batches * self.batch_size)
        learner.visit(order[:, :stop], self._take(chosen), self.batch_size, whose)

    def _take(self, chosen: Tensor) -> Take:
        """chosen: images of the pool, (S, n)."""

        def take(index: Tensor) -> tuple[Tensor, ...]:
            own = chosen.gather(1, index)
            y = self._targets(self.labels.gather(1, self.train_pool.classes[own]))
            x = gathered(self.train_pool.x, own)
            return (x, y) if self.weights is None else (x, y, self.weights.expand(*own.shape, self.n_out))

        return take

    def _targets(self, labels: Tensor) -> Tensor:
        """labels (S, k) -> themselves, or where other outputs have another target than 0, values (S, k, n_out)."""
        if self.target_min == 0:
            return labels
        shape = *labels.shape, self.n_out
        dense = torch.full(shape, self.target_min, dtype=self.test_pool.x.dtype, device=labels.device)
        return dense.scatter_(-1, labels.unsqueeze(-1), 1.0)

    @cached_property
    def weights(self) -> Tensor | None:
        """Of the output errors, (n_out,); None where all count."""
        if not self.masked:
            return None
        weights = torch.ones(self.n_out, dtype=self.test_pool.x.dtype, device=self.test_pool.x.device)
        weights[self.n_out - self.masked :] = 0
        return weights

    # ---- evaluation

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"SPLIT_loss": (M,), "SPLIT_error": (M,), ...} of the splits train, test, validation and held_out.

        validation and held_out are the halves of every class of the test images, the first by order and the second. A
        loss is a mean over images, or a sum where the loss is one over the batch. Raises ConfigError for a validation
        without images.
        """
        if "validation" in splits and max(self.test.counts) < 2:
            raise ConfigError("train.evaluate.splits: validation has no image, a class has 1 test image; needs 2")
        results: dict[str, Tensor] = {}
        if "train" in splits:
            results |= self._means("train", loss, *self.judged(learner, loss, self.train_pool, self.train.index))
        if {"test", "validation", "held_out"} & set(splits):
            wrong, losses = self.judged(learner, loss, self.test_pool, self.test.index)
            first = self.test.first_half
            for name, half in (("validation", first), ("held_out", ~first)):
                if name in splits:
                    results |= self._means(name, loss, wrong[:, half], losses[:, half])
            if "test" in splits:
                results |= self._means("test", loss, wrong, losses) | self.test_errors(wrong)
        return results

    def predictions(self, learner: Learner) -> dict[str, dict[str, Tensor]]:
        """Of the test images of every member, "targets" being their labels; see `Task.predictions`."""
        own, pieces = self._of_members(self.test.index), self._own_pieces(self.test_pool, self.test.index)
        outputs = torch.cat([learner.predict(x) for x, _ in pieces], 1)
        labels = self._of_members(self.labels).gather(1, self.test_pool.classes[own])
        return {"test": {"outputs": outputs, "targets": labels, "index": own}}

    def test_errors(self, wrong: Tensor) -> dict[str, Tensor]:
        """Error rates that the test images give, {metric: (M,)}; wrong: bool (M, n)."""
        return {"test_error": self.averaged(wrong, "order.test")}

    def judged(self, learner: Learner, loss: Loss, pool: Pool, index: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the answers to the images `index` (S, n) are wrong, bool (M, n), and their losses, (M, n).

        Selections that are most of the pool are evaluated on all of it, which need not be laid out for every seed. That
        is decided by sizes alone, so that bits do not depend on who shares the stack.
        """
        whole = 2 * index.shape[1] >= len(pool.x)
        found = [
            self._judged(learner.predict(x), self._of_members(y), loss)
            for x, y in (self._pieces(pool) if whole else self._own_pieces(pool, index))
        ]
        wrong, losses = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        own = self._of_members(index)
        return (wrong.gather(1, own), losses.gather(1, own)) if whole else (wrong, losses)

    def _pieces(self, pool: Pool) -> Iterator[tuple[Tensor, Tensor]]:
        """All images (1, k, ...), and their labels (S, k)."""
        for x, classes in zip(pool.x.split(SHARED_BATCH), pool.classes.split(SHARED_BATCH), strict=True):
            yield x.unsqueeze(0), self.labels[:, classes]

    def _own_pieces(self, pool: Pool, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The images of every member, (M, k, ...), and labels (S, k)."""
        for part in index.split(OWN_BATCH, 1):
            yield gathered(pool.x, self._of_members(part)), self.labels.gather(1, pool.classes[part])

    def _judged(self, output: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """output (M, k, n_out), labels (M, k) -> wrong (M, k), losses (M, k)."""
        one_by_one = self._targets(labels.unsqueeze(-1))  # a mini-batch of one each
        weights = () if self.weights is None else (self.weights.expand_as(output).unsqueeze(-2),)
        return wrong(output, labels, ties_wrong=True), loss.value(output.unsqueeze(-2), one_by_one, *weights)

    def _of_members(self, values: Tensor) -> Tensor:
        return values if self.whose is None else values.index_select(0, self.whose)

    def _means(self, name: str, loss: Loss, wrong: Tensor, losses: Tensor) -> dict[str, Tensor]:
        total = losses.sum(1)
        return {
            f"{name}_loss": total if loss.summed else total / losses.shape[1],
            f"{name}_error": wrong.to(torch.float64).mean(1),
        }

    def averaged(self, wrong: Tensor, stream: str) -> Tensor:
        """The error rate (M,) of answers (M, n): over mini-batches of a shuffled pass, drawn anew, or over samples."""
        n, size = wrong.shape[1], self.test_size
        rest = n % size
        if self.average == "samples" or not rest:
            return wrong.to(torch.float64).mean(1)
        once, _ = self.rand.distinct()
        last = self._of_members(once.permutation(stream, n)[:, n - rest :].to(wrong.device))
        left = wrong.gather(1, last).sum(1)
        full = (wrong.sum(1) - left).to(torch.float64) / size
        return full / (n // size) if self.drop_last else (full + left / rest) / (n // size + 1)
