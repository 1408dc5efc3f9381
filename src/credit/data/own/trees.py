"""Files and folders that are not ours: what lies there, whether it may have changed, and its checksums."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from credit.errors import DataError
from credit.provenance.files import checksum

_LITTER = {"thumbs.db", "desktop.ini"}  # what systems leave in folders, beside names that begin with a dot
_RECENT_NS = 2_000_000_000  # a change within this time after another one may leave the dates as they are


def files(root: Path) -> list[tuple[str, Path]]:
    """(name relative to `root`, path) of every file below a folder, by name; of a file itself [("", root)].

    Links are followed. Raises DataError for what cannot be looked through.
    """
    return [(name, Path(path)) for name, path in _files(root)]


def _files(root: Path) -> list[tuple[str, str]]:
    """`files` as text: a Path for each would take five times as long."""
    if not root.is_dir():
        return [("", str(root))]
    return sorted(_below(str(root), "", (os.path.realpath(root),)))


def folders(root: Path) -> list[Path]:
    """Folders directly in a folder, by name."""
    return sorted(Path(entry.path) for entry in _listed(root) if entry.is_dir())


def _below(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for entry in _listed(folder):
        if not entry.is_dir():
            yield prefix + entry.name, entry.path
            continue
        real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
        if real in above:
            raise DataError(f"{entry.path}: a link that leads back to {real}; remove it")
        yield from _below(entry.path, f"{prefix}{entry.name}/", (*above, real))


def _listed(folder: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as found:
            return [e for e in found if not e.name.startswith(".") and e.name.lower() not in _LITTER]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error


def stamp(roots: Mapping[str, Path]) -> tuple[str, bool]:
    """What changes when a file is replaced, added or removed, from names, sizes and dates alone; and whether it can
    be relied on, as no file is younger than the clock tells apart."""
    sha256, newest = hashlib.sha256(), 0
    for part, root in sorted(roots.items()):
        for name, path in _files(root):
            state = os.stat(path)  # noqa: PTH116
            newest = max(newest, state.st_mtime_ns, state.st_ctime_ns)
            sha256.update(f"{part}/{name}\0{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}\n".encode())
    return sha256.hexdigest(), newest < time.time_ns() - _RECENT_NS


def checksums(root: Path) -> dict[str, str]:
    """{name relative to `root`: sha256} of every file; the name of a file itself is empty."""
    return {name: checksum(path) for name, path in files(root)}


def combined(found: Mapping[str, str]) -> str:
    """One sha256 for `checksums`: of a file its own, of a folder that of the list which sha256sum prints of it."""
    if list(found) == [""]:
        return found[""]
    return hashlib.sha256("".join(f"{found[name]}  {name}\n" for name in sorted(found)).encode()).hexdigest()
