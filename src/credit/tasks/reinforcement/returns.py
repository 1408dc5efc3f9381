"""Returns of episodes: of the last one, means over the last few, and over the run."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NAMES = ("episode_return", "mean_return", "run_return")


class Returns:
    """Sums of rewards of the episodes of M members. recent (M, window): the last ones; total (M,): of their means."""

    def __init__(self, members: int, window: int) -> None:
        self.recent, self.total, self.count = np.zeros((members, window)), np.zeros(members), 0

    def add(self, values: np.ndarray) -> None:
        """Those of one more episode, (M,)."""
        self.recent[:, self.count % self.recent.shape[1]] = values
        self.count += 1
        self.total += self._mean()

    def _mean(self) -> np.ndarray:
        return self.recent[:, : self.count].mean(1)

    def measured(self) -> dict[str, Tensor]:
        """{"episode_return", "mean_return", "run_return": (M,)}; NaN before the first episode."""
        if self.count == 0:
            return dict.fromkeys(NAMES, torch.full((len(self.total),), torch.nan, dtype=torch.float64))
        last = self.recent[:, (self.count - 1) % self.recent.shape[1]]
        found = last.copy(), self._mean(), self.total / self.count
        return {name: torch.from_numpy(value) for name, value in zip(NAMES, found, strict=True)}

    def state_dict(self) -> dict:
        """{"recent", "total", "count"}."""
        return {"recent": torch.tensor(self.recent), "total": torch.tensor(self.total), "count": self.count}

    def load_state_dict(self, state: dict) -> None:
        """Continue from `state_dict`."""
        self.recent[:], self.total[:], self.count = state["recent"].numpy(), state["total"].numpy(), state["count"]
