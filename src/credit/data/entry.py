"""What is declared about a data set, in the form that jobs receive it. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ANY = "*"


@dataclass(frozen=True)
class File:
    """One original file. bytes, sha256, md5: as published; None where nothing is published.

    unpacked: sha256 of what the archive holds, by which it is known however it was packed.
    """

    name: str
    url: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    unpacked: str | None = None

    def names(self) -> list[str]:
        """Names under which copies of the file go about, its own first: with a dot for a hyphen, and unpacked."""
        if "-idx" not in self.name:
            return [self.name]
        packed = [self.name, self.name.replace("-idx", ".idx")]
        return [*packed, *(name.removesuffix(".gz") for name in packed)]

    def expected(self) -> str:
        """What a genuine copy looks like, for messages."""
        size = [f"{self.bytes} bytes"] if self.bytes else []
        return ", ".join([*size, f"sha256 {self.sha256}" if self.sha256 else f"md5 {self.md5}"])


@dataclass(frozen=True)
class Entry:
    """One data set. image: (channels, height, width); train, test: numbers of images.

    format: module of `credit.data.formats` that reads it. torchvision: its class in torchvision.datasets.

    allowed: {file: sha256} of the copies that the user accepts although they are not the published files; under ANY
    stands that of one copy, whichever file it is.

    own: of a data set of the user's own, what is said of how to read it (`credit.data.own.reading`), None for
    others. Its files are paths, named by the part that they hold, and what stands here of classes and sizes was found
    in them; before that, there are no classes. dtype: of its samples. scale: the value that becomes 1. held_out: number
    of last training samples that are meant for validation.
    """

    name: str
    source: str
    files: tuple[File, ...]
    classes: int
    image: tuple[int, int, int]
    train: int
    test: int
    format: str
    torchvision: str | None = None
    allowed: dict[str, str] = field(default_factory=dict, hash=False)  # a dict has no hash; entries are keys of caches
    own: dict[str, Any] | None = field(default=None, hash=False)
    dtype: str | None = None
    scale: float | None = None
    held_out: int | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of one number of a prepared sample."""
        return 4 if self.dtype == "float32" else 1

    @property
    def verified(self) -> bool:
        """Whether `fetch` takes nothing but the published files; tables made from others say so.

        The user's own were never published: they are what they were when they were first read.
        """
        return not self.allowed and (self.source != "user" or self.own is not None)

    def raw_hash(self) -> str:
        """Hash (64 hex digits) of the data set as declared, with the copies that are allowed in its place.

        A data set of one file goes by the checksum of its allowed copy.
        """
        if len(self.allowed) == 1 and (len(self.files) == 1 or ANY in self.allowed):
            return next(iter(self.allowed.values()))
        declared = {f.name: f.sha256 or f.md5 for f in self.files} | self.allowed
        text = json.dumps([self.name, declared], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def allows(self, file: File, sha256: str) -> bool:
        """Whether the user accepts the copy with this checksum in place of a file."""
        return sha256 in (self.allowed.get(file.name), self.allowed.get(ANY))

    def spec(self, urls: bool) -> dict:
        """This entry as plain JSON values, without what is not said; `from_spec` inverts it.

        urls: with where the files come from, which matters for fetching and for nothing later.
        """
        entry = {k: v for k, v in asdict(self).items() if v is not None and (k, v) != ("allowed", {})}
        entry["image"] = list(self.image)
        said = ({k: v for k, v in asdict(f).items() if v is not None} for f in self.files)
        entry["files"] = [{k: v for k, v in file.items() if urls or k != "url"} for file in said]
        return entry

    @classmethod
    def from_spec(cls, spec: Mapping) -> Entry:
        """The entry that `spec` describes."""
        files = tuple(File(**file) for file in spec["files"])
        return cls(**{**spec, "files": files, "image": tuple(spec["image"])})
