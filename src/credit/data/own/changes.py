"""That files of an own data set are as they were read: for the job that records them, and for those that follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from credit.data.entry import Entry
from credit.data.own import links
from credit.data.own.trees import checksums, combined
from credit.errors import DataError
from credit.provenance.files import alone, writing

AGAIN = "call Snakemake again, which looks at it anew"


def record(entry: Entry, folder: Path, paths: Mapping[str, Path]) -> dict:
    """Link the files into `folder`, and return the manifest: the checksum of every one, and the entry itself.

    Raises DataError where they are not what they were when the workflow was read.
    """
    with writing(folder), alone(folder, f"records {entry.name} in {folder}"):
        found = {part: _sums(path) for part, path in paths.items()}
        for file in entry.files:
            if file.name not in found or combined(found[file.name]) != file.sha256:
                raise DataError(f"{paths.get(file.name, file.name)}: changed since the workflow was read; {AGAIN}")
        links.link(folder, {part: path.absolute() for part, path in paths.items()})
    files = [
        {"name": f"{part}/{name}" if name else part, "part": part, "path": name, "sha256": sha256}
        for part, sums in found.items()
        for name, sha256 in sums.items()
    ]
    about = {"dataset": entry.name, "raw_hash": entry.raw_hash(), "verified": True}
    return {**about, "files": files, "entry": entry.spec(urls=False)}


def check(entry: Entry, folder: Path) -> None:
    """Raise DataError naming what is not as it was when `record` linked it into `folder`."""
    for file, path in zip(entry.files, links.roots(entry, folder).values(), strict=True):
        if combined(_sums(path)) != file.sha256:
            raise DataError(f"{path}: changed since it was recorded; {AGAIN}")


def _sums(path: Path) -> dict[str, str]:
    try:
        return checksums(path)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; put it back, or mend its path in the catalogue") from error


def changed(entry: Entry, paths: Mapping[str, Path], manifest: Path) -> str:
    """What has changed since the files were recorded, in words that begin with the path of one; empty for nothing.

    entry: as it is now. manifest: of when they were recorded; there may be none.
    """
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        then = {(f["part"], f["path"]): f["sha256"] for f in content["files"]}
        if content["raw_hash"] == entry.raw_hash():
            return ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    now = {(part, name): sha256 for part, root in paths.items() for name, sha256 in checksums(root).items()}
    differing = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if not differing:
        return ""
    part, name = differing[0]
    what = "is new" if differing[0] not in then else "is gone" if differing[0] not in now else "has changed"
    more = f", and {len(differing) - 1} more," if len(differing) > 1 else ""
    return f"{paths[part] / name if part in paths else f'{part}/{name}'} {what}{more}"
