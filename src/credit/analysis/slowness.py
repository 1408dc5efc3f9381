"""Slowness of learning: the curve A k / (s + k) fitted to accuracy against epoch (Dellaferrera & Kreiman 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import leastsq

from credit.analysis.values import BEFORE_DECAY
from credit.errors import DataError


class Slowness(NamedTuple):
    """accuracy A, in the unit of the data, and slowness s, in epochs: the accuracy after s epochs is A / 2."""

    accuracy: float
    slowness: float

    def curve(self, epochs: Sequence[float] | np.ndarray) -> np.ndarray:
        """A k / (s + k) at the epochs k, (n,)."""
        k = np.asarray(epochs, dtype=float)
        return self.accuracy * k / (self.slowness + k)


def fit_slowness(curve: Sequence[float] | np.ndarray, chance: float, points: int = BEFORE_DECAY) -> Slowness:
    """Fit s by least squares, with A fixed to the largest value of the fitted stretch.

    curve: test accuracy (n,) after epochs 1, 2, ...; average the curves of several runs before. chance: accuracy before
    training in the same unit (0.1 for ten classes, 10 in per cent), which counts as the first of the `points` points,
    epoch 0. There the model is 0, so the fit's sum of squares holds chance². Levenberg-Marquardt from s = 0.5.
    Raises DataError for a curve that is empty, not finite or nowhere above 0, and for fewer than two points.
    """
    data = np.concatenate([[chance], np.asarray(curve, dtype=float)])[:points]
    if len(data) < 2 or not np.isfinite(data).all() or data.max() <= 0:
        raise DataError(
            f"slowness: {len(data)} points, {np.isfinite(data).sum()} of them finite; the fit needs the chance level "
            "and at least one epoch, all finite, one above 0"
        )
    top, k = float(data.max()), np.arange(len(data), dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        (slowness,), _ = leastsq(lambda s: top * k / (s + k) - data, 0.5)
    return Slowness(top, float(slowness))
