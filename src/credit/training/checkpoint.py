"""Checkpoints of a training job: tensors and plain values only, read with `weights_only`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import torch

from credit.errors import CheckpointError
from credit.provenance.files import whole_file


def save(path: str | Path, spec_hash: str, content: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; an older one stays until the new one is complete."""
    with whole_file(path) as temporary:
        with temporary.open("wb") as file:
            sink = _Sink(file)
            torch.save({"spec": spec_hash, **content}, sink)
        if sink.error is not None:
            raise sink.error


class _Sink:
    """A file that keeps its first error: torch's writer would hide a full disk behind an internal one.

    Written piece by piece, since a copy of the whole in memory, one for every checkpoint, tears holes into the heap.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: the file is flushed when it is closed."""


def load(path: str | Path, spec_hash: str) -> dict[str, Any] | None:
    """The checkpoint's content; None when there is none, or when it belongs to another spec.

    Raises CheckpointError for a file that cannot be read.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        owner = content["spec"]
    except Exception as error:  # torch raises whatever its zip reader and unpickler raise
        raise CheckpointError(
            f"{path}: corrupt checkpoint ({type(error).__name__}); delete it to start this job from the beginning"
        ) from error
    return content if owner == spec_hash else None
