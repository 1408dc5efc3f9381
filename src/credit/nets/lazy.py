"""Compiled loops of nets, and which tensors they can take."""

from __future__ import annotations

import functools


@functools.cache
def compiled_loops():
    """The module of loops, loaded when the first runs: that takes a while, and is of no use on a GPU."""
    from credit.nets import loops

    return loops
