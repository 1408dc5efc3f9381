"""CIFAR's format: an archive of pickled batches."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from credit.data import _pickles, _torchvision
from credit.data.entry import Entry
from credit.data.formats._images import damage, from_torchvision
from credit.data.formats._reading import Batches
from credit.errors import DataError


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> dict[str, Batches]:
    """{"train": batches, "test": batches} of the archive in `raw`, unpacked into `scratch`.

    verified: it is the published one, whose members torchvision knows by their checksums.
    """
    source = _unpacked(entry, raw, scratch)
    return from_torchvision(source if verified else _unchecked(source), entry, raw, scratch)


def _unpacked(entry: Entry, raw: Path, scratch: Path) -> type:
    """Unpack the archive, check that its pickles hold data only, and return the class that reads them."""
    source, path = _torchvision.reader(entry), raw / entry.files[0].name
    (scratch / source.base_folder).mkdir()
    members = [name for name, _ in source.train_list + source.test_list] + [source.meta["filename"]]
    with damage(path), tarfile.open(path) as archive:
        found = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
        for name in (f"{source.base_folder}/{member}" for member in members):
            if name not in found:
                raise DataError(
                    f"{path}: expected a file {name} in it; found {', '.join(list(found)[:8]) or 'no file'}"
                )
            with archive.extractfile(found[name]) as packed, (scratch / name).open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    for member in members:  # torchvision unpickles without restriction
        _pickles.load(scratch / source.base_folder / member)
    return source


def _unchecked(source: type) -> type:
    """The same torchvision class without md5 sums, for a copy that the user allowed by its own checksum."""
    lists = {kind: [[name, None] for name, _ in getattr(source, kind)] for kind in ("train_list", "test_list")}
    return type(source.__name__, (source,), {**lists, "meta": source.meta | {"md5": None}})
