"""Errors that users see: one sentence that says where, what was found and what is allowed."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class ConfigError(ValueError):
    """Wrong configuration; the message names the file, the key, what was found and what was expected."""


class NothingLeft(ConfigError):
    """Of what a figure or table shows there are no numbers: they were narrowed away, or no run came that far.

    What shows it says so instead, and its job succeeds.
    """


class DataError(ValueError):
    """A data set that cannot be had or cannot be trusted; the message names the file, expected and found."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or belongs to another run; the message names the file and the way out."""


class ProvenanceError(ValueError):
    """Code that ran is not the code that was declared: an undeclared import, or an edit while a job ran."""


LISTED = 40  # names that a message lists


def nearest(value: object, allowed: Iterable[object], n: int = 1) -> list[str]:
    """Up to n allowed names that are spelled like `value`, capitals or not, the nearest first."""
    names: dict[str, list[str]] = {}
    for name in map(str, allowed):
        names.setdefault(name.lower(), []).append(name)
    close = difflib.get_close_matches(str(value).lower(), names, n=n)
    return [name for key in close for name in names[key]][:n]


def one_of(where: str, value: object, allowed: Iterable[object]) -> str:
    """Message for a value outside a closed set, with the nearest allowed spelling first."""
    allowed = sorted(str(a) for a in allowed)
    if not allowed:
        return f"{where} = {value!r}; there is nothing that it could name"
    close = nearest(value, allowed, n=5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    if len(allowed) <= LISTED:
        return f"{where} = {value!r}{hint}; must be one of: {', '.join(allowed)}"
    near = ", ".join(close or allowed[:5])
    return f"{where} = {value!r}{hint}; must be one of {len(allowed)}, among them: {near}"


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Ends a script with `error: MESSAGE` and exit code 1 for errors that are the user's to mend.

    Those are every ValueError of this package and what the file system refuses; anything else is a defect and keeps
    its traceback.
    """
    try:
        yield
    except (ConfigError, DataError, CheckpointError, ProvenanceError) as error:
        raise SystemExit(f"error: {error}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"error: {name}{error.strerror or error}; nothing was lost, mend it and run again") from error
