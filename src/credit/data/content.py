"""Says what a file is by its content: the published one, however it was packed, an allowed copy, or something else."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
from pathlib import Path

from credit.config.registry import Registry
from credit.data.archives import DAMAGED, unpacked
from credit.data.entry import Entry, File
from credit.data.foreign import Foreign, beginning, check_page
from credit.provenance.files import checksum

SIGNATURES = Registry("credit.data.signatures", "format")  # formats that are not there go by checksums alone
_BROKEN = (*DAMAGED, lzma.LZMAError, ValueError, OSError)  # what archives of all kinds raise when they are damaged


class Differs(Exception):
    """A whole file, but neither the published one nor one that is allowed. label: where it was found."""

    def __init__(self, label: str, size: int, sha256: str):
        super().__init__(f"{label}: found {size} bytes, sha256 {sha256}")
        self.label, self.size, self.sha256 = label, size, sha256


def facts(entry: Entry, file: File, path: Path, label: str) -> dict:
    """{"bytes", "sha256", "verified": it holds what was published} of the original file at `path`.

    label: where it comes from, for messages. Raises Foreign, and Differs for a copy that a user might allow.
    """
    size, sha256 = path.stat().st_size, checksum(path)
    found = {"bytes": size, "sha256": sha256}
    known = _identified(entry, file, path, sha256)
    if known == file:
        return {**found, "verified": True}
    if known:
        raise Foreign(f"this is {known.name}, another file of {entry.name}")
    if entry.source == "user" or entry.allows(file, sha256):
        return {**found, "verified": False}
    raise Differs(label, size, sha256)


def _identified(entry: Entry, file: File, path: Path, sha256: str) -> File | None:
    """The published file that this is or holds, None for what could be a copy of it. Raises Foreign for all else."""
    named = next((other for other in (file, *entry.files) if _named(other, path, sha256)), None)
    if named:
        return named
    with path.open("rb") as opened:
        begin = opened.read(1024)
    check_page(begin)
    with contextlib.suppress(*_BROKEN), unpacked(path) as content:  # a server may pack its pages
        check_page(content.read(1024))
    try:
        if entry.format in SIGNATURES.names():
            return SIGNATURES.load(entry.format).identify(entry, file, path)
        if entry.source == "user":
            return None
        with unpacked(path) as content:
            packed = hashlib.file_digest(content, "sha256").hexdigest()
            return next((other for other in entry.files if other.unpacked == packed), None)
    except _BROKEN as e:
        if isinstance(e, OSError) and e.errno is not None:  # the disk's, not the content's
            raise
        why = f"{path.stat().st_size} bytes{_short(file, path)}: {_line(e)}; {beginning(begin)}"
        raise Foreign(f"cannot be unpacked, {why}") from e


def _named(file: File, path: Path, sha256: str) -> bool:
    """Whether a file is the published one, byte by byte."""
    if file.bytes not in (None, path.stat().st_size):
        return False
    if file.sha256:
        return sha256 == file.sha256
    return file.md5 is not None and checksum(path, "md5") == file.md5


def _short(file: File, path: Path) -> str:
    if not file.bytes:
        return ""
    less = path.stat().st_size < file.bytes
    return f" of {file.bytes}, it may be truncated" if less else f" where {file.bytes} are expected"


def _line(error: Exception) -> str:
    """The first line of a message; those that follow in tarfile's say what each method thought of the file."""
    return (str(error).splitlines() or [""])[0].strip(" :") or type(error).__name__
