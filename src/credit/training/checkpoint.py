"""Checkpoints of a training job: tensors and plain values only, read with `weights_only`."""

from __future__ import annotations

from contextlib import suppress
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
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        owner = content["spec"]
    except FileNotFoundError:  # also one that another copy of the job has just removed
        return None
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises whatever its zip reader and unpickler raise
        raise CheckpointError(
            f"{path}: corrupt checkpoint ({type(error).__name__}); delete it to start this job from the beginning"
        ) from error
    return content if owner == spec_hash else None


class Checkpoint:
    """The checkpoint of one job, which for a while two copies of the job may write.

    A cluster starts a job again while the first copy still has its seconds of grace, or after a submission that it
    reported as failed. Both copies compute the same; the one that is behind writes nothing. `content` has a
    `position`, (phase, epoch): what is to be trained next.
    """

    def __init__(self, path: str | Path, owner: str):
        self.path, self.owner = Path(path), owner
        self._seen: tuple[int, int] | None = None

    def load(self) -> dict[str, Any] | None:
        """As the function `load`."""
        self._seen = self._stamp()
        return load(self.path, self.owner)

    def save(self, content: dict[str, Any]) -> None:
        """As the function `save`, unless another copy of the job has saved one that is as far, or further."""
        if self._stamp() != self._seen:
            with suppress(CheckpointError):
                other = load(self.path, self.owner)
                if other is not None and list(other["position"]) >= list(content["position"]):
                    return
        save(self.path, self.owner, content)
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
