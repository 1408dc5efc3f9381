"""Intervals of means by resampling, as the figures of prospective configuration have them."""

from __future__ import annotations

import numpy as np

PUBLISHED = 0.68  # about one standard error up and down
DRAWS = 1000  # seaborn's default
SEED = 0  # so that a figure is the same whenever its numbers are


def bootstrap_interval(
    runs: np.ndarray, confidence: float = PUBLISHED, draws: int = DRAWS
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean over runs: limits (...) of runs (n, ...), NaN where there are fewer than two.

    Runs are drawn n times with replacement, the same ones for all entries. Values that are not finite are left out.
    """
    runs = np.asarray(runs, dtype=float)
    n, rest = len(runs), runs.shape[1:]
    if n < 2:
        return np.full(rest, np.nan), np.full(rest, np.nan)
    drawn = np.random.default_rng(SEED).integers(n, size=(draws, n))
    times = np.stack([(drawn == run).sum(1) for run in range(n)], axis=1).astype(float)  # (draws, n)
    sound = np.isfinite(runs)
    with np.errstate(invalid="ignore"):
        counted = np.tensordot(times, sound.astype(float), 1)
        means = np.tensordot(times, np.where(sound, runs, 0.0), 1) / counted
        tails = 50 * (1 - confidence)
        limits = (
            np.nanpercentile(means, [tails, 100 - tails], axis=0) if np.isfinite(means).any() else means[:2] * np.nan
        )
    few = sound.sum(0) < 2
    low, high = (np.where(few, np.nan, limit) for limit in limits)
    return low, high
