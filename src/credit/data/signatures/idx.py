"""An idx file of unsigned bytes, whose header says how long it is, packed with gzip or not."""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path
from typing import BinaryIO

from credit.data.archives import unpacked
from credit.data.entry import Entry, File
from credit.data.foreign import Foreign, beginning

_UNSIGNED_BYTES, _GZIP = b"\0\0\x08", b"\x1f\x8b"


def identify(entry: Entry, file: File, path: Path) -> File | None:
    """The published file of the data set that holds the same, None for content that could be a copy of `file`.

    Raises Foreign for what is no idx file, not as long as its header says, or of another shape than the data set
    declares; what `unpacked` raises for what is cut off.
    """
    with unpacked(path) as content:
        shape, sha256 = _read(content)
    for other in (file, *entry.files):
        if sha256 == other.unpacked:
            return other
    if shape != (expected := _shape(entry, file)):
        raise Foreign(f"an idx file of {_size(shape)} bytes, where {_size(expected)} are expected")
    return None


def _read(content: BinaryIO) -> tuple[tuple[int, ...], str]:
    """Shape of the array and sha256 of the whole content."""
    begin = content.read(1024)
    if begin[:2] == _GZIP:
        raise Foreign("packed twice: a gzip archive within a gzip archive; unpack it once")
    size = 4 + 4 * begin[3] if begin[:3] == _UNSIGNED_BYTES and len(begin) > 3 else 0
    if not 4 < size <= len(begin):
        raise Foreign(f"no idx file of unsigned bytes: {beginning(begin)}")
    shape = struct.unpack(f">{begin[3]}I", begin[4:size])
    length, expected = len(begin), size + math.prod(shape)
    sha256 = hashlib.sha256(begin)
    while length <= expected and (piece := content.read(1 << 20)):
        length += len(piece)
        sha256.update(piece)
    if length != expected:
        found = f"{length} bytes" if length < expected else "more"
        raise Foreign(f"not as long as an idx file of {_size(shape)} bytes: {expected} bytes expected, found {found}")
    return shape, sha256.hexdigest()


def _shape(entry: Entry, file: File) -> tuple[int, ...]:
    """That of a file, by its name: train or test set, idx3 for images, idx1 for labels."""
    n = entry.train if file.name.startswith("train") else entry.test
    return (n, *entry.image[1:]) if "idx3" in file.name else (n,)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
