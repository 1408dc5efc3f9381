"""The shell lines of the rules, in the form in which Snakemake remembers them."""

from __future__ import annotations

import re
import shlex


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
