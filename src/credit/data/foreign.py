"""Content that is no file of a data set, and what it is instead."""

from __future__ import annotations

_LINE = 80  # characters of a text that a message shows


class Foreign(Exception):
    """No such file at all, whoever vouches for it: a web page, or cut off. Another source may have the right one."""


def check_page(begin: bytes) -> None:
    """Raise Foreign where content that begins like this is empty, a web page, or a message of a server."""
    if not begin:
        raise Foreign("an empty file")
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"<", b"{") and b"\0" not in begin:
        raise Foreign(f"a web page or a message of a server, no data: {beginning(text)}")


def beginning(begin: bytes) -> str:
    """How content begins, for messages: a text as it is on one line, other bytes in hexadecimal digits."""
    text = begin[:_LINE].partition(b"\0")[0].decode("utf-8", "replace")
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return f"it begins with the bytes {begin[:8].hex(' ')}"
    line = " ".join(text.split())
    return f"it begins with {line!r}" if line else "it begins with blanks"
