"""Result files: one JSON object a line, header first, a closing line last; they appear whole or not at all.

Each holds the sha256 of its content, so that a value that was changed later shows. A record is `{"seed", ..., "epoch",
"step", "metric", "layer", "value"}`; what varies between the members of a stack stands beside the seed.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from credit.errors import ConfigError, DataError
from credit.provenance.files import remove_leftovers, whole_file
from credit.provenance.spec import canonical_json

METADATA_KEY = "credit"  # of files of kept weights


def write_result(path: str | Path, header: dict[str, Any], records: Iterable[dict[str, Any]]) -> int:
    """Write a result file; returns the number of records. What follows the header depends on the records alone."""
    count, seen = 0, hashlib.sha256()
    with whole_file(path) as temporary, temporary.open("wb") as file:

        def line(content: dict[str, Any]) -> None:
            text = (json.dumps(content, allow_nan=False) + "\n").encode()
            seen.update(text)
            file.write(text)

        file.write((json.dumps(sealed(header), sort_keys=True) + "\n").encode())
        for record in records:
            line(record)
            count += 1
        line({"end": True, "records": count, "sha256": seen.hexdigest()})
    return count


def read_result(path: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and records of a result file. Raises DataError naming one that is cut off, changed or not a result."""
    try:
        raw = Path(path).read_bytes()
        lines = [json.loads(line) for line in raw.decode().splitlines()]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a result file ({error}); delete it and run the same command again") from error
    if not all(isinstance(line, dict) for line in lines):
        raise DataError(f"{path}: holds lines that are no records; delete it and run the same command again")
    end = lines[-1] if len(lines) > 1 else {}
    if not lines or "spec" not in lines[0]:
        raise DataError(f"{path}: no header with a spec in the first line; delete it and run again")
    if end.get("end") is not True or end.get("records") != len(lines) - 2:
        raise DataError(f"{path}: cut off after {len(lines)} lines; delete it and run the same command again")
    check_seal(path, lines[0])
    body = raw[raw.find(b"\n") + 1 : raw.rstrip(b"\n").rfind(b"\n") + 1]
    _check(path, end.get("sha256"), hashlib.sha256(body).hexdigest())
    return {key: value for key, value in lines[0].items() if key != "sha256"}, lines[1:-1]


def _check(path: str | Path, written: str | None, found: str) -> None:
    """Raise DataError if a content is not the one that was written; nothing is known of those without a checksum."""
    if written not in (None, found):
        raise DataError(
            f"{path}: its content was changed after it was written: sha256 {found[:16]}…, written {written[:16]}…; "
            "delete it and run the same command again"
        )


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with the sha256 of its canonical text, see `check_seal`."""
    as_read = json.loads(json.dumps(content))
    return {**content, "sha256": hashlib.sha256(canonical_json(as_read).encode()).hexdigest()}


def check_seal(path: str | Path, content: dict[str, Any]) -> None:
    """Raise DataError if a JSON file's content is not the one that was sealed."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    try:
        found = sealed(rest)["sha256"]
    except ConfigError:  # a number that is not finite, which nothing of ours holds
        found = "of no JSON text"
    _check(path, content.get("sha256"), found)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a `.safetensors` file of kept weights says of itself: {"spec", "chosen", "diverged", "provenance"}.

    Only its head is read: 8 bytes with the length of a JSON text, the text, then the tensors.
    Raises DataError for one that is cut off or was not written by a training job.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            head = json.loads(file.read(length) if length < size else "")
        content = json.loads(head.pop("__metadata__")[METADATA_KEY])
        whole = size == 8 + length + max(tensor["data_offsets"][1] for tensor in head.values())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        content, whole = None, False
    if not (whole and isinstance(content, dict) and isinstance(content.get("spec"), dict)):
        raise DataError(
            f"{path}: not the weights of a training job, or cut off; delete it and run the same command again"
        )
    return content


def check_weights(path: str | Path) -> None:
    """Raise DataError if the numbers in a file of kept weights are not those that were written."""
    content = read_metadata(path)
    with Path(path).open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        _check(path, content.get("sha256"), hashlib.file_digest(file, "sha256").hexdigest())


def checkpoint_path(result: str | Path) -> Path:
    """Where the job that writes `result` keeps its checkpoint."""
    return Path(result).with_name(Path(result).name + ".ckpt")


def remove_checkpoints(results: Iterable[str | Path]) -> None:
    """Remove what the jobs of these results, and the searches before them, left for a retry: it is not needed any more.

    One that is newer than its result belongs to another job, which was interrupted, and stays.
    """
    for made in dict.fromkeys(path for r in map(Path, results) for path in (r, r.with_name("choice.json"))):
        left = checkpoint_path(made)
        remove_leftovers(left)
        with suppress(OSError):
            if left.stat().st_mtime_ns <= made.stat().st_mtime_ns:
                left.unlink()
