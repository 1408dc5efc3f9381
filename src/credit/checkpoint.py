"""Checkpoints of a training job: tensors and plain values only, read with `weights_only`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from credit.errors import CheckpointError
from credit.records import replacing


def save(path: str | Path, spec_hash: str, content: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; an older one stays until the new one is complete."""
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind an internal error
    torch.save({"spec": spec_hash, **content}, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


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
