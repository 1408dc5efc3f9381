"""A pickled batch of images."""

from __future__ import annotations

from pathlib import Path

from credit.data.entry import Entry, File
from credit.data.foreign import Foreign, beginning

_BINARY, _DICTIONARY = b"\x80", (b"(d", b"}")  # how a pickle begins, since protocol 2 and before
_ZIP = b"PK\x03\x04"


def identify(entry: Entry, file: File, path: Path) -> None:
    """None for what begins as a pickled dictionary does: no checksum of these files is published. Raises Foreign."""
    with path.open("rb") as opened:
        begin = opened.read(1024)
    if begin.startswith(_ZIP):
        raise Foreign(
            f"an archive (.npz or .zip) under the name of a pickle; expected the file {file.name} of the pickled "
            "version, unpacked"
        )
    if not begin.startswith((_BINARY, *_DICTIONARY)):
        raise Foreign(f"no pickled batch of images: {beginning(begin)}")
