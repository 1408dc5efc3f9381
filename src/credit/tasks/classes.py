"""Image classification with few images of every class, drawn by every seed for itself.

Source: Song et al. (2024), released code: search_depth, none_batch, small-arch-small-data, cnn (Figures 3f-h, 4b, 4c,
4h, 4i).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner
from credit.tasks.pixels import pixels, read
from credit.tasks.selection import Pool, Selected, Selection, labels, select


@dataclass
class Classified(Selected):
    """An epoch is a shuffled pass, or the first `batches` mini-batches of one."""

    batches: int | None = None

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """Shuffled anew, all training images of the seed."""
        self.visit(learner, rand, batches=self.batches)


@dataclass(frozen=True)
class Classes:
    """Members share one copy of the images in memory, and those of one seed their mini-batches.

    per_class, test_per_class: images of each class that every seed draws, once; None: all. Where a class has no more
    than that, one of them is left out, as published (see `credit.tasks.selection`). target_min: target of the outputs
    that are not the label's, whose is 1. batches: an epoch is only so many mini-batches of a pass over all of them.
    drop_last: training and testing leave out the samples that fill no mini-batch. batch_size: images of a mini-batch.
    test_batch_size: the same in testing; None: as batch_size. mean, std: as in `Images`.

    average: of the test error. "batches", as published: over the mini-batches of a shuffled pass, so that images of a
    last one that is not full weigh more; "samples": over images.

    Beside test, evaluations offer the splits validation and held_out, the two halves of the test images of every class
    (the first by their order, the second), and train: a rate can be chosen on one half and reported on the other, and
    training is that of the paper, which chooses and reports on all of them.
    """

    metrics: ClassVar[tuple[str, ...]] = ("{split}_loss", "{split}_error")
    evaluated: ClassVar[tuple[str, ...]] = ("train", "test", "validation", "held_out")
    targets: ClassVar[str] = "classes"

    per_class: Annotated[int, "> 0"] | None = None
    test_per_class: Annotated[int, "> 0"] | None = None
    batch_size: Annotated[int, "> 0"] = 60
    test_batch_size: Annotated[int, "> 0"] | None = None
    batches: Annotated[int, "> 0"] | None = None
    drop_last: bool = False
    target_min: Annotated[float, "< 1"] = 0.0
    average: Literal["batches", "samples"] = "batches"
    mean: float | tuple[float, ...] = 0.0
    std: Annotated[float, "> 0"] | tuple[Annotated[float, "> 0"], ...] = 1.0

    def build(self, context: Context) -> Classified:
        """The task; images (N, C, H, W)."""
        data, (rand, whose) = read(context), context.rand.distinct()
        classes, test = labels(data.train_y, context), labels(data.test_y, context)
        drawn = select(classes, data.n_classes, self.per_class, rand, "train_images")
        # Of the training images only those that are somebody's are kept.
        kept, places = drawn.index.unique(return_inverse=True)
        images = pixels(data.train_x[kept.cpu().numpy()], data.scale, self.mean, self.std, context)
        task = Classified(
            Pool(images, classes[kept], data.n_classes),
            Pool(pixels(data.test_x, data.scale, self.mean, self.std, context), test, data.n_classes),
            Selection(places, drawn.counts),
            select(test, data.n_classes, self.test_per_class, rand, "test_images"),
            tuple(data.train_x.shape[1:]), data.n_classes, context.rand, whose,
            torch.arange(data.n_classes, device=context.device).expand(len(rand.seeds), -1),
            self.batch_size, self.test_batch_size or self.batch_size, self.drop_last, self.average, self.target_min,
            batches=self.batches,
        )  # fmt: skip
        task.prepared = data.state
        return task


part = Classes
