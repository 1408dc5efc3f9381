"""Intervals of means by resampling, as the figures of prospective configuration have them."""

from __future__ import annotations

import numpy as np
from scipy import stats

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
    columns = runs.reshape(len(runs), -1)
    sound = np.isfinite(columns)
    limits = np.full((2, columns.shape[1]), np.nan)
    for kept in np.unique(sound, axis=1).T:  # entries that lack the same runs
        if kept.sum() > 1:
            alike = (sound == kept[:, None]).all(0)
            limits[:, alike] = _limits(columns[kept][:, alike], confidence, draws)
    low, high = limits.reshape(2, *runs.shape[1:])
    return low, high


def spread(draws: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation and 95 % percentile limits of a number over draws (n,), NaN of fewer than two."""
    if len(draws) < 2:
        return np.nan, np.nan, np.nan
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(draws.std(ddof=1)), float(low), float(high)


def _limits(runs: np.ndarray, confidence: float, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Of finite runs (n, k), (k,) each."""
    found = stats.bootstrap(
        (runs,), np.mean, n_resamples=draws, confidence_level=confidence, method="percentile", axis=0, batch=100,
        rng=np.random.default_rng(SEED),
    )  # fmt: skip
    return found.confidence_interval.low, found.confidence_interval.high
