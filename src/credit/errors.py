"""Errors that users see: one sentence that says where, what was found and what is allowed."""

from __future__ import annotations


class ConfigError(ValueError):
    """Wrong configuration; the message names the file, the key, what was found and what was expected."""


class DataError(ValueError):
    """A data set that cannot be had or cannot be trusted; the message names the file, expected and found."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or belongs to another run; the message names the file and the way out."""


def one_of(where: str, value: object, allowed) -> str:
    """Message for a value outside a closed set, with the nearest allowed spelling first."""
    import difflib

    allowed = sorted(str(a) for a in allowed)
    close = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{where} = {value!r}{hint}; must be one of: {', '.join(allowed)}"
