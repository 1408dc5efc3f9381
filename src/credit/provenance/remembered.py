"""What was found in source files, kept between processes where compiled files are. Standard library only.

An entry belongs to a content, whatever file holds it and whenever it was written, so that an edit is always seen. It
also belongs to a version of Python and to the code that found it. A file of entries that is damaged, foreign or not
there is an empty one; in a folder that cannot be written nothing is kept. What a job holds against its spec is not
remembered: it reads every source itself (`Snapshot`), and refuses a spec whose digests are not those that it finds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

KEPT = 2000  # entries: several states of all files


class Remembered:
    """Entries (JSON values) by content. path: the file that keeps them. made_by: the source of what finds them.

    kept: number of entries beyond which the oldest are dropped.
    """

    def __init__(self, path: Path, made_by: bytes, kept: int = KEPT):
        self.path, self._kept = path, kept
        self._maker = hashlib.sha256(made_by + sys.version.encode()).hexdigest()
        self._entries: dict[str, Any] = self._read()
        self._new: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        """The entry of a content, None if there is none."""
        return self._entries.get(key)

    def __setitem__(self, key: str, entry: Any) -> None:
        self._entries[key] = self._new[key] = entry

    def _read(self) -> dict[str, Any]:
        try:
            head, _, body = self.path.read_bytes().partition(b"\n")
            return json.loads(body) if head.decode() == self._head(body) else {}
        except (OSError, ValueError):
            return {}

    def _head(self, body: bytes) -> str:
        return f"{self._maker} {hashlib.sha256(body).hexdigest()}"

    def save(self) -> None:
        """Write the file if there is something new. Processes may do so at once: the last one's is whole."""
        if not self._new:
            return
        newest_last = {k: v for k, v in self._entries.items() if k not in self._new} | self._new
        body = json.dumps(dict(list(newest_last.items())[-self._kept :]), separators=(",", ":")).encode()
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        with suppress(OSError):
            try:
                part.parent.mkdir(exist_ok=True)
                part.write_bytes(self._head(body).encode() + b"\n" + body)
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
        self._new = {}


def content_key(content: bytes) -> str:
    """What stands for a content; 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def beside(source: Path, name: str) -> Path:
    """Where Python would keep a compiled `source`, under another name: __pycache__, or below PYTHONPYCACHEPREFIX."""
    compiled = Path(importlib.util.cache_from_source(str(source)))
    return compiled.with_name(f"{name}.{sys.implementation.cache_tag}.json")
