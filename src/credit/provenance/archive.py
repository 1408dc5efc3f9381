"""Files packed into one: a list of what it holds, then the files; tar within xz. Standard library only.

The list comes first and names every file with its size and sha256. The same files give the same bytes.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from credit.errors import DataError
from credit.provenance.files import checksum, whole_file

FORMAT = 1
LIST = "contents.json"
LONGEST_LIST = 64_000_000  # bytes
_BLOCK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def pack(path: Path, about: Mapping[str, Any], files: Mapping[str, tuple[Path, Mapping[str, Any]]]) -> None:
    """Write the archive `path`, whole or not at all.

    about: what the list says of the whole. files: {name within the archive: (file, what the list says of it)}.
    """
    listed = {
        name: {**more, "bytes": file.stat().st_size, "sha256": checksum(file)}
        for name, (file, more) in sorted(files.items())
    }
    text = json.dumps({**about, "format": FORMAT, "files": listed}, indent=1, sort_keys=True) + "\n"
    with (
        whole_file(path) as part,
        lzma.open(part, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        _add(tar, LIST, len(text.encode()), io.BytesIO(text.encode()))
        for name, entry in listed.items():
            with files[name][0].open("rb") as content:
                _add(tar, name, entry["bytes"], content)


def _add(tar: tarfile.TarFile, name: str, size: int, content: BinaryIO) -> None:
    member = tarfile.TarInfo(name)  # no owner, no date
    member.size, member.mode = size, 0o644
    tar.addfile(member, content)


def read_list(path: Path, allowed: re.Pattern[str]) -> dict[str, Any]:
    """What an archive says that it holds; nothing is unpacked.

    allowed: what a file's name must match wholly. Raises DataError for what is no archive, and for one that holds
    a file of another name.
    """
    with _reading(path) as tar:
        return _list(path, tar, allowed)


def unpack(path: Path, allowed: re.Pattern[str], folder: Path) -> dict[str, Any]:
    """Unpack into an empty folder, and return the list.

    Raises DataError for what is no archive, for a file that the list does not have as it is, and for links and
    anything else that is no plain file; what was unpacked by then is left to the caller, within `folder`.
    """
    with _reading(path) as tar:
        about = _list(path, tar, allowed)
        waiting = dict(about["files"])
        for member in iter(tar.next, None):
            entry = waiting.pop(member.name, None)
            if entry is None or not member.isreg() or member.size != entry["bytes"]:
                raise DataError(f"{path}: {member.name!r} is not what its list says; nothing was taken from it")
            place = folder / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                shutil.copyfileobj(tar.extractfile(member), file, _BLOCK)
            if checksum(place) != entry["sha256"]:
                raise DataError(f"{path}: {member.name!r} has another sha256 than its list; nothing was taken from it")
        while tar.fileobj.read(_BLOCK):  # to the end, where the packer's own checksum stands
            pass
    if waiting:
        raise DataError(f"{path}: {min(waiting)!r} of its list is missing; nothing was taken from it")
    return about


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    wrong = f"{path}: not an archive of `credit export`, or cut off"
    try:
        with lzma.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            yield tar
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{wrong} ({error})") from error
    except OSError as error:
        if isinstance(error.filename, (str, Path)) and Path(error.filename) == path:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        raise


def _list(path: Path, tar: tarfile.TarFile, allowed: re.Pattern[str]) -> dict[str, Any]:
    first = tar.next()
    if first is None or first.name != LIST or not first.isreg() or first.size > LONGEST_LIST:
        raise DataError(f"{path}: not an archive of `credit export`: it does not begin with {LIST}")
    try:
        about = json.loads(tar.extractfile(first).read())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its {LIST} is not JSON ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise DataError(f"{path}: {LIST}: format = {found!r}; this code reads format {FORMAT}")
    files = about.get("files")
    if not isinstance(files, dict):
        raise DataError(f"{path}: {LIST}: files must be a mapping of names")
    for name, entry in files.items():
        if not allowed.fullmatch(name):
            raise DataError(f"{path}: holds {name!r}, which is no name of a result; nothing was taken from it")
        if not _is_entry(entry):
            raise DataError(f"{path}: {LIST}: files.{name} must hold bytes and sha256")
    return about


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    size, digest = entry.get("bytes"), entry.get("sha256")
    return type(size) is int and size >= 0 and isinstance(digest, str) and bool(_SHA256.fullmatch(digest))
