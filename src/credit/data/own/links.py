"""Where the files of an own data set are: the folder of original data holds a link to each, no copy."""

from __future__ import annotations

from pathlib import Path

from credit.data.entry import Entry


def roots(entry: Entry, raw: Path) -> dict[str, Path]:
    """{part: the user's file or folder} as `link` left them in `raw`; the link's own path where there is none."""
    links = {file.name: raw / file.name for file in entry.files}
    return {part: path.readlink() if path.is_symlink() else path for part, path in links.items()}


def link(raw: Path, paths: dict[str, Path]) -> None:
    """Make `raw` a folder with a link to every path, by its part, and no other link."""
    raw.mkdir(parents=True, exist_ok=True)
    for left in raw.iterdir():
        if left.is_symlink():
            left.unlink()
    for part, path in paths.items():
        (raw / part).symlink_to(path)
