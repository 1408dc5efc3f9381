"""Compiled loops over random words."""

from __future__ import annotations

from credit.numerics.compiled import compiled


@compiled
def below(words, limit, value, out):
    """`value` where a word is below `limit`, else 0."""
    value, zero = out.dtype.type(value), out.dtype.type(0)
    for k in range(out.shape[0]):
        out[k] = value if words[k] < limit else zero
