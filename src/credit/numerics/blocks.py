"""Standard normal numbers of groups of samples: of a mini-batch at once, or made by a loop where they are needed.

A stream gives a key for each draw (`Rand.keys`), and each group of SIDE samples has generators of its own, which begin
at that key and the group's number (`numerics.normal_loops`). Whoever makes the numbers, a loop that needs one group or
`Numbers.tensor`, makes the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit.numerics import normal_loops
from credit.numerics.devices import moved
from credit.numerics.rand import Rand
from credit.numerics.threads import share
from credit.numerics.tiles import SIDE

IN_LANES = (0, 1, -1)  # samples of a group side by side


@dataclass(frozen=True)
class Numbers:
    """Standard normal numbers of every sample, `shape` each; those of a group are the axes of `order` in that order.

    order: a permutation of the axes of `shape` and of -1, the sample. keys: (M,), or (1,) without a stack; None: given,
    (M, B, *shape), M may be absent.
    """

    batch: int
    shape: tuple[int, ...]
    order: tuple[int, ...]
    keys: np.ndarray | None
    given: Tensor | None
    stacked: bool

    @property
    def size(self) -> int:
        """Numbers of a group."""
        return SIDE * int(np.prod(self.shape))

    def laid_out(self, dtype: torch.dtype) -> Tensor:
        """Given ones in the order of their groups, (M, groups, size); samples that are not there have zeros."""
        given = self.given if self.stacked else self.given.unsqueeze(0)
        groups = -(-self.batch // SIDE)
        whole = torch.zeros(len(given), groups * SIDE, *self.shape, dtype=dtype)
        whole[:, : self.batch] = given
        axes = [2 if axis < 0 else 3 + axis for axis in self.order]
        return whole.unflatten(1, (groups, SIDE)).permute(0, 1, *axes).reshape(len(given), groups, -1)

    def tensor(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """All of them, (M, B, *shape), or (B, *shape) without a stack."""
        draws, whose = self.distinct(dtype, device)
        return draws if whose is None else draws[whose]

    def distinct(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """As few of them as there are different ones, (S, B, *shape), and whose they are, (M,).

        None for the second where these are all of them, or without a stack.
        """
        if self.given is not None:
            return moved(self.given, device, dtype), None
        keys = list(dict.fromkeys(self.keys.tolist()))  # in the order of the members, as in all streams
        made = moved(self._made(np.array(keys, np.int64)), device, dtype)
        if not self.stacked:
            return made[0], None
        whose = torch.tensor([keys.index(key) for key in self.keys.tolist()])
        return made, moved(whose, device)

    def _made(self, keys: np.ndarray) -> Tensor:
        """Of the members with these keys, float32 (S, B, *shape)."""
        groups = -(-self.batch // SIDE)
        out = torch.empty(len(keys), groups, self.size)
        share(normal_loops.fill, len(keys) * groups, keys, out.numpy())
        sizes = [SIDE if axis < 0 else self.shape[axis] for axis in self.order]
        axes = [self.order.index(axis) for axis in (-1, *range(len(self.shape)))]
        natural = out.view(len(keys), groups, *sizes).permute(0, 1, *(2 + a for a in axes))
        return natural.reshape(len(keys), groups * SIDE, *self.shape)[:, : self.batch]


def over_time(draws: Tensor) -> Numbers:
    """Of draws (M, T, B, n), or (T, B, n) without a stack: T by n numbers of every sample."""
    given = draws.transpose(-2, -3)
    return Numbers(draws.shape[-2], (draws.shape[-3], draws.shape[-1]), IN_LANES, None, given, draws.ndim > 3)


def numbers(
    rand: Rand, name: str, batch: int, shape: Sequence[int], order: Sequence[int], sample_axis: int = 0
) -> Numbers:
    """From the stream `name`; a replay has the samples at `sample_axis` of a member's draws."""
    keys = rand.keys(name, batch * int(np.prod(shape)))
    given = None
    if keys is None:
        lead = 1 if rand.stacked else 0
        drawn = [*shape[:sample_axis], batch, *shape[sample_axis:]]
        given = rand.normal(name, drawn).movedim(lead + sample_axis, lead)
    return Numbers(batch, tuple(shape), tuple(order), keys, given, rand.stacked)
