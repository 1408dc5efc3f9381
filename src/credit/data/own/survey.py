"""What is in the files of an own data set: checksums, classes, sizes. Found when they are first read, and remembered.

The files belong to the user, who may change them at any time. Whether they may have changed is seen by names, sizes and
dates; whether they have, by their content. What was found is kept in the folder in which Snakemake runs, and may be
deleted. Loads no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from credit.config.formats import FORMATS
from credit.config.paths import expanded
from credit.data.entry import Entry, File
from credit.data.own.reading import WHOLE, Reading
from credit.data.own.trees import checksums, combined, stamp
from credit.errors import ConfigError, DataError
from credit.provenance.remembered import Remembered
from credit.provenance.snapshot import code_digest
from credit.provenance.spec import digest

MEMORY = Path(".snakemake", "credit_data.json")  # in the folder in which Snakemake runs
_FACTS = ("classes", "image", "train", "test", "dtype", "scale", "held_out")


def declared(name: str, facts: Mapping[str, Any], folder: Path, where: str) -> Entry:
    """The entry of an own data set whose files were not looked at yet: it has no classes, and no samples.

    folder: of the configuration, from which relative paths count. where: for messages. Raises ConfigError for a path
    that cannot be expanded.
    """
    path, sha256 = facts["path"], facts.get("sha256")
    paths, sums = (one if isinstance(one, Mapping) else {WHOLE: one} for one in (path, sha256))
    files = []
    for part, text in paths.items():
        key = f"{where}.path" + ("" if part == WHOLE else f".{part}")
        found = expanded(text, key)
        if found is None:
            raise ConfigError(f"{key} = {text!r}; must name a file or a folder")
        files.append(File(part, os.path.normpath(folder.resolve() / found), sha256=(sums or {}).get(part)))
    return Entry(name, "user", tuple(files), 0, (0, 0, 0), 0, 0, facts["format"], own=Reading.of(facts).said())


def paths(entry: Entry) -> dict[str, Path]:
    """{part: the user's file or folder} of a declared entry."""
    return {file.name: Path(file.url) for file in entry.files}


@cache
def surveyed(entry: Entry, record: Path | None = None) -> Entry | str:
    """The entry with what is in its files, or the reason why they cannot be used, in one line.

    record: the manifest of when they were last read, which counts where they are not there now.
    """
    try:
        return _surveyed(entry)
    except FileNotFoundError as error:
        gone = not all(path.exists() for path in paths(entry).values())
        return (gone and _recorded(entry, record)) or f"{error.filename}: no such file or folder"
    except DataError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename}: {error.strerror}" if error.filename else f"{entry.files[0].url}: {error}"


def _surveyed(entry: Entry) -> Entry:
    roots = paths(entry)
    for path in roots.values():
        if entry.format == "folder" and path.is_file():
            raise DataError(f"{path}: is a file; the format folder needs a folder")
        if entry.format != "folder" and path.is_dir():
            raise DataError(f"{path}: is a folder; the format {entry.format} needs a file")
    state, settled = stamp(roots)
    memory = Remembered(MEMORY, code_digest(__name__, FORMATS.module(entry.format)).encode(), kept=200)
    key = f"{digest([entry.format, entry.own, sorted((p, str(r)) for p, r in roots.items())])} {state}"
    found = memory[key]
    sums = found["sha256"] if found else {part: combined(checksums(root)) for part, root in roots.items()}
    _check(entry, sums)
    if found is None:
        reading = Reading.of(entry.own or {})
        found = {"sha256": sums, **FORMATS.load(entry.format).survey(reading, roots)}
        if settled:
            memory[key] = found
            memory.save()
    return _with(entry, found)


def _check(entry: Entry, sums: Mapping[str, str]) -> None:
    """Hold the files against the checksums that the user gave."""
    for file in entry.files:
        if file.sha256 not in (None, sums[file.name]):
            raise DataError(
                f"{file.url}: its sha256 is {sums[file.name]}, {file.sha256} is declared; put the declared content "
                "back, or declare what is there"
            )


def _with(entry: Entry, found: Mapping[str, Any]) -> Entry:
    files = tuple(replace(file, sha256=found["sha256"][file.name]) for file in entry.files)
    facts = {key: found[key] for key in _FACTS if key in found}
    return replace(entry, files=files, **{**facts, "image": tuple(facts["image"])})


def _recorded(entry: Entry, record: Path | None) -> Entry | None:
    """The entry as it was when its files were last read, if it was declared as it is now."""
    try:
        last = Entry.from_spec(json.loads(record.read_text(encoding="utf-8"))["entry"])
    except (AttributeError, OSError, ValueError, LookupError, TypeError):
        return None
    same = (last.name, last.format, last.own) == (entry.name, entry.format, entry.own)
    then = {file.name: file.sha256 for file in last.files}
    if not same or any(f.name not in then or f.sha256 not in (None, then[f.name]) for f in entry.files):
        return None
    return _with(entry, {"sha256": then, **{key: getattr(last, key) for key in _FACTS}})
