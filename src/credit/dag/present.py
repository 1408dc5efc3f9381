"""What the runs and searches on disk say of themselves, read when the workflow is; loads no torch.

Snakemake knows what a file was made from only if it saw the job end and the file was not replaced since. The header of
a result always says it. Headers are read once: what they say is remembered by the date and size of their file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from credit.errors import DataError
from credit.provenance.remembered import Remembered
from credit.provenance.snapshot import read_header
from credit.provenance.sources import digest
from credit.provenance.spec import canonical_json

MEMORY = Path(".snakemake", "credit_headers.json")  # in the folder in which Snakemake runs
KEPT = 10_000


class Header(NamedTuple):
    """What a result was made from. spec, choice: digests; choice is what a search found, or a run was trained with.

    seeds: their number. first: the first of them.
    """

    spec: str
    choice: str
    seeds: int
    epochs: int
    first: int


class Present:
    """Headers of the results on disk."""

    def __init__(self, memory: Path = MEMORY):
        self._memory = memory
        self._remembered: Remembered | None = None

    def __getitem__(self, path: str) -> Header | None:
        """The header of a result; None where no file is, or none that says what it was made from."""
        try:
            found = os.stat(path)  # noqa: PTH116  (a Path takes three times as long)
        except OSError:
            return None
        self._remembered = self._remembered or Remembered(self._memory, Path(__file__).read_bytes(), KEPT)
        key = f"{path} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_size}"
        if (entry := self._remembered[key]) is None:
            entry = self._remembered[key] = _header(path) or []
        return Header(*entry) if entry else None

    def stale(self, spec: str, *paths: str, choice: str | None = None) -> list[str]:
        """Those of a job's files that are there, but were made from something else than `spec`, its canonical text.

        choice: the file of the search that says with what the job is to train. A file without a header is none of
        them: whoever reads it says so.
        """
        wanted, chosen = digest(spec), choice and self[choice]
        made = {path: header for path in paths if (header := self[path])}
        return [p for p, h in made.items() if h.spec != wanted or (chosen and chosen.choice != h.choice)]

    def save(self) -> None:
        """Keep for the next process what was read."""
        if self._remembered:
            self._remembered.save()


def _header(path: str) -> Header | None:
    try:
        content = read_header(path)
        spec, choice = content["spec"], content.get("choice", content.get("chosen", {}))
        made_from = [digest(canonical_json(value)) for value in (spec, choice)]
        return Header(*made_from, len(spec["seeds"]), spec["train"]["epochs"], spec["seeds"][0])
    except (DataError, ValueError, LookupError, TypeError):
        return None  # whoever reads it says so
