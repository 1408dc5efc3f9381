"""Files that appear whole or not at all, and their checksums."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from credit.errors import DataError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}

RETRY = "nothing was lost, mend it and run again"


@contextmanager
def whole_file(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """A temporary name beside `path`; what is written there becomes `path` at its end.

    Whatever goes wrong, `path` stays as it was and the temporary file is removed. size: bytes needed, for the
    message. Raises DataError that names `path` if the disk is full or refuses to be written.
    """
    path = Path(path)
    with writing(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        handle, part = _own_part(path)
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            part.chmod(0o666 & ~umask)  # mkstemp's files are private; results are shared in a lab
            part.replace(path)
        finally:
            os.close(handle)
            with suppress(OSError):
                part.unlink()


def _own_part(path: Path) -> tuple[int, Path]:
    """Descriptor and name of a new temporary file, locked for as long as the descriptor is open."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with suppress(OSError):  # a file system without locks: then leftovers stay
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_open(handle, name):  # else another writer took it for a leftover before it was locked
            return handle, Path(name)
        os.close(handle)


def _is_open(handle: int, name: str | Path) -> bool:
    """Whether this name is that of the open file."""
    try:
        return os.path.samestat(os.fstat(handle), Path(name).stat())
    except FileNotFoundError:
        return False


@contextmanager
def alone(path: Path, doing: str) -> Iterator[bool]:
    """One process at a time for what makes `path`, on all machines that share its folder; others wait.

    A lock beside `path` says so, and is gone afterwards. Yields whether there is such a lock: some file systems have
    none, and what is written must hold without it. doing: what a process that waits says of the other one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f".{path.name}.lock")
    handle, locked = _locked(name, doing)
    try:
        yield locked
    finally:
        with suppress(OSError):
            name.unlink()  # before it is unlocked: those who wait see that it is gone, and make a new one
        os.close(handle)


def _locked(name: Path, doing: str) -> tuple[int, bool]:
    while True:
        handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another job, which {doing}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            return handle, False
        if _is_open(handle, name):
            return handle, True
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Temporary files of writers that were killed: those whose lock nobody holds."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), part.open("rb+") as file:  # NFS locks what may be written only
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


@contextmanager
def writing(path: Path, size: int | None = None) -> Iterator[None]:
    """Turns a full or refusing disk into a DataError that names `path`."""
    try:
        yield
    except OSError as e:
        if e.errno in _FULL:
            raise DataError(_no_room(path, e.strerror, size)) from e
        if e.errno in _REFUSED:
            where = path.parent if str(e.filename).endswith(".part") else e.filename or path.parent
            raise DataError(f"{path}: cannot be written: {where}: {e.strerror}; {RETRY}") from e
        raise


def _no_room(path: Path, reason: str, size: int | None) -> str:
    folder = next(p for p in path.absolute().parents if p.exists())
    room = f": {size} bytes needed, {shutil.disk_usage(folder).free} bytes free in {folder}" if size else ""
    return f"{path}: {reason}{room}; {RETRY}"


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
