"""What readers of several formats share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from credit.data.entry import Entry
from credit.errors import DataError

Batches = Iterator[tuple[np.ndarray, np.ndarray]]


class Sides(dict[str, Batches]):
    """Batches of the sides `train` and `test`. names: of the classes, where the files say them."""

    def __init__(self, sides: dict[str, Batches], names: tuple[str, ...] = ()):
        super().__init__(sides)
        self.names = names


_MALFORMED = (RuntimeError, AssertionError, ValueError, KeyError, TypeError, IndexError, EOFError)


@contextmanager
def format_errors(entry: Entry, raw: Path) -> Iterator[None]:
    """Turns what a reader stumbles over into a DataError that names the files and the data set."""
    try:
        yield
    except _MALFORMED as e:
        if isinstance(e, DataError):
            raise
        reason = " ".join(str(e).split()) or type(e).__name__
        raise DataError(f"{raw}: the files are not {entry.name} in its original format: {reason}") from e
