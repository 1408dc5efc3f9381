"""Brings the original files of a data set into a folder, as torchvision.datasets expects them there.

Sources in order: what lies there already, the mirror, the official place. Checksums decide, not the source: a
file is taken if it is the published one, or the one copy that the user allows in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from credit.config.paths import MIRROR_VARIABLE, expanded, mirror_of_environment
from credit.data import _sources, _torchvision
from credit.data._sources import Patience, Unavailable
from credit.data.entry import Entry, File
from credit.errors import DataError
from credit.provenance.files import alone, checksum, whole_file, writing


def fetch(
    entry: Entry,
    folder: Path,
    mirror: str | None = None,
    user_files: str | None = None,
    patience: Patience | None = None,
) -> dict:
    """Bring the files of `entry` below `folder` and return the manifest of what is there now.

    mirror: folder or URL that holds DATASET/FILE, tried before the official place (or $CREDIT_DATA_MIRROR).
    user_files: folder of the same layout with data sets that need registration, tried before the mirror.
    The manifest: {"dataset", "raw_hash", "verified": every file is the published one,
    "files": [{"name", "path" relative to `folder`, "bytes", "sha256", "verified"}]}.
    Raises DataError naming the file, what was found and what is expected; no partial file is left. Several processes
    may fetch into one folder: one at a time.
    """
    supplied = expanded(user_files, "user_files") if entry.source == "user" else None
    mirrors = [supplied, expanded(mirror, "mirror") or mirror_of_environment()]
    files = []
    if entry.source != "embedded":
        with writing(folder), alone(folder, f"fetches {entry.name} into {folder}"):
            for file in entry.files:
                path = Path(_torchvision.raw_folder(entry), file.name)
                facts = _bring(entry, file, folder / path, list(filter(None, mirrors)), patience or Patience())
                files.append({"name": file.name, "path": path.as_posix(), **facts})
    verified = all(f["verified"] for f in files)
    if verified and not entry.verified:
        raise DataError(
            f"{entry.name}: allow_unverified names a copy with sha256 {entry.allowed}, but what was found in "
            f"{folder} is the published data set; remove {entry.name} from allow_unverified"
        )
    return {"dataset": entry.name, "raw_hash": entry.raw_hash(), "verified": verified, "files": files}


def _bring(entry: Entry, file: File, path: Path, mirrors: list[str], patience: Patience) -> dict:
    """Make sure that `path` is the original file. Returns the facts of `_verify`."""
    tried = []
    try:
        if path.exists():
            return _verify(entry, file, path, str(path))
        tried.append(f"{path}: absent")
    except DataError as e:  # replaced if a source has the right one
        tried.append(str(e))
    for label, copy in _places(entry, file, mirrors, patience):
        try:
            with whole_file(path, file.bytes) as part:
                copy(part)
                return _verify(entry, file, part, label)
        except Unavailable as e:
            tried.append(f"{label}: {e}")
    raise DataError(f"{entry.name}: {file.name} cannot be had. Tried {'; '.join(tried)}. {_way_out(entry, file, path)}")


def _places(entry: Entry, file: File, mirrors: list[str], patience: Patience) -> Iterator[tuple[str, Callable]]:
    for mirror in mirrors:
        location = _sources.in_mirror(mirror, entry, file)
        yield location, partial(_sources.copy, location, patience=patience)
    if entry.source == "torchvision":
        yield "official download", partial(_sources.official, entry, file, patience=patience)


def _verify(entry: Entry, file: File, path: Path, label: str) -> dict:
    """Size, sha256, is it the published file? Raises DataError if it is neither that nor the allowed copy."""
    size, sha256 = path.stat().st_size, checksum(path)
    published = file.bytes in (None, size) and (
        sha256 == file.sha256 if file.sha256 else file.md5 is not None and checksum(path, "md5") == file.md5
    )
    if not (published or entry.source == "user" or sha256 == entry.allowed):
        raise DataError(_refusal(entry, file, label, size, sha256))
    return {"bytes": size, "sha256": sha256, "verified": published}


def _refusal(entry: Entry, file: File, label: str, size: int, sha256: str) -> str:
    allowed = f" (or sha256 {entry.allowed}, which allow_unverified names)" if entry.allowed else ""
    found = f"{label}: expected {file.expected()}{allowed}; found {size} bytes, sha256 {sha256}"
    if file.bytes and size < file.bytes and not entry.allowed:
        found += "; it may be truncated"
    return f"{found}; if you trust this copy, set allow_unverified: {{{entry.name}: {sha256}}} in the config"


def _way_out(entry: Entry, file: File, path: Path) -> str:
    if entry.source == "user":
        return (
            f"This data set needs registration: get it from {file.url}, unpack it, and put its "
            f"{len(entry.files)} files ({entry.files[0].name} ... {entry.files[-1].name}) into {path.parent} "
            f"or into {entry.name}/ of the folder that data.user_files names in the config"
        )
    return (
        f"Expected {file.expected()}. Connect to the network, or put the file at {path}, or name a folder or "
        f"URL that holds {entry.name}/{file.name} as data.mirror in the config or in {MIRROR_VARIABLE}"
    )
