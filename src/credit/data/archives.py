"""Reads idx files and archives, packed or not."""

from __future__ import annotations

import gzip
import math
import shutil
import struct
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError)
_GZIP, _IDX = b"\x1f\x8b", b"\0\0\x08"  # how a gzip archive and an idx file of unsigned bytes begin


def unpacked(path: Path) -> BinaryIO:
    """What a gzip archive holds, or the file itself if it is none: an idx file or a tar archive.

    Raises one of DAMAGED, here or when it is read, for what is none of these or cut off.
    """
    with path.open("rb") as file:
        begin = file.read(16)
    if begin[:3] == _IDX and len(begin) > 3:
        size = 4 + 4 * begin[3]
        with path.open("rb") as file:
            header = file.read(size)
        shape = struct.unpack(f">{begin[3]}I", header[4:]) if len(header) == size else (math.inf,)
        if path.stat().st_size != size + math.prod(shape):
            raise EOFError("not as long as it says")
        return path.open("rb")
    if begin[:2] != _GZIP and tarfile.is_tarfile(path):
        return path.open("rb")
    return gzip.open(path)


def unpack(path: Path, out: Path) -> None:
    """Write to `out` what `unpacked` reads; raises as it does."""
    with unpacked(path) as content, out.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
