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
    if not root.is_dir():
        return [("", root)]
    found = [(path.relative_to(root).as_posix(), path) for path in _below(root, ())]
    return sorted(found)


def folders(root: Path) -> list[Path]:
    """Folders directly in a folder, by name."""
    return sorted(path for path in _listed(root) if path.is_dir())


def _below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        raise DataError(f"{folder}: a link that leads back to {real}; remove it")
    for path in _listed(folder):
        if path.is_dir():
            yield from _below(path, (*above, real))
        else:
            yield path


def _listed(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)  # noqa: PTH208  (a Path for each takes three times as long)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error
    return [folder / n for n in names if not n.startswith(".") and n.lower() not in _LITTER]


def stamp(roots: Mapping[str, Path]) -> tuple[str, bool]:
    """What changes when a file is replaced, added or removed, from names, sizes and dates alone; and whether it can
    be relied on, as no file is younger than the clock tells apart."""
    sha256, newest = hashlib.sha256(), 0
    for part, root in sorted(roots.items()):
        for name, path in files(root):
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
