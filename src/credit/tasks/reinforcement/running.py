"""Means and standard deviations of what was seen so far, and observations normalised by them.

Source: B. P. Welford (1962), Technometrics 4, 419; Song et al. (2024), released code: simple_dqn_new.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class RunningStatistics:
    """Of observations (M, n), each member's own, in the precision of the net, as released.

    count (M,); mean (M, n); squares (M, n), the sum of squared distances from the mean.
    """

    def __init__(self, members: int, n: int, kind: type[np.floating]) -> None:
        self.count = np.zeros(members, kind)
        self.mean, self.squares = np.zeros((2, members, n), kind)

    def normalised(self, x: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Take observations x (K, n) of the members `live` (K,) into account, then (x - mean) / sd.

        sd: of the population. Where any of its components is 0, nothing is divided.
        """
        x = x.astype(self.mean.dtype)
        self.count[live] += 1
        count, before = self.count[live, None], self.mean[live]
        mean = before + (x - before) / count
        squares = self.squares[live] + (x - before) * (x - mean)
        self.mean[live], self.squares[live] = mean, squares
        deviation = np.sqrt(squares / count)
        deviation[(deviation == 0).any(1)] = 1
        return (x - mean) / deviation

    def state_dict(self) -> dict[str, Tensor]:
        """{"count": (M,), "mean", "squares": (M, n)}."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ("count", "mean", "squares")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from `state_dict`, tensors (M,) and (M, n)."""
        for name, value in state.items():
            getattr(self, name)[:] = value.numpy()


class CompiledStatistics(RunningStatistics):
    """The same, bit by bit, in a compiled loop."""

    def normalised(self, x: np.ndarray, live: np.ndarray) -> np.ndarray:
        from credit.tasks.reinforcement import loops

        out = np.empty(x.shape, self.mean.dtype)
        loops.normalised(x, live, self.count, self.mean, self.squares, out)
        return out
