"""What a result file says of itself, whatever kind it is, and whether it still holds what was written.

The configuration is not asked: a file is read where it lies, on its own or with the record beside it. Loads neither
torch nor the workflow.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from credit.errors import ConfigError, DataError
from credit.provenance import made
from credit.provenance.files import checksum
from credit.provenance.kept import ENDS
from credit.provenance.records import check_seal, check_weights, read_metadata
from credit.provenance.snapshot import read_header

_NAME = "[A-Za-z0-9_][A-Za-z0-9_-]*"
# of files in an archive of results
NAMES = re.compile(rf"runs/(?:{_NAME}/){{4}}(?:shard\d+(?:\.short)?\.{ENDS}|choice\.json)", re.ASCII)
READABLE = (
    "a run (.jsonl), a search (choice.json), kept weights (.safetensors), a table (tables/….csv, .md, .html), a "
    "figure (figures/….pdf, .png, .csv, .html), a benchmark (bench/….csv), a prepared data set (.npz) or an archive "
    "(.tar.xz)"
)
LARGE, LARGE_UNPACKED = 16_000_000, 8_000_000  # bytes up to which a content is held against its checksum
HEADER = {"spec", "provenance", "sha256"}
_METRIC = re.compile(rb'"metric": "([^"]*)"')


@dataclass(frozen=True)
class ResultFile:
    """kind: run, search, weights, table, figure, benchmark, data set or archive. spec, provenance: empty where it has
    none.

    facts: what else it says of itself. sha256: of its content as it was made, where it has one. problems: what shows
    that it was changed since; None where its content was not looked at, because it is large.
    """

    path: Path
    kind: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    problems: list[str] | None = None


def read(path: str | Path) -> ResultFile:
    """The result file at `path`.

    Raises DataError for one that is missing, cut off or without a record of its making, ConfigError for what is none.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; must be {READABLE}")
    if not path.exists():
        raise DataError(f"{path}: no such file")
    readers: dict[str, Callable[[Path], ResultFile]] = {
        ".jsonl": _run, ".safetensors": _weights, ".json": _search, ".npz": _data, ".xz": _archive,
    }  # fmt: skip
    reader = _made if made.split(path) else readers.get(path.suffix)
    if reader is None:
        raise ConfigError(f"{path}: not a result; must be {READABLE}")
    return reader(path)


def read_record(path: str | Path) -> dict[str, Any]:
    """The record of a table or figure. Raises DataError where there is none, or it is damaged."""
    place = made.record_path(path)
    if not place.exists():
        raise DataError(f"{path}: no record of how it was made ({place}: no such file); make it again")
    content = read_header(place)
    if not all(isinstance(content.get(key), dict) for key in ("inputs", "outputs")):
        raise DataError(f"{place}: not the record of a table or figure; make {path} again")
    return content


def _problems(
    check: Callable[[], Any], path: Path, count: int | None = None, large: int | None = None
) -> list[str] | None:
    """What a check says; None for a content, by default the file, that is too large for it."""
    if (path.stat().st_size if count is None else count) > (large or LARGE):
        return None
    try:
        check()
    except DataError as error:
        return [str(error).removeprefix(f"{path}: ").removeprefix("damaged, or ")]
    return []


def _rest(header: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in header.items() if key not in HEADER}


def _run(path: Path) -> ResultFile:
    header, facts = read_header(path), {}
    problems = _problems(lambda: facts.update(_records(path, header)), path)
    facts = {**_rest(header), **facts}
    return ResultFile(path, "run", header["spec"], header["provenance"], facts, header.get("sha256"), problems)


def _records(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """{"records": their number, "metrics": what they hold}, without reading each. Raises DataError for what changed."""
    raw = path.read_bytes()
    try:
        end = json.loads(raw.rstrip(b"\n").rpartition(b"\n")[2])
    except ValueError:
        end = None
    count = raw.count(b"\n") - 2
    if not isinstance(end, dict) or end.get("end") is not True or end.get("records") != count:
        raise DataError(f"{path}: cut off; delete it and run the same command again")
    check_seal(path, header)
    body = raw[raw.find(b"\n") + 1 : raw.rstrip(b"\n").rfind(b"\n") + 1]
    if end.get("sha256") not in (None, hashlib.sha256(body).hexdigest()):
        raise DataError(f"{path}: its records were changed after they were written")
    return {"records": count, "metrics": sorted({name.decode() for name in _METRIC.findall(body)})}


def _search(path: Path) -> ResultFile:
    header = read_header(path)
    if "outputs" in header:
        raise ConfigError(f"{path}: is a record; give a file that it is of: {', '.join(header['outputs'])}")
    problems = _problems(lambda: check_seal(path, header), path)
    return ResultFile(
        path, "search", header["spec"], header["provenance"], _rest(header), header.get("sha256"), problems
    )


def _weights(path: Path) -> ResultFile:
    header = read_metadata(path)
    with path.open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    head.pop("__metadata__")
    tensors = {name: f"{tensor['dtype']} {tensor['shape']}" for name, tensor in sorted(head.items())}
    facts = {**_rest(header), "tensors": tensors}
    problems = _problems(lambda: check_weights(path), path)
    return ResultFile(
        path, "weights", header["spec"], header.get("provenance", {}), facts, header.get("sha256"), problems
    )


def _made(path: Path) -> ResultFile:
    record = read_record(path)
    _, name = made.split(path)
    kind = {"figures": "figure", "tables": "table", "bench": "benchmark"}[name.partition("/")[0]]
    written = record["outputs"].get(name)
    problems = _problems(lambda: _compare(path, written), path)
    return ResultFile(path, kind, record["spec"], record["provenance"], _rest(record), written, problems)


def _compare(path: Path, written: str | None) -> None:
    if (found := checksum(path)) != written:
        raise DataError(f"its content was changed after it was made: sha256 {found[:16]}…, made {str(written)[:16]}…")


def _data(path: Path) -> ResultFile:
    from credit.data.load import load  # numpy, which the other kinds do without

    facts = _facts(path)
    seal, code = facts.pop("seal", None), facts.pop("code", None)
    return ResultFile(path, "data set", {}, {"code": code}, facts, seal, _problems(lambda: load(path), path))


def _facts(path: Path) -> dict[str, Any]:
    """What a prepared data set says of itself, and the shapes of its arrays, whatever code made it."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            facts = json.loads(str(archive["meta"]))
            labels = {name: archive[name] for name in ("train_y", "test_y")}
        return {**facts, "images": {name.partition("_")[0]: len(array) for name, array in labels.items()}}
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a prepared data set, or cut off ({' '.join(str(error).split())})") from error


def _archive(path: Path) -> ResultFile:
    from credit.provenance.archive import read_list, unpack  # tar and xz

    def unpacked() -> None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(path, NAMES, Path(folder))

    facts = read_list(path, NAMES)
    count = sum(entry["bytes"] for entry in facts["files"].values())
    problems = _problems(unpacked, path, count, LARGE_UNPACKED)
    return ResultFile(path, "archive", facts=facts, problems=problems)
