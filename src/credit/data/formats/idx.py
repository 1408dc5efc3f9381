"""MNIST's format: gzipped arrays of unsigned bytes, images and labels in files of their own."""

from __future__ import annotations

from pathlib import Path

from credit.data import _torchvision
from credit.data.archives import unpack
from credit.data.entry import Entry
from credit.data.formats._images import damage, from_torchvision
from credit.data.formats._reading import Batches


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> dict[str, Batches]:
    """{"train": batches, "test": batches} of the files in `raw`, unpacked into `scratch`."""
    folder = _torchvision.raw_folder(entry)
    (scratch / folder).mkdir(parents=True)
    for file in entry.files:
        path = raw / folder / file.name
        with damage(path):
            unpack(path, scratch / folder / path.stem)
    return from_torchvision(_torchvision.reader(entry), entry, raw, scratch)
