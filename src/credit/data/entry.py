"""What is declared about a data set, in the form that jobs receive it. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class File:
    """One original file. bytes, sha256, md5: as published; None where nothing is published."""

    name: str
    url: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def expected(self) -> str:
        """What a genuine copy looks like, for messages."""
        size = [f"{self.bytes} bytes"] if self.bytes else []
        return ", ".join([*size, f"sha256 {self.sha256}" if self.sha256 else f"md5 {self.md5}"])


@dataclass(frozen=True)
class Entry:
    """One data set. image: (channels, height, width); train, test: numbers of images.

    allowed: sha256 of the one copy that the user accepts although it is not the published file, or None.
    """

    name: str
    source: str
    files: tuple[File, ...]
    classes: int
    image: tuple[int, int, int]
    train: int
    test: int
    allowed: str | None = None

    @property
    def verified(self) -> bool:
        """Whether `fetch` takes nothing but the published files; tables made from others say so."""
        return self.allowed is None and self.source != "user"

    def raw_hash(self) -> str:
        """Hash (64 hex digits) of the data set as declared, or of the copy that is allowed in its place."""
        if self.allowed:
            return self.allowed
        declared = {f.name: f.sha256 or f.md5 for f in self.files}
        text = json.dumps([self.name, declared], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def spec(self, urls: bool) -> dict:
        """This entry as plain JSON values; `from_spec` inverts it.

        urls: with where the files come from, which matters for fetching and for nothing later.
        """
        entry = asdict(self) | {"image": list(self.image)}
        entry["files"] = [{k: v for k, v in asdict(f).items() if urls or k != "url"} for f in self.files]
        return entry

    @classmethod
    def from_spec(cls, spec: Mapping) -> Entry:
        """The entry that `spec` describes."""
        files = tuple(File(**file) for file in spec["files"])
        return cls(**{**spec, "files": files, "image": tuple(spec["image"])})
