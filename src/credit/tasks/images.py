"""Image classification, or reconstruction of the image, from a prepared data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from credit.data.load import split
from credit.errors import ConfigError
from credit.nets.losses import Loss
from credit.nets.losses import get as get_loss
from credit.tasks.augment import Augmentation
from credit.tasks.base import Context
from credit.tasks.pixels import pixels, read
from credit.tasks.supervised import Split, Supervised


class Reconstruction(Supervised):
    """Autoencoders: beside the loss that they descend, evaluations report "mse", the mean squared error per pixel."""

    def measures(self, loss: Loss, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        return super().measures(loss, output, y) | {"mse": get_loss("mse").value(output, y) * y.shape[1]}


@dataclass(frozen=True)
class Images:
    """All members of the stack share one copy of the images in memory.

    validation: samples held out of the training set; which ones is the same for every run and seed. mean, std: pixels
    are scaled to [0, 1], then (x - mean) / std, one number for all channels or one for each. target: the class, or the
    image itself (autoencoder). batch_size: images of a mini-batch. train: use only the first samples of the training
    part. train_drawn: every run draws so many of it for itself, once, by its seed. drop_last, partial: what becomes of
    the samples of an epoch that fill no mini-batch; ties: whether several largest outputs are an error; see
    `Supervised`. flip, crop: random changes of the training images, see `Augmentation`. top: evaluations also report
    SPLIT_topK_error, for each K the share whose class is not among the K largest outputs.
    """

    metrics: ClassVar[dict] = {
        "target": {
            "class": ("{split}_loss", "{split}_error", "{split}_top{top}_error"),
            "input": ("{split}_loss", "{split}_mse"),
        }
    }
    evaluated: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    targets: ClassVar[dict[str, str]] = {"class": "classes", "input": "inputs"}  # by the field `target`

    validation: Annotated[int, ">= 0"] = 5000
    mean: float | tuple[float, ...] = 0.0
    std: Annotated[float, "> 0"] | tuple[Annotated[float, "> 0"], ...] = 1.0
    target: Literal["class", "input"] = "class"
    batch_size: Annotated[int, "> 0"] = 128
    drop_last: bool = False
    partial: Literal["own", "nominal", "carry"] = "own"
    train: Annotated[int, "> 0"] | None = None
    train_drawn: bool = False
    ties: Literal["first", "wrong"] = "first"
    flip: Annotated[float, "[0, 1]"] = 0.0
    crop: Annotated[int, ">= 0"] = 0
    top: tuple[Annotated[int, "> 1"], ...] = ()

    def build(self, context: Context) -> Supervised:
        """The task, with splits train, validation (unless 0) and test; images (N, C, H, W)."""
        if self.drop_last and self.partial != "own":
            raise ConfigError(f"task.partial = {self.partial!r}; contradicts drop_last = true")
        if self.target == "input" and (self.flip or self.crop):
            raise ConfigError("task.target = 'input'; needs flip 0 and crop 0")
        if self.target == "input" and self.ties != "first":
            raise ConfigError(f"task.ties = {self.ties!r}; needs classes, the targets of this task are inputs")
        if self.target == "input" and self.top:
            raise ConfigError(f"task.top = {list(self.top)}; needs classes, the targets of this task are inputs")
        data = read(context)
        if not 0 <= self.validation < len(data.train_x):
            raise ConfigError(
                f"task.validation = {self.validation}; {data.name} has {len(data.train_x)} training images"
            )
        train, held_out = split(data, self.validation)
        chosen = {"train": self._training(train, context), "validation": held_out}
        splits = {
            name: self._split(data.train_x[index], data.train_y[index], data.scale, context)
            for name, index in chosen.items()
            if len(index)
        }
        splits["test"] = self._split(data.test_x, data.test_y, data.scale, context)
        shape = tuple(data.train_x.shape[1:])
        changes = Augmentation(self.flip, self.crop) if self.flip or self.crop else None
        loop = (context.members, self.batch_size, self.drop_last, self.partial, self.ties, changes)
        if self.target == "input":
            task: Supervised = Reconstruction(splits, shape, int(np.prod(shape)), *loop)
        else:
            task = Supervised(splits, shape, data.n_classes, *loop, self.top)
        task.prepared = data.state
        return task

    def _training(self, order: np.ndarray, context: Context) -> np.ndarray:
        """Indices of the training images, (n,) or, where every member has its own, (M, n)."""
        if not self.train_drawn:
            return order[: self.train]
        if self.train is None:
            raise ConfigError("task.train_drawn = true; needs task.train, how many each run draws")
        drawn = context.rand.permutation("training_images", len(order))[:, : self.train]
        return order[drawn.cpu().numpy()]

    def _split(self, x: np.ndarray, y: np.ndarray, scale: float, context: Context) -> Split:
        images = pixels(x, scale, self.mean, self.std, context)
        targets = images.flatten(-3) if self.target == "input" else torch.from_numpy(y.astype(np.int64))
        return Split(images, targets.to(context.device), per_member=x.ndim > 4)


part = Images
