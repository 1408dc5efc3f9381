"""Prints the lowest versions that pyproject.toml allows, as requirements for pip (`make lowest`)."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

NEEDED = ("workflow", "dev")  # extras that the unit and golden tests need


def lowest(project: Path) -> list[str]:
    """`NAME==VERSION` of every dependency. Raises ValueError for one without a lower bound."""
    declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    wanted = [*declared["dependencies"], *(d for e in NEEDED for d in declared["optional-dependencies"][e])]
    found = []
    for line in wanted:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,.*)?", line.replace(" ", ""))
        if not match:
            raise ValueError(f"{project}: {line!r}; must be written NAME>=VERSION")
        found.append("==".join(match.groups()))
    return found


if __name__ == "__main__":
    print("\n".join(lowest(Path(sys.argv[1]))))
