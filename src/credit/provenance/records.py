"""Result files: one JSON object a line, header first, a closing line last; they appear whole or not at all.

Standard library only. A record is `{"seed", ..., "epoch", "step", "metric", "layer", "value"}`; what varies between
the members of a stack stands beside the seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from credit.errors import DataError
from credit.provenance.files import remove_leftovers, whole_file

METADATA_KEY = "credit"  # of files of kept weights


def write_result(path: str | Path, header: dict[str, Any], records: Iterable[dict[str, Any]]) -> int:
    """Write a result file; returns the number of records."""
    count = 0
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(header, sort_keys=True) + "\n")
        for record in records:
            file.write(json.dumps(record, allow_nan=False) + "\n")
            count += 1
        file.write(json.dumps({"end": True, "records": count}) + "\n")
    return count


def read_result(path: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and records of a result file. Raises DataError naming a file that is cut off or not a result."""
    try:
        lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a result file ({error}); delete it and run the same command again") from error
    if not all(isinstance(line, dict) for line in lines):
        raise DataError(f"{path}: holds lines that are no records; delete it and run the same command again")
    end = lines[-1] if len(lines) > 1 else {}
    if not lines or "spec" not in lines[0]:
        raise DataError(f"{path}: no header with a spec in the first line; delete it and run again")
    if end.get("end") is not True or end.get("records") != len(lines) - 2:
        raise DataError(f"{path}: cut off after {len(lines)} lines; delete it and run the same command again")
    return lines[0], lines[1:-1]


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
