"""What experiments resolve to, kept between processes where compiled files are. Standard library only.

An entry belongs to all that decides it: the configuration's files by content, the package's files by date and size, the
settings, the version of Python. A file that is damaged, foreign or not there is none, and the experiments are resolved
anew; in a folder that cannot be written nothing is kept. What a data set of the user's own has to say of itself may
change without any of this: cells on such data are not kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
KEPT = 16  # states: scales, runs, and what was there before an edit


class Resolved:
    """The entry of one state. files: of the configuration. settings: what else decides, as text."""

    def __init__(self, files: Iterable[Path], settings: str, package: Path = PACKAGE):
        key = hashlib.sha256(f"{sys.version} {settings}".encode())
        for path in files:
            key.update(f"\0{path}\0".encode() + (path.read_bytes() if path.is_file() else b"\0"))
        for name, found in sorted(_sources(package)):
            key.update(f"\0{name} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_size}".encode())
        compiled = Path(importlib.util.cache_from_source(str(package / "dag" / "experiments.py")))
        self.path = compiled.with_name(f"experiments.{key.hexdigest()[:24]}.{sys.implementation.cache_tag}.kept")

    def read(self) -> Any:
        """What `write` kept, None if there is nothing."""
        with suppress(OSError, ValueError, EOFError, TypeError):
            head, body = (content := self.path.read_bytes())[:32], memoryview(content)[32:]
            if hashlib.sha256(body).digest() == head:
                return marshal.loads(body)
        return None

    def write(self, content: Any) -> None:
        """Keep mappings, lists, tuples, sets, texts and numbers. Raises ValueError for anything else."""
        body = marshal.dumps(content)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        with suppress(OSError):
            try:
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(hashlib.sha256(body).digest() + body)
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
            found = sorted(self.path.parent.glob("experiments.*.kept"), key=lambda path: path.stat().st_mtime_ns)
            for old in found[:-KEPT]:
                old.unlink(missing_ok=True)


def _sources(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir():
                yield from _sources(Path(entry.path))
            elif entry.name.endswith(".py"):
                yield entry.path, entry.stat()
