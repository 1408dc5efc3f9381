"""Blocks that were trained before: a job looks for its own in the store before it trains, and keeps it there.

The key is all that decides the numbers: the spec without the names that it goes by, with the digest of the code in it;
the values that a search chose; the arrays of the prepared data; the numbers of the weights that it starts from; the
versions of what computes. The processor is written down, not part of it, as is the device where none is asked for.
Loads no torch.
"""

from __future__ import annotations

import hashlib
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from credit.errors import ConfigError, DataError
from credit.provenance.kept import kept_path
from credit.provenance.records import read_metadata
from credit.provenance.renamed import renamed
from credit.provenance.snapshot import versions
from credit.provenance.spec import canonical_json, digest
from credit.provenance.store import Entry, Store, place
from credit.training.copies import Copies
from credit.training.inputs import chosen_of, sort_inputs
from credit.training.stopping import StopRequest

# Of a spec: how a block is called. What a search found stands for the search.
NAMES = ("paper", "experiment", "dataset", "method", "search")
META = "meta.npy"  # of a prepared data set: what it says of its arrays, with their sha256
_versions = cache(versions)


@dataclass(frozen=True)
class Block:
    """What a job is to make, its result `out` and what it keeps beside it.

    key: of all that decides its numbers. series: of all but the length of the training and the schedule of the
    learning rate, "" for a search.
    """

    spec: dict[str, Any]
    out: Path
    inputs: Sequence[Path]
    chosen: dict[str, float]
    key: str
    series: str = ""
    keep: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: dict[str, Any], out: Path, inputs: Sequence[Path], keep: Sequence[str] = ()) -> Block | None:
        """The block of a job; None where an input is missing or damaged, which the job then says."""
        data, choice, start = sort_inputs(inputs)
        try:
            chosen = chosen_of(spec, choice)
            content = {
                "spec": _nameless(spec), "chosen": chosen, "data": _arrays(data) if data else None,
                "start": sorted(map(_weights, start)), **_versions(),
            }  # fmt: skip
        except (ConfigError, DataError, OSError):
            return None
        series = _key({**content, "spec": _endless(content["spec"])}) if spec["kind"] == "train" else ""
        return cls(spec, out, inputs, chosen, _key(content), series, tuple(keep))

    @property
    def beside(self) -> list[Path]:
        """What is kept beside the result."""
        return [kept_path(self.out, kind) for kind in self.keep]

    @property
    def files(self) -> dict[str, Path]:
        """{how their names end: where they go}; the result comes last: once it is there, all are."""
        stem = self.out.name.removesuffix(self.out.suffix)
        return {path.name.removeprefix(stem): path for path in (*self.beside, self.out)}


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]


def _nameless(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in NAMES}


def _endless(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec without the length of its training, and without what is often set to this length with it."""
    train = {key: value for key, value in spec["train"].items() if key != "epochs"}
    steps = {key: value for key, value in train["optimizer"].items() if key != "schedule"}
    return {**spec, "train": {**train, "optimizer": steps}}


def _arrays(data: Path) -> str:
    """sha256 of what a prepared data set says of its arrays, which training holds them against."""
    try:
        with zipfile.ZipFile(data) as archive:
            return hashlib.sha256(archive.read(META)).hexdigest()
    except (zipfile.BadZipFile, LookupError, ValueError, EOFError) as error:
        raise DataError(f"{data}: {error}") from error


def _weights(path: Path) -> str:
    """What kept weights are: whose, and the sha256 of their numbers."""
    head = read_metadata(path)
    return canonical_json([head["spec"].get("seeds"), head.get("sha256"), head.get("diverged")])


def function_of(spec: Mapping[str, Any]) -> str:
    """Digest of what a spec says of the numbers; blocks of one key agree in it."""
    return digest(_nameless(spec))


def take_block(
    store: Path | None, spec: dict[str, Any], out: Path, inputs: Sequence[Path], device: str, keep: Sequence[str] = ()
) -> bool:
    """Put the block of this job in its place, where the store has it; returns whether all is done.

    A result that is there is what would be made now: its job runs on purpose, and trains. device: cpu or cuda takes
    what was trained there, auto what there is.
    """
    block = Block.of(spec, out, inputs, keep) if store else None
    if block is None or Copies(out, spec, block.chosen, *block.beside).before is not None:
        return False
    for entry in Store(store).sound(block.key, digest(spec), block.files.keys()):
        if device != "auto" and (entry.about.get("device") == "cpu") != (device == "cpu"):
            continue
        with StopRequest() as stop:  # what was begun is brought to its end: Snakemake puts back what a failed job had
            stop.wait()
            try:
                _put_in_place(block, entry)
            except FileNotFoundError:  # it was cleaned away just now
                continue
        made = f"{entry.about.get('seconds')} s on {entry.about.get('cpu') or 'another processor'}"
        print(f"taken from the store ({entry.path}); nothing is trained, it took {made}", file=sys.stderr)
        return True
    return False


def _put_in_place(block: Block, entry: Entry) -> None:
    same = entry.spec == digest(block.spec)
    for end, target in block.files.items():
        file = entry.files[end][0]
        if same:
            place(file, target)
        else:
            renamed(file, target, block.spec)


def keep_block(store: Path | None, block: Block | None, made: Mapping[str, Any]) -> None:
    """Keep what a job has just made. A store that cannot be written fails no job: a line says so.

    block: as it was before the training began; its inputs may have been replaced since. made: what is recorded of the
    training.
    """
    if store is None or block is None:
        return
    spec = block.spec
    if Block.of(spec, block.out, block.inputs, block.keep) != block:
        print(f"store: {block.out} is not kept for later: what it was made from has changed meanwhile", file=sys.stderr)
        return
    about = {key: made.get(key) for key in ("device", "cpu", "seconds")}
    about |= {key: spec.get(key) for key in ("paper", "experiment", "dataset", "method")}
    about |= {"series": block.series} if block.series else {}
    about |= {"function": function_of(spec), "stored": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    try:
        Store(store).put(block.key, digest(spec), block.files, about)
    except (OSError, DataError) as error:
        print(f"store: {block.out} is not kept for later: {error}", file=sys.stderr)
