"""Whether two means may be of one population, and how often that question is answered wrongly.

A mean of n runs lies within t s sqrt(1/m + 1/n) of another one of m runs with a probability of 95 %, where both are
means of independent runs of one normal population (Student 1908; as a prediction interval: Hahn & Meeker, Statistical
Intervals, 1991). s is an estimate of its standard deviation, t the 97.5 % quantile of Student's distribution with the
degrees of freedom of s.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import ndtr, stdtrit
from scipy.stats import chi2, nct

from credit.analysis.tables import CONFIDENCE

SHIFT = 2.0  # standard deviations by which a difference is meant that power is stated for
POOLED_FROM = 3  # runs of ours whose spread is pooled with a published one
FLIPPED_FROM = 8  # pairs from which on an exact sign-flip test may fall below 0.01; five never fall below 0.06
ALL_FLIPS = 14  # pairs up to which all flips are counted
FLIPS = 20_000  # random ones beyond
NODES = 400  # of the average over estimates of a standard deviation


@dataclass(frozen=True)
class Interval:
    """Half the width of a prediction interval: `t_quantile` s k, and what the reference itself may be off by.

    sd: s; df: its degrees of freedom; k: sqrt(1/m + 1/n); precision: added to both sides, since rounding, or reading
    a plot, moves a reference by up to that much.
    """

    sd: float
    df: float
    k: float
    precision: float = 0.0

    @property
    def half(self) -> float:
        """By how much two means may differ."""
        return self.t_quantile * self.sd * self.k + self.precision

    @property
    def t_quantile(self) -> float:
        """Two-sided 95 % quantile."""
        return float(stdtrit(self.df, 0.5 + CONFIDENCE / 2))

    def failure(self, shift: float = 0.0) -> float:
        """Probability that the difference is outside, where the populations differ by `shift`, in the unit of `sd`.

        shift 0: the rate of false failures. The true standard deviation is taken to be `sd`; what is averaged over is
        its estimate. Without a precision this is the noncentral t distribution.
        """
        if self.sd <= 0 or self.k <= 0:
            return 0.0 if abs(shift) <= self.precision else 1.0
        if self.precision == 0:
            t, away = self.t_quantile, shift / (self.sd * self.k)
            return float(nct.sf(t, self.df, away) + nct.cdf(-t, self.df, away)) if away else 1 - CONFIDENCE
        estimates = np.sqrt(chi2.ppf((np.arange(NODES) + 0.5) / NODES, self.df) / self.df)
        limits = self.t_quantile * estimates + self.precision / (self.sd * self.k)
        away = shift / (self.sd * self.k)
        return float((ndtr(away - limits) + ndtr(-away - limits)).mean())


def prediction(sd: float, m: float, own_sd: float, n: float, precision: float = 0.0) -> Interval:
    """Interval for a mean of n runs beside a published one of m runs with standard deviation `sd`.

    From n = 3 on both spreads are pooled, with m + n - 2 degrees of freedom; below, or where ours has none, it is the
    published one alone, with m - 1.
    """
    k = float(np.sqrt(1 / m + 1 / n))
    if n < POOLED_FROM or not np.isfinite(own_sd):
        return Interval(sd, m - 1, k, precision)
    df = m + n - 2
    return Interval(float(np.sqrt(((m - 1) * sd**2 + (n - 1) * own_sd**2) / df)), df, k, precision)


def of_own_spread(own_sd: float, n: float, m: float = 1.0, precision: float = 0.0) -> Interval:
    """Interval for a mean of n runs with spread `own_sd` beside one of m runs without a published spread, or of one."""
    return Interval(own_sd, n - 1, float(np.sqrt(1 / m + 1 / n)), precision)


def wrong_side(se: float, n: float, shift: float) -> float:
    """Probability that the 95 % t interval of a mean of n runs with standard error `se` lies wholly above 0.

    shift: the true mean; `n` counts runs.
    """
    if se <= 0:
        return float(shift > 0)
    return float(nct.sf(stdtrit(n - 1, 0.5 + CONFIDENCE / 2), n - 1, shift / se))


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the exact test in which every paired difference (n,) may have the other sign (Fisher 1935).

    NaN below eight pairs: with five no outcome can be below 2/32. Up to 14 pairs all flips are counted, beyond 20,000
    random ones, that of the data among them.
    """
    d = np.asarray(differences, float)
    d = d[np.isfinite(d)]
    n = len(d)
    if n < FLIPPED_FROM:
        return float("nan")
    if n <= ALL_FLIPS:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice([1.0, -1.0], size=(FLIPS, n))
        signs[0] = 1.0
    sums = np.abs(signs @ d)
    return float((sums >= abs(d.sum()) * (1 - 1e-12)).mean())
