"""The seal of a prepared data set: which arrays its file holds, which code made them, and that nobody changed that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from credit.config.formats import FORMATS
from credit.provenance.snapshot import code_digest
from credit.provenance.spec import digest

PREPARATION = "credit.data.prepare"


def hash_of(dtype: np.dtype, shape: tuple[int, ...]) -> Any:
    """The sha256 of an array before its numbers, which follow piece by piece."""
    return hashlib.sha256(f"{dtype.str} {list(shape)}".encode())


def fingerprint(array: np.ndarray) -> str:
    """sha256 of an array of any shape: of its type, shape and numbers."""
    sha256 = hash_of(array.dtype, array.shape)
    sha256.update(np.ascontiguousarray(array))
    return sha256.hexdigest()


def code(format_: str) -> str:
    """Digest of the code that prepares data sets of a format."""
    return code_digest(PREPARATION, FORMATS.module(format_))


def sealed(facts: Mapping[str, Any]) -> str:
    """Facts of a data set, and their seal, as JSON. They name `format` and `arrays`, {array: fingerprint}."""
    facts = {**facts, "code": code(facts["format"])}
    return json.dumps({**facts, "seal": digest(facts)})


def opened(text: str) -> dict[str, Any]:
    """The facts that `sealed` wrote. Raises ValueError where they were changed, or other code prepares the data now."""
    facts = json.loads(text)
    if "seal" not in facts:
        raise ValueError("it was prepared by an older version")
    if facts.pop("seal") != digest(facts):
        raise ValueError("what it says of itself was changed after it was prepared")
    if facts["code"] != code(facts["format"]):
        raise ValueError(f"it was prepared by other code for the format {facts['format']}")
    return facts


def check(arrays: Mapping[str, np.ndarray], fingerprints: Mapping[str, str]) -> None:
    """Raise ValueError for an array, of any shape, that is not what was prepared.

    An archive's own checksums are those of whoever wrote it last.
    """
    for name, array in arrays.items():
        if fingerprint(array) != fingerprints[name]:
            raise ValueError(f"{name}: its content was changed after it was prepared")


def state(facts: Mapping[str, Any]) -> str:
    """Digest of all arrays of a data set."""
    return digest(facts["arrays"])
