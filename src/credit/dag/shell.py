"""Texts that Snakemake reads: shell lines in the form in which it remembers them, and what it must not read into."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import cache


@cache  # the rules of all figures have one command
def plain(command: str) -> str:
    """`command` with one space between its words, by which Snakemake then sees whether it has changed.

    Space within quotes and between lines means something, and stays; a text that is no shell line stays as it is.
    """
    lines = re.sub(r"\\\n", " ", command).splitlines()
    try:
        words = [_words(line) for line in lines]
    except ValueError:  # quotes that go over several lines
        return command
    return "\n".join(" ".join(line) for line in words if line)


def _words(line: str) -> list[str]:
    found = shlex.shlex(line, posix=False)
    found.whitespace_split, found.commenters = True, ""
    # `>FILE` is `> FILE`, but `2>&1` is one word
    return [re.sub(r"^(\d*(?:>>|[<>]))(?=[^<>&])", r"\1 ", word) for word in found]


def settings_of(arguments: Sequence[str]) -> str:
    """The settings that a call of snakemake was given, for a command of `credit`: " --config seeds=2", or ""."""
    found: list[str] = []
    taking = False
    for word in arguments:
        if word.startswith("-"):
            taking = word.partition("=")[0] in ("--config", "-C", "--configfile", "--configfiles")
        found += [word] if taking else []
    return " " + shlex.join(found) if found else ""


def shown(text: str) -> str:
    """A text for people, in which Snakemake finds no wildcards: an invisible word joiner follows every brace."""
    return text.replace("{", "{\u2060")
