"""A replay buffer for every member of a stack, and random mini-batches of it.

Source: Mnih et al. (Nature 2015), experience replay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Transitions(NamedTuple):
    """observation and following (M, B, n), action (M, B) int64, reward and ended (M, B), the last 0 or 1."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    following: np.ndarray
    ended: np.ndarray


class Replay:
    """The last `capacity` transitions of every member; the oldest is overwritten first.

    size (M,): how many a member has. place (M,): where its next one goes.
    """

    def __init__(self, members: int, capacity: int, n: int, kind: type[np.floating]) -> None:
        self.capacity, self.rows = capacity, np.arange(members)[:, None]
        self.size, self.place = np.zeros((2, members), np.int64)
        self.kept = Transitions(
            np.zeros((members, capacity, n), kind), np.zeros((members, capacity), np.int64),
            np.zeros((members, capacity), kind), np.zeros((members, capacity, n), kind),
            np.zeros((members, capacity), kind),
        )  # fmt: skip

    def put(self, live: np.ndarray, *transition: np.ndarray) -> None:
        """One transition of each of the members `live` (K,), its parts (K, ...) in the order of `Transitions`."""
        place = self.place[live]
        for kept, part in zip(self.kept, transition, strict=True):
            kept[live, place] = part
        self.place[live] = (place + 1) % self.capacity
        self.size[live] = np.minimum(self.size[live] + 1, self.capacity)

    def take(self, index: np.ndarray) -> Transitions:
        """Those at `index` (M, B)."""
        return Transitions(*(kept[self.rows, index] for kept in self.kept))

    def state_dict(self) -> dict[str, Tensor]:
        """{"size", "place": (M,)}, and the parts of the transitions as far as any member has them."""
        filled = int(self.size.max())
        parts = {name: kept[:, :filled] for name, kept in self.kept._asdict().items()}
        arrays = {"size": self.size, "place": self.place, **parts}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from `state_dict`, tensors (M,) and (M, filled, ...)."""
        self.size[:], self.place[:] = state["size"].numpy(), state["place"].numpy()
        for name, kept in self.kept._asdict().items():
            kept[:, : state[name].shape[1]] = state[name].numpy()


class CompiledReplay(Replay):
    """The same in a compiled loop."""

    def put(self, live: np.ndarray, *transition: np.ndarray) -> None:
        from credit.tasks.reinforcement import loops

        loops.put(live, transition, tuple(self.kept), self.size, self.place)


def drawn(uniform: np.ndarray, size: np.ndarray) -> np.ndarray:
    """For each of (M, U) mini-batches B different numbers below the member's size (M,), int64 (M, U, B).

    uniform (M, U, B): from [0, 1). Every set is as likely (R. W. Floyd's algorithm; Bentley & Floyd, CACM 1987). A size
    below B counts as B.
    """
    batch = uniform.shape[-1]
    first = np.maximum(size, batch)[:, None] - batch
    chosen = np.empty(uniform.shape, np.int64)
    for k in range(batch):
        last = first + k
        number = (uniform[..., k] * (last + 1.0)).astype(np.int64)
        taken = (chosen[..., :k] == number[..., None]).any(-1)
        chosen[..., k] = np.where(taken, last, number)
    return chosen
