"""Notices that files which a user supplies were replaced, without reading them while the workflow is planned."""

from __future__ import annotations

import re
from pathlib import Path

from credit.data.entry import Entry


def stamp(entry: Entry, raw: Path, user_files: str | None, mirror: str | None) -> dict[str, list[int]]:
    """{file: [bytes, date of its last change in ns]} of the files that `fetch` would take, {} for other data sets.

    A part of the fetching job's spec: a replaced file makes it run, and it takes checksums. raw: the folder into which
    they are fetched; what lies there counts where no folder is named. Files behind a URL are not seen.
    """
    if entry.source != "user" or entry.own is not None:  # whose content is known
        return {}
    url = bool(mirror and re.match(r"https?://", mirror))
    folders = [Path(f.removeprefix("file://")) / entry.name for f in (user_files, None if url else mirror) if f]
    found = {}
    for file in entry.files:
        for folder in [*folders, *([] if url else [raw])]:
            try:
                state = (folder / file.name).stat()
            except OSError:
                continue
            found[file.name] = [state.st_size, state.st_mtime_ns]
            break
    return found
