"""Files of tensors, `.safetensors`, that say what made them.

Every file holds the job's spec, and a digest of its numbers; the same numbers give the same bytes. All that it says of
itself is one JSON text under one key, since several keys change their order from save to save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from credit.errors import DataError
from credit.provenance.files import whole_file
from credit.provenance.kept import kind_of
from credit.provenance.records import METADATA_KEY, check_weights, read_metadata
from credit.provenance.spec import canonical_json


def write(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor], alive: Sequence[bool]) -> None:
    """Write tensors of any shape with a header, whole or not at all. alive: for each of M members whether it is sound.

    Every tensor gets memory of its own, in order: safetensors' numpy writer stores other numbers for strided ones
    without a word, and torch's refuses those that share memory.
    """
    import safetensors.torch

    own = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    plain = safetensors.torch.save(own)
    numbers = plain[8 + int.from_bytes(plain[:8], "little") :]
    facts = {"diverged": [not one for one in alive], "sha256": hashlib.sha256(numbers).hexdigest()}
    data = safetensors.torch.save(own, {METADATA_KEY: canonical_json({**header, **facts})})
    with whole_file(path, len(data)) as part:
        part.write_bytes(data)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors, of any shape, of a file that `write` made, on the CPU; they stay, whatever becomes of it.

    Raises DataError for a file that is cut off, changed, not of this kind, or of another kind than its name says.
    """
    import safetensors.torch

    header = read_metadata(path)
    check_weights(path)
    if header.get("kept", "weights") != kind_of(path):
        raise DataError(f"{path}: holds {header.get('kept', 'weights')}, its name says {kind_of(path)}; rename it")
    try:
        # Of bytes in memory: tensors that are read of the file itself follow it when another is copied over it.
        return header, safetensors.torch.load(Path(path).read_bytes())
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and run the same command again") from error
