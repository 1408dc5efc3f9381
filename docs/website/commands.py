"""A page for each command of `credit`: its section of docs/commands.md, and what `--help` prints."""

from __future__ import annotations

import argparse
import os
import re
from unittest import mock

from credit.__main__ import parser
from docs.website.links import anchor
from docs.website.places import DOCS

PAGE = "docs/commands.md"
OVERVIEW, FOLDER = "commands.md", "commands"


def sections(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first section, and {title: text} of the sections."""
    before, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    return before, {title.strip(): body for title, _, body in (part.partition("\n") for part in rest)}


def known() -> dict[str, argparse.ArgumentParser]:
    """{command: its parser}."""
    actions = parser()._subparsers._group_actions
    return dict(actions[0].choices)


def named(title: str) -> list[str]:
    """The commands that the title of a section names."""
    return [word for word in re.findall(r"[\w-]+", title) if word in known()]


def moved() -> dict[tuple[str, str], tuple[str, str]]:
    """{(page, anchor): (page of the site, anchor)} of sections that have pages of their own."""
    found = {}
    for title in sections((DOCS / "commands.md").read_text("utf-8"))[1]:
        if commands := named(title):
            found[PAGE, anchor(title)] = (f"{FOLDER}/{commands[0]}.md", "")
    return found


def pages() -> dict[str, str]:
    """{page of the site: its markdown, with links as in docs/commands.md}, the overview first."""
    before, parts = sections((DOCS / "commands.md").read_text("utf-8"))
    of = {command: title for title in parts for command in named(title)}
    if missing := known().keys() - of:
        raise ValueError(f"{PAGE}: no section for {', '.join(sorted(missing))}")
    rest = "".join(f"## {title}\n{body}" for title, body in parts.items() if not named(title))
    found = {OVERVIEW: f"{before}{rest}"}
    for command, told in known().items():
        first = named(of[command])[0]
        text = (
            promoted(parts[of[command]]) if command == first else f"\nTold with [{first}](#{anchor(of[command])}).\n\n"
        )
        found[f"{FOLDER}/{command}.md"] = f"# credit {command}\n{text}\n## Options\n\n```text\n{help_of(told)}```\n"
    return found


def promoted(text: str) -> str:
    """The text of a section with its headings one level up."""
    return re.sub(r"^##(#+ )", r"#\1", text, flags=re.MULTILINE)


def help_of(command: argparse.ArgumentParser) -> str:
    """What `credit COMMAND --help` prints on 100 columns, without colours."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
        return command.format_help()
