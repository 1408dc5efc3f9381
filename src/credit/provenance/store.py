"""Finished blocks by what they are a function of, so that nothing is computed twice. Standard library only.

    FOLDER/KE/KEY/           KEY stands for all that decides the numbers
        SPEC.entry           one block of this key: its files, with their sha256, and how it was made
        SHA256.jsonl         a file of a block, which is the result itself under another name (a hard link)
    FOLDER/series/SE/SERIES.KEY.SPEC
                             an empty file: the block belongs to a series, of runs that differ in their length

A result and what is kept of it share their bytes. That holds because every writer replaces a file, and none writes
into it. Snakemake sets the date of each output when its job ends, through hard links too: what is taken from here
therefore stands in its place as a symbolic link from `LARGE` on, where Snakemake compares dates and not contents, so
that two runs which take turns on a block do not make each other's tables again. Below that it is one more hard link.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit.provenance.files import alone, checksum, whole_file, write_json

FORMAT = 1
ENTRY = ".entry"
SERIES = "series"
LARGE = 1_000_000  # bytes
_FULL = (errno.ENOENT, errno.ENOSPC, errno.EDQUOT)  # reasons not to try a copy
_FORGOTTEN = 60.0  # seconds after which a link that was not put in place is a leftover
_FILE = re.compile(r"[0-9a-f]{32}(\.\w+)+")


@dataclass(frozen=True)
class Entry:
    """A block. spec: digest of its spec. files: {how their names end: (file, sha256, bytes)}.

    about: how it was made.
    """

    path: Path
    spec: str
    files: dict[str, tuple[Path, str, int]]
    about: dict[str, Any]

    def damage(self, ends: Set[str]) -> str:
        """What is wrong with its files that end so, nothing where they are as they were stored."""
        for end in ends:
            file, sha256, size = self.files[end]
            try:
                found = checksum(file) if file.stat().st_size == size else "of another length"
            except OSError as error:
                return f"{file}: {error.strerror}"
            if found != sha256:
                return f"{file}: sha256 {found[:16]}…, stored as {sha256[:16]}…"
        return ""


class Store:
    """The store in `folder`, which need not exist."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def _of(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def entries(self, key: str, spec: str, ends: Set[str]) -> Iterator[Entry]:
        """Blocks of a key with files that end so; first the one of this spec, by its digest."""
        for path in sorted(self._of(key).glob(f"*{ENTRY}"), key=lambda p: (p.stem != spec, p.stem)):
            entry = read(path)
            if entry is None:
                _say_damaged(f"{path}: not an entry")
            elif ends <= entry.files.keys():
                yield entry

    def sound(self, key: str, spec: str, ends: Set[str]) -> Iterator[Entry]:
        """As `entries`, those whose files are as they were stored; others are named in a line."""
        for entry in self.entries(key, spec, ends):
            if damage := entry.damage(ends):
                _say_damaged(damage)
            else:
                yield entry

    def series(self, series: str) -> Iterator[Entry]:
        """Blocks of a series, in no order that means anything."""
        for pointer in sorted(self._pointers(series).glob(f"{series}.*")):
            _, key, spec = pointer.name.split(".")
            if (entry := read(self._of(key) / f"{spec}{ENTRY}")) is not None:
                yield entry

    def _pointers(self, series: str) -> Path:
        return self.folder / SERIES / series[:2]

    def put(self, key: str, spec: str, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
        """Keep a block, in place of an older one of the same key and spec.

        files: {how their names end: file}. about: JSON values; its `series`, where there is one, is that to which the
        block belongs. Raises OSError or DataError where it cannot be kept.
        """
        folder = self._of(key)
        with alone(folder, "keeps a block of this kind") as locked:
            folder.mkdir(exist_ok=True)
            listed = {}
            for end, file in files.items():
                sha256 = checksum(file)
                link(file, folder / f"{sha256[:32]}{end}")
                listed[end] = {"sha256": sha256, "bytes": file.stat().st_size}
            content = {"format": FORMAT, "key": key, "spec": spec, "files": listed, "about": dict(about)}
            write_json(folder / f"{spec}{ENTRY}", content)
            if series := about.get("series"):
                self._pointers(series).mkdir(parents=True, exist_ok=True)
                (self._pointers(series) / f"{series}.{key}.{spec}").touch()
            if locked:
                remove_unlisted(folder)

    def __iter__(self) -> Iterator[Path]:
        """Folders of all keys."""
        yield from sorted(path for path in self.folder.glob("??/*") if path.is_dir())

    def remove(self, folder: Path, entries: Sequence[Entry] = ()) -> None:
        """Take blocks out of the folder of their key, and files of no block."""
        with alone(folder, "keeps a block of this kind"):
            for entry in entries:
                entry.path.unlink(missing_ok=True)
                if series := entry.about.get("series"):
                    pointers = self._pointers(series)
                    (pointers / f"{series}.{folder.name}.{entry.path.stem}").unlink(missing_ok=True)
                    _remove_empty(pointers, pointers.parent)
            remove_unlisted(folder)
            _remove_empty(folder)
        _remove_empty(folder.parent)


def _remove_empty(*folders: Path) -> None:
    """Remove folders, the inner one first, of which nothing is left."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _say_damaged(what: str) -> None:
    print(f"store: damaged, not used, and replaced when the block is made again: {what}", file=sys.stderr)


def read(path: Path) -> Entry | None:
    """The entry at `path`; None where there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {
            end: (path.with_name(f"{one['sha256'][:32]}{end}"), one["sha256"], one["bytes"])
            for end, one in content["files"].items()
        }
        return Entry(path, content["spec"], files, content["about"]) if content["format"] == FORMAT else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def unlisted(folder: Path) -> list[Path]:
    """Files of a key that no entry names, and entries that cannot be read."""
    entries = {path: read(path) for path in folder.glob(f"*{ENTRY}")}
    named = {file for entry in entries.values() if entry for file, _, _ in entry.files.values()}
    found = [path for path in folder.iterdir() if _FILE.fullmatch(path.name) and path not in named]
    return found + [path for path, entry in entries.items() if entry is None]


def remove_unlisted(folder: Path) -> None:
    """Remove what no entry names; to be done alone."""
    for path in unlisted(folder):
        path.unlink(missing_ok=True)


def place(file: Path, target: Path) -> None:
    """Let `target` be a file of the store, in place of what is there."""
    if file.stat().st_size < LARGE:
        link(file, target)
        return
    with _part(target) as part:
        part.symlink_to(os.path.relpath(file.resolve(), part.parent.resolve()))
        part.replace(target)


def link(file: Path, target: Path) -> None:
    """Let `target` be the same file as `file`, in place of what is there; a copy where links are refused.

    They are between file systems, for files of others, on some file systems at all, and beyond a number of links.
    """
    with _part(target) as part:
        try:
            os.link(file.resolve(), part)
            part.replace(target)  # which does nothing, and leaves the part, where both are the same file already
            return
        except OSError as error:
            if error.errno in _FULL:
                raise
    with whole_file(target, file.stat().st_size) as copy:
        shutil.copyfile(file, copy)


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """A name beside `target` for a new link, gone afterwards, with those that were left by a kill."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.link"):
        with suppress(OSError):
            if time.time() - left.lstat().st_ctime > _FORGOTTEN:
                left.unlink()
    path = target.with_name(f".{target.name}.{uuid.uuid4().hex}.link")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
