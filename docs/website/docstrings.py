"""Docstrings are plain text: here they become reStructuredText, or markdown, in which nothing else is markup.

Kept are paragraphs, lists with dashes, code in backquotes, and indented blocks, which stand as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from docs.website.tables import cell

CODE = re.compile(r"(``.+?``|`[^`\n]+`)")


def literal(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    result: list[str] = []
    for block in _blocks(lines):
        if block[0].startswith(" "):
            result += ["::", "", *(f"    {line}" for line in block), ""]
        else:
            result += [*_paragraph(block), ""]
    return result


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Runs of lines: paragraphs, items of lists, and what is indented, together with the blank lines within it."""
    block: list[str] = []
    for line in [*lines, ""]:
        item = line.startswith("- ")
        indented = line.startswith(" ")
        inside = bool(block) and block[0].startswith("- ")
        if not line.strip() or item or (block and indented != block[0].startswith(" ") and not (inside and indented)):
            if block:
                yield block
            block = []
        if line.strip():
            block.append(line.rstrip())


def _paragraph(block: list[str]) -> list[str]:
    item = block[0].startswith("- ")
    text = escaped(" ".join(line.strip() for line in block).removeprefix("- " if item else ""))
    return [f"- {text}" if item else text]


def escaped(text: str) -> str:
    """A paragraph as reStructuredText: code in backquotes is literal, all else is plain."""
    parts = []
    for i, part in enumerate(CODE.split(" ".join(text.split()))):
        parts.append(f"``{part.strip('`')}``" if i % 2 else re.sub(r"([\\*`|_])", r"\\\1", part))
    text = ""
    for i, part in enumerate(parts):  # literals must be apart from letters beside them
        before = "\\ " if i % 2 and text and not text[-1].isspace() else ""
        after = "\\ " if i % 2 and i + 1 < len(parts) and parts[i + 1][:1].strip() else ""
        text += before + part + after
    return re.sub(r"^(?=(\w{1,3}\.|\(?\w{1,3}\)|[-+:.>#=~^\"']|\.\.) ?)", r"\\", text)


def plain_markdown(text: str) -> str:
    """A sentence as markdown."""
    return cell(text)


def process(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """For `autodoc-process-docstring`."""
    lines[:] = literal(lines)
