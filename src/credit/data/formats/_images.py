"""Images that torchvision reads, from archives that are unpacked for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from credit.data.archives import DAMAGED
from credit.data.entry import Entry
from credit.data.formats._reading import Batches, format_errors
from credit.errors import DataError


def from_torchvision(source: type, entry: Entry, raw: Path, scratch: Path) -> dict[str, Batches]:
    """Both splits, by a class of torchvision, of what was unpacked into `scratch`."""

    def batches(train: bool) -> Batches:
        with (
            format_errors(entry, raw),
            warnings.catch_warnings(action="ignore"),
        ):  # numpy, about Python 2 pickles
            data = source(scratch, train=train, download=False)
            images = np.asarray(data.data)  # MNIST (N, H, W), CIFAR (N, H, W, C)
            images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
            labels = np.asarray(data.targets)
        yield images, labels

    return {"train": batches(True), "test": batches(False)}


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turns what unpacking stumbles over into a DataError that names the file."""
    try:
        yield
    except DAMAGED as e:
        reason = (str(e).splitlines() or [""])[0].strip(" :") or type(e).__name__  # tarfile's first line says it all
        raise DataError(f"{path}: cannot be unpacked: {reason}; expected the original file, fetch it again") from e
