"""Members of a stack that do not take part in an update: what it has changed of them is put back."""

from __future__ import annotations

from typing import Any

from torch import Tensor

COUNTS = ("steps", "epoch")  # of an optimiser: they count for the stack


def put_back(now: Any, before: Any, still: Tensor) -> None:
    """Give `now` what `before` has of the members `still` (M,) bool, in place: nested dicts of tensors (M, ...).

    Tensors of other sizes are counters of the whole stack, and stay.
    """
    for key, value in now.items():
        if isinstance(value, dict):
            put_back(value, before[key], still)
        elif isinstance(value, Tensor) and key not in COUNTS and value.shape[:1] == still.shape:
            value[still] = before[key][still]
