"""Going on from a shorter run: the store may hold one that differs in its length alone, with the state of its end.

What is trained then is what an uninterrupted run would train, bit by bit; therefore on the same processor alone.
Loads no torch before a state is read: plans ask too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit.errors import DataError
from credit.provenance.kept import KINDS, RESULT
from credit.provenance.records import read_result
from credit.provenance.snapshot import processor, read_header
from credit.provenance.store import Entry, Store
from credit.training.reuse import Block

STATE = KINDS["state"]


@dataclass(frozen=True)
class Shorter:
    """A run of fewer epochs. content: its state, `Training.end`. records: all of its own. seconds: that it took."""

    epochs: int
    content: dict[str, Any]
    records: list[dict[str, Any]]
    seconds: float | None


def begun(store: Path, block: Block) -> int:
    """Epochs of the run from whose end the job of `block` would go on, as things are now; 0: it would start anew.

    Of another device than the job's nothing is known here.
    """
    for epochs, entry in _shorter(store, block):
        if not _unfit(entry, block, entry.about.get("device")):
            return epochs
    return 0


def shorter_run(store: Path, block: Block, device: str) -> Shorter | None:
    """The longest run from whose end the job of `block` may go on; a line says why one that is there does not serve.

    device: its name, as results have it.
    """
    why = ""
    for epochs, entry in _shorter(store, block):
        try:
            reason = _unfit(entry, block, device)
            if not reason:
                return _taken(epochs, entry)
        except (DataError, OSError) as error:  # damaged, or cleaned away just now
            reason = str(error)
        why = why or f"a run of {epochs} epochs that differs in nothing else {reason}"
    if why:
        say_from_the_start(why)
    return None


def say_from_the_start(why: str) -> None:
    """Say in the log why a shorter run that is there is not gone on from."""
    print(f"trained from the start: {why}", file=sys.stderr)


def _shorter(store: Path, block: Block) -> Iterator[tuple[int, Entry]]:
    """Shorter runs of a block's series, the longest first; of one length first those with a state."""
    found = []
    for entry in Store(store).series(block.series):
        try:
            train = read_header(entry.files[RESULT][0])["spec"]["train"]
        except (DataError, LookupError):
            continue
        if train["epochs"] < block.spec["train"]["epochs"]:
            found.append((train["epochs"], STATE in entry.files, entry))
    yield from ((epochs, entry) for epochs, _, entry in sorted(found, key=lambda one: one[:2], reverse=True))


def _unfit(entry: Entry, block: Block, device: str | None) -> str:
    """Why a run does not serve, in words that go on from "a run of 3 epochs that differs in nothing else"."""
    theirs, mine = (
        spec["train"]["optimizer"].get("schedule") for spec in (read_header(entry.files[RESULT][0])["spec"], block.spec)
    )
    if theirs != mine:
        return f"but train.optimizer.schedule ({theirs} there, {mine} here): its weights had other learning rates"
    if STATE not in entry.files:
        return "has not kept its state (keep: state)"
    made, here = entry.about, {"device": device, "cpu": processor()}
    for key, what in (("device", "device"), ("cpu", "processor")):
        if made.get(key) != here[key]:
            return f"was trained on another {what}, {made.get(key)}"
    return ""


def _taken(epochs: int, entry: Entry) -> Shorter:
    from credit.training import kept

    if damage := entry.damage({RESULT, STATE}):
        raise DataError(f"is damaged: {damage}")
    result, state = entry.files[RESULT][0], entry.files[STATE][0]
    header, records = read_result(result)
    return Shorter(epochs, kept.read_state(state), records, header["provenance"].get("seconds"))
