"""Markdown that is made: tables, code, and docstrings as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any


def code(value: Any) -> str:
    """A value as code, in words of YAML where it is true, false or nothing."""
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return f"``{text}``" if "`" in text else f"`{text}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars within cells are kept, and what is no code is taken as it stands."""
    lines = [head, ["---"] * len(head), *([cell(c) for c in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    """Plain text with code in backquotes, as a cell of a table: nothing else in it is markup."""
    parts = re.split(r"(``.+?``|`[^`]+`)", " ".join(text.split()))
    escaped = [p if i % 2 else re.sub(r"([\\*_\[\]<>{}~^$])", r"\\\1", p) for i, p in enumerate(parts)]
    return "".join(escaped).replace("|", r"\|")
