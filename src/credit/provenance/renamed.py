"""A result under another spec that makes the same numbers: of another experiment or method by name, say.

Standard library only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from credit.provenance.files import whole_file
from credit.provenance.records import METADATA_KEY, sealed
from credit.provenance.spec import canonical_json

_ALIGNED = 8  # bytes, to which the head of a file of weights is filled up


def renamed(file: Path, target: Path, spec: Mapping[str, Any]) -> None:
    """Write to `target` what a job of `spec` would: the run, choice or weights in `file` with this spec in its head."""
    with file.open("rb") as source, whole_file(target) as part, part.open("wb") as out:
        out.write(HEADS[file.suffix](source, spec))
        shutil.copyfileobj(source, out)


def _run(source: BinaryIO, spec: Mapping[str, Any]) -> bytes:
    return (json.dumps(_with(json.loads(source.readline()), spec), sort_keys=True) + "\n").encode()


def _choice(source: BinaryIO, spec: Mapping[str, Any]) -> bytes:
    return (json.dumps(_with(json.load(source), spec), indent=1, sort_keys=True) + "\n").encode()


def _weights(source: BinaryIO, spec: Mapping[str, Any]) -> bytes:
    head = json.loads(source.read(int.from_bytes(source.read(8), "little")))
    own = json.loads(head["__metadata__"][METADATA_KEY])
    head["__metadata__"] = {METADATA_KEY: canonical_json({**own, "spec": spec})}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(8, "little") + text


def _with(content: dict[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return sealed({**{k: v for k, v in content.items() if k != "sha256"}, "spec": spec})


HEADS: dict[str, Callable[[BinaryIO, Mapping[str, Any]], bytes]] = {
    ".jsonl": _run, ".json": _choice, ".safetensors": _weights,
}  # fmt: skip
