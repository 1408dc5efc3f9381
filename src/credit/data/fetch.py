"""Brings the original files of a data set into a folder, as torchvision.datasets expects them there.

Sources in order: what lies there already, the mirror, the official place. Content decides, not the source: a file is
taken if it is the published one, however it was packed, or the copy that the user allows in its place. Of a data set
that the user supplies nothing is published: there, what lies here already comes last, as it may be an older copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from credit.config.paths import MIRROR_VARIABLE, expanded, mirror_of_environment
from credit.data import _published, _sources, _torchvision, content
from credit.data._sources import Patience, Unavailable
from credit.data.content import Differs
from credit.data.entry import Entry, File
from credit.data.foreign import Foreign
from credit.data.own.changes import record
from credit.errors import DataError
from credit.provenance.files import alone, whole_file, writing


def fetch(
    entry: Entry,
    folder: Path,
    mirror: str | None = None,
    user_files: str | None = None,
    patience: Patience | None = None,
) -> dict:
    """Bring the files of `entry` below `folder` and return the manifest of what is there now.

    mirror: folder or URL that holds DATASET/FILE, tried before the official place (or $CREDIT_DATA_MIRROR).
    user_files: folder of the same layout with data sets that need registration, tried before the mirror; of a data set
    of the user's own {part: path} as JSON.
    The manifest: {"dataset", "raw_hash", "verified": every file is the published one,
    "files": [{"name", "path" relative to `folder`, "bytes", "sha256", "verified"}]}.
    Raises DataError naming the file, what was found and what is expected; no partial file is left. Several processes
    may fetch into one folder: one at a time.
    """
    if entry.own is not None:
        return record(entry, folder, {part: Path(path) for part, path in json.loads(user_files or "{}").items()})
    supplied = expanded(user_files, "user_files") if entry.source == "user" else None
    mirrors = [supplied, expanded(mirror, "mirror") or mirror_of_environment()]
    if entry.source == "embedded":
        return {"dataset": entry.name, "raw_hash": entry.raw_hash(), "verified": True, "files": []}
    with writing(folder), alone(folder, f"fetches {entry.name} into {folder}"):
        files = _bring_all(entry, folder, list(filter(None, mirrors)), patience or Patience())
    needless = [f["name"] for f in files if f["verified"] and f["name"] in entry.allowed]
    verified = all(f["verified"] for f in files)
    if needless or (verified and not entry.verified):
        raise DataError(
            f"{entry.name}: allow_unverified names a copy with sha256 {' and '.join(entry.allowed.values())}, but what "
            f"was found in {folder} is the published data set; remove {entry.name} from allow_unverified"
            + (f", or of its files {', '.join(needless)}" if not verified else "")
        )
    return {"dataset": entry.name, "raw_hash": entry.raw_hash(), "verified": verified, "files": files}


def _bring_all(entry: Entry, folder: Path, mirrors: list[str], patience: Patience) -> list[dict]:
    """Bring every file; the files of the manifest. Raises DataError with all that differ."""
    files, differing, missing = [], [], ""
    for file in entry.files:
        path = Path(_torchvision.raw_folder(entry), file.name)
        try:
            facts = _bring(entry, file, folder / path, mirrors, patience)
            files.append({"name": file.name, "path": path.as_posix(), **facts})
        except Differs as e:
            differing.append((file, e))
        except DataError as e:  # a source that cannot be reached is not asked for every file
            missing = str(e)
            break
    if differing:
        taken = {f["name"]: f["sha256"] for f in files if not f["verified"]}
        raise DataError("; ".join(filter(None, [_refusal(entry, differing, taken), missing])))
    if missing:
        raise DataError(missing)
    return files


def _bring(entry: Entry, file: File, path: Path, mirrors: list[str], patience: Patience) -> dict:
    """Make sure that `path` is the original file. Returns its `content.facts`; raises Differs as they do.

    Raises DataError where no source has it.
    """
    tried, differs, known = [], None, entry.source != "user"
    try:
        if known or not mirrors:
            if path.exists():
                return content.facts(entry, file, path, str(path))
            tried.append(f"{path}: absent")
    except Foreign as e:
        tried.append(f"{path}: {e}")
    except Differs as e:  # replaced if a source has the right one
        differs = e
    for label, copy in _places(entry, file, path, mirrors, patience):
        try:
            with whole_file(path, file.bytes) as part:
                where = copy(part) or label
                return content.facts(entry, file, part, where)
        except Unavailable as e:
            tried.append(f"{label}: {e}")
        except Foreign as e:
            tried.append(f"{label}: {e}")
            known = True  # an older copy of the user's file must not stand in for this one
    if not known and path.exists():
        return content.facts(entry, file, path, str(path))
    if differs:
        raise differs
    raise DataError(f"{entry.name}: {file.name} cannot be had. Tried {'; '.join(tried)}. {_way_out(entry, file, path)}")


def _places(
    entry: Entry, file: File, path: Path, mirrors: list[str], patience: Patience
) -> Iterator[tuple[str, Callable[[Path], str | None]]]:
    """Where the file may be, first choice first, and what copies it from there (and says where it really was)."""
    for other in (path.with_name(name) for name in file.names()[1:]):
        if other.exists():
            yield str(other), partial(_sources.copy, str(other), patience=patience)
    for mirror in mirrors:
        location = _sources.in_mirror(mirror, entry, file.name)
        yield location, lambda part, mirror=mirror: _sources.from_mirror(mirror, entry, file, part, patience)
    if entry.source == "torchvision":
        urls, md5 = _published.addresses(entry, file.name)
        for url in urls:
            yield f"official download from {url}", partial(_sources.official, url, md5, patience=patience)


def _refusal(entry: Entry, differing: list[tuple[File, Differs]], taken: Mapping[str, str]) -> str:
    """All files that differ, and what to write to accept them with those that are accepted already."""
    named = f" (or sha256 {' or '.join(entry.allowed.values())}, which allow_unverified names)" if entry.allowed else ""
    found = [
        f"{e.label}: expected {file.expected()}{named}; found {e.size} bytes, sha256 {e.sha256}"
        for file, e in differing
    ]
    wanted = {**taken, **{file.name: e.sha256 for file, e in differing}}
    if len(entry.files) == 1:
        permission = wanted[entry.files[0].name]
    else:
        permission = "{" + ", ".join(f"{name}: {sha256}" for name, sha256 in wanted.items()) + "}"
    copies = "this copy" if len(found) == 1 else "these copies"
    return (
        f"{'; '.join(found)}; if you trust {copies}, set allow_unverified: {{{entry.name}: {permission}}} "
        "below data in the config"
    )


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
