"""Normal numbers of layers for loops over groups of samples: made on the way, or given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from credit.numerics.blocks import Numbers
from credit.numerics.compiled import compiled
from credit.numerics.normal_loops import begin, proceed


class Draws(NamedTuple):
    """keyed (L,): whether a layer's numbers are made of keys, (L, M), or lie in numbers (M, groups, n) from starts
    (L + 1,) on. Of a layer without noise there are none."""

    keyed: np.ndarray
    keys: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray


def draws_of(layers: Sequence[Numbers | None], members: int, dtype: torch.dtype) -> Draws:
    """The numbers of layers, None for one without noise, of a stack of `members` or a single net."""
    keyed = np.array([numbers is not None and numbers.given is None for numbers in layers])
    keys = np.zeros((len(layers), members), np.int64)
    for i in keyed.nonzero()[0]:
        keys[i] = layers[i].keys
    given = [numbers.laid_out(dtype) for numbers in layers if numbers is not None and numbers.given is not None]
    sizes = [0 if n is None or n.given is None else n.size for n in layers]
    numbers = torch.cat(given, -1) if given else torch.empty(0, 0, 0, dtype=dtype)
    return Draws(keyed, keys, numbers.numpy(), np.cumsum([0, *sizes]))


@compiled
def whole(draws, i, m, g, state, out):
    """All numbers of layer i for group g of member m into out (n,). state: memory of the generators."""
    if draws.keyed[i]:
        begin(draws.keys[i, m], g, state)
    proceed_by(draws, i, m, g, 0, state, out)


@compiled
def proceed_by(draws, i, m, g, start, state, out):
    """The next numbers, from the one with the number `start` on; 0 beyond the last that are given."""
    if draws.keyed[i]:
        proceed(state, out)
        return
    first, end = draws.starts[i] + start, draws.starts[i + 1]
    count = min(out.shape[0], max(0, end - first))
    for j in range(count):
        out[j] = draws.numbers[m, g, first + j]
    for j in range(count, out.shape[0]):
        out[j] = 0
