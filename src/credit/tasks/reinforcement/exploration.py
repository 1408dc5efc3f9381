"""How often an action is drawn at random."""

from __future__ import annotations

import numpy as np


def epsilon(episode: int, start: float, fall: float, least: float) -> float:
    """The probability of a random action: max(least, start - fall * episode), episodes counted from 0."""
    return max(least, start - fall * episode)


def explored(best: np.ndarray, uniform: np.ndarray, probability: float, actions: int) -> np.ndarray:
    """`best` (K,), or with `probability` any of so many actions, int64 (K,); uniform (K, 2): whether, and which."""
    other = (uniform[:, 1].astype(float) * actions).astype(np.int64)
    return np.where(uniform[:, 0] < probability, other, best)
