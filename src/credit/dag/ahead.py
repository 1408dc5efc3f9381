"""What a dry run says of results that would be made again: a line each, with what changed. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from credit.dag import audit, made
from credit.dag.targets import SHARD, Workflow
from credit.errors import ConfigError, DataError
from credit.provenance.made import split


def changes(workflow: Workflow, paths: Iterable[str], settings: str = "") -> Iterator[str]:
    """Lines for results that are there and would be made again: what differs from the present, at first by name.

    paths: the first output of each job that would run; what the workflow says nothing of, and what is missing, is
    passed over. Those that only follow from others are counted in a last line. settings: of the call, for `credit why`.
    """
    following = 0
    for path in paths:
        if not (SHARD.search(path) or split(path)) or not Path(path).exists():
            continue
        lines = _reasons(workflow, path)
        following += not lines
        if lines:
            more = f" (and {len(lines) - 1} more: credit why {path}{settings})" if len(lines) > 1 else ""
            yield f"{path}: {lines[0]}{more}"
    if following:
        yield f"made again because of what they rest on: {following} more"


def _reasons(workflow: Workflow, path: str) -> list[str]:
    try:
        if SHARD.search(path):
            return audit.reasons(workflow, path)
        return [line for line in made.reasons(workflow, path) if made.BELOW not in line and made.INPUTS not in line]
    except (ConfigError, DataError) as error:
        return [str(error).removeprefix(f"{path}: ")]
