"""Where the files of the repository stand in the site."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
BUILD = DOCS / "_build"
BESIDE = {  # pages that stand elsewhere in the repository
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "config/README.md": "configuration/README.md",
    "profiles/README.md": "profiles.md",
    "results/README.md": "folders.md",
    "tests/golden/README.md": "golden.md",
}
NOTEBOOKS = REPOSITORY / "notebooks"


def pages() -> dict[str, str]:
    """{page of the repository: page of the site}, both as posix paths from their roots."""
    inside = (p.relative_to(DOCS) for p in sorted(DOCS.rglob("*.md")) if BUILD not in p.parents)
    found = {f"docs/{page.as_posix()}": page.as_posix() for page in inside}
    found |= {page: place for page, place in BESIDE.items() if (REPOSITORY / page).exists()}
    books = sorted(NOTEBOOKS.glob("*.ipynb"))
    return found | {f"notebooks/{b.name}": f"notebooks/{b.stem}.md" for b in books}


def resolve(target: str, page: str) -> str:
    """A relative link on a page of the repository as a path from its root."""
    parts: list[str] = []
    for part in (PurePosixPath(page).parent / target).parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def relative(target: str, page: str) -> str:
    """A file of the site as a link on one of its pages."""
    up = PurePosixPath(page).parent.parts
    to = PurePosixPath(target).parts
    same = 0
    while same < min(len(up), len(to) - 1) and up[same] == to[same]:
        same += 1
    return "/".join([".."] * (len(up) - same) + list(to[same:]))
