"""Says what a file is by its content: the published one, however it was packed, an allowed copy, or something else."""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from pathlib import Path

from credit.data import _published
from credit.data.archives import DAMAGED, unpacked
from credit.data.entry import Entry, File
from credit.provenance.files import checksum


class Foreign(Exception):
    """No such file at all, whoever vouches for it: a web page, or cut off. Another source may have the right one."""


class Differs(Exception):
    """A whole file, but neither the published one nor one that is allowed. label: where it was found."""

    def __init__(self, label: str, size: int, sha256: str):
        super().__init__(f"{label}: found {size} bytes, sha256 {sha256}")
        self.label, self.size, self.sha256 = label, size, sha256


def facts(entry: Entry, file: File, path: Path, label: str) -> dict:
    """{"bytes", "sha256", "verified": it holds what was published} of the original file at `path`.

    label: where it comes from, for messages. Raises Foreign, and Differs for a copy that a user might allow.
    """
    size = path.stat().st_size
    with path.open("rb") as opened:
        _check_beginning(opened.read(1024))
    with contextlib.suppress(*DAMAGED), unpacked(path) as content:  # a server may pack its pages
        _check_beginning(content.read(1024))
    sha256 = checksum(path)
    found = {"bytes": size, "sha256": sha256}
    if file.bytes in (None, size) and _named(file, path, sha256):
        return {**found, "verified": True}
    if entry.source == "user" or entry.allows(file, sha256):
        return {**found, "verified": False}
    if _same_content(entry, file, path):
        return {**found, "verified": True}
    raise Differs(label, size, sha256)


def _named(file: File, path: Path, sha256: str) -> bool:
    if file.sha256:
        return sha256 == file.sha256
    return file.md5 is not None and checksum(path, "md5") == file.md5


def _check_beginning(begin: bytes) -> None:
    if not begin:
        raise Foreign("an empty file")
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"<", b"{") and b"\0" not in begin:
        line = " ".join(text[:80].decode("utf-8", "replace").split())
        raise Foreign(f"a web page or a message of a server, no data: it begins with {line!r}")


def _same_content(entry: Entry, file: File, path: Path) -> bool:
    """Whether the file holds what the published one holds. Raises Foreign for what cannot be unpacked."""
    try:
        if entry.format == "cifar":
            return _members(path, _published.members(entry))
        with unpacked(path) as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except DAMAGED as e:
        raise Foreign(f"cannot be unpacked, {path.stat().st_size} bytes{_short(file, path)}: {e}") from e
    return sha256 == file.unpacked


def _short(file: File, path: Path) -> str:
    less = file.bytes and path.stat().st_size < file.bytes
    return f" of {file.bytes}, it may be truncated" if less else f" where {file.bytes} are expected"


def _members(path: Path, md5: dict[str, str]) -> bool:
    """Whether an archive holds these files. Reads it to its end."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                content = hashlib.file_digest(archive.extractfile(member), "md5").hexdigest()
                found[member.name.removeprefix("./")] = content
    _to_its_end(path)
    return all(found.get(name) == value for name, value in md5.items())


def _to_its_end(path: Path) -> None:
    """Raise as gzip does for an archive that is cut off behind its last member."""
    with unpacked(path) as content:
        while content.read(1 << 20):
            pass
