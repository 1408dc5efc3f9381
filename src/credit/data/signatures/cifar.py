"""CIFAR's archive, known by its members: a tar archive, packed or not."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from credit.data import _published
from credit.data.entry import Entry, File
from credit.data.foreign import Foreign


def identify(entry: Entry, file: File, path: Path) -> File | None:
    """`file` if the archive holds what was published, None if it has files of all the names that it must have.

    Raises Foreign for another archive; what `tarfile` raises for what is none, or is cut off.
    """
    found, published = {}, _published.members(entry)
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                content = hashlib.file_digest(archive.extractfile(member), "md5").hexdigest()
                found[member.name.removeprefix("./")] = content
        while archive.fileobj.read(1 << 20):  # raises where it is damaged or cut off behind its last member
            pass
    absent = [name for name in published if name not in found]
    if absent:
        names = " ".join(", ".join(list(found)[:8]).split()) or "no file"
        raise Foreign(f"expected a file {absent[0]} in it; found {names}")
    return file if all(found[name] == md5 for name, md5 in published.items()) else None
