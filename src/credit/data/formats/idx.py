"""MNIST's format: gzipped arrays of unsigned bytes, images and labels in files of their own."""

from __future__ import annotations

from pathlib import Path

from credit.data import _torchvision
from credit.data.archives import unpack, unpacked
from credit.data.entry import Entry
from credit.data.formats._images import damage, from_torchvision
from credit.data.formats._reading import Batches
from credit.errors import DataError

_HEADERS = (b"\0\0\x08\1", b"\0\0\x08\3")  # of unsigned bytes: labels (N,), images (N, H, W)


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> dict[str, Batches]:
    """{"train": batches, "test": batches} of the files in `raw`, unpacked into `scratch`."""
    folder = _torchvision.raw_folder(entry)
    (scratch / folder).mkdir(parents=True)
    for file in entry.files:
        path = raw / folder / file.name
        with damage(path):
            unpack(path, scratch / folder / path.stem)
        _check(path, scratch / folder / path.stem)
    return from_torchvision(_torchvision.reader(entry), entry, raw, scratch)


def _check(path: Path, content: Path) -> None:
    """Raise DataError naming the original file where what it holds is no idx file; torchvision would name none."""
    with content.open("rb") as file:
        begin = file.read(4)
    if begin not in _HEADERS:
        raise DataError(
            f"{path}: no idx file of unsigned bytes: it begins with the bytes {begin.hex(' ')}; expected the original "
            "file, fetch it again"
        )
    with damage(path), unpacked(content):  # raises where it is not as long as its header says
        pass
