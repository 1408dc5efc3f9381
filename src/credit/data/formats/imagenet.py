"""Downsampled ImageNet: pickled batches, one file each, labels from 1; those of the training set are called train…"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from credit.data import _pickles
from credit.data.entry import Entry
from credit.data.formats._reading import Batches, format_errors
from credit.errors import DataError


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> dict[str, Batches]:
    """{"train": batches, "test": batches} of the files in `raw`, one batch a file."""

    def batches(choose: Callable[[str], bool]) -> Batches:
        for name in filter(choose, (f.name for f in entry.files)):
            if zipfile.is_zipfile(raw / name):
                raise DataError(
                    f"{raw / name}: an archive (.npz or .zip) under the name of a pickle; expected the file {name} "
                    "of the pickled version, unpacked"
                )
            batch = _pickles.load(raw / name)
            with format_errors(entry, raw / name):
                images = np.asarray(batch["data"]).reshape(-1, *entry.image)
                labels = np.asarray(batch["labels"])
                if labels.size and labels.min() == 0:
                    raise DataError(
                        f"{raw / name}: labels count from 0, found {labels.min()} to {labels.max()}; those of the "
                        f"original files count from 1 to {entry.classes}: add 1, or take the original files"
                    )
                yield images, labels - 1

    return {
        "train": batches(lambda name: name.startswith("train")),
        "test": batches(lambda name: not name.startswith("train")),
    }
