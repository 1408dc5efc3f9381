"""How far two means may lie apart: its limits, and how often it fails falsely and rightly, computed and drawn."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from credit.analysis.intervals import Interval, of_own_spread, prediction, sign_flip, wrong_side
from credit.analysis.judgement import CONSISTENT, INCONCLUSIVE, INCONSISTENT, judge

DRAWS = 2000
ERROR = 4 * np.sqrt(0.25 / DRAWS)  # four standard errors of a drawn rate, at most


# ---- limits and rates


def test_limits_are_those_of_the_t_distribution():
    interval = prediction(0.2, 5, 0.1, 3)
    pooled = np.sqrt((4 * 0.2**2 + 2 * 0.1**2) / 6)
    assert (interval.df, interval.sd) == (6, pytest.approx(pooled))
    assert interval.half == pytest.approx(stats.t.ppf(0.975, 6) * pooled * np.sqrt(1 / 5 + 1 / 3))
    alone = prediction(0.2, 5, np.nan, 1, precision=0.05)
    assert alone.half == pytest.approx(stats.t.ppf(0.975, 4) * 0.2 * np.sqrt(1 / 5 + 1) + 0.05)
    assert prediction(0.2, 5, 9.9, 2).df == 4, "two runs say too little about a spread"
    own = of_own_spread(0.1, 4)
    assert own.half == pytest.approx(stats.t.ppf(0.975, 3) * 0.1 * np.sqrt(1 + 1 / 4))


@pytest.mark.parametrize(("n", "published_alone", "pooled"), [(1, 0.29, 0.29), (3, 0.55, 0.63), (5, 0.66, 0.79)])
def test_the_power_at_two_published_standard_deviations_of_five_runs(n, published_alone, pooled):
    k = np.sqrt(1 / 5 + 1 / n)
    assert Interval(1.0, 4, k).failure(2.0) == pytest.approx(published_alone, abs=0.005)
    assert prediction(1.0, 5, 1.0, n).failure(2.0) == pytest.approx(pooled, abs=0.005)


@pytest.mark.parametrize("df", [2, 4, 20])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_rates_with_a_vanishing_precision_are_those_of_the_noncentral_t_distribution(df, shift):
    assert Interval(1.0, df, 0.7, 1e-9).failure(shift) == pytest.approx(Interval(1.0, df, 0.7).failure(shift), abs=2e-3)


def test_a_precision_makes_failures_rarer_and_no_spread_leaves_it_alone():
    rates = [Interval(1.0, 6, 0.7, precision).failure() for precision in (0.0, 0.1, 1.0)]
    assert rates[0] == pytest.approx(0.05) and rates == sorted(rates, reverse=True)
    assert (Interval(0.0, 3, 1.0, 0.1).half, Interval(0.0, 3, 1.0, 0.1).failure(0.05)) == (0.1, 0.0)
    assert Interval(0.0, 3, 1.0, 0.1).failure(0.2) == 1.0


# ---- the rule, drawn


def drawn(n, m, shift=0.0, published=True, precision=np.nan, kind="mean", sign=1.0):
    """Verdicts on means of n normal runs beside means of m, of populations a shift apart."""
    rng, verdicts = np.random.default_rng(n + 10 * m), []
    for ours, theirs in zip(rng.normal(shift, 1, (DRAWS, n)), rng.normal(0, 1, (DRAWS, m)), strict=True):
        mean, se = ours.mean(), ours.std(ddof=1) / np.sqrt(n)
        half = stats.t.ppf(0.975, n - 1) * se
        row = {"mean": mean, "se": se, "runs": n, "lost": 0, "ci_low": mean - half, "ci_high": mean + half}
        reference = {"kind": kind, "mean": theirs.mean(), "std": theirs.std(ddof=1) if m > 1 else np.nan}
        if kind != "mean":
            reference["mean"] = sign
        if not published:
            reference["std"] = np.nan
        verdicts.append(judge(reference | {"n": m, "precision": precision}, row))
    return verdicts


def rate(judged, verdict=INCONSISTENT):
    return np.mean([one.verdict == verdict for one in judged])


@pytest.mark.parametrize(
    ("n", "m", "published"), [(3, 5, True), (5, 5, True), (20, 3, True), (5, 1, False), (4, 3, False)]
)
def test_one_in_twenty_sets_of_runs_of_the_same_population_fails(n, m, published):
    judged = drawn(n, m, published=published)
    assert rate(judged) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / DRAWS))
    assert judged[0].false_failure == pytest.approx(0.05)
    assert rate(judged) + rate(judged, CONSISTENT) == 1


@pytest.mark.parametrize(("n", "m"), [(3, 5), (5, 5), (20, 3)])
def test_two_standard_deviations_are_found_as_often_as_the_power_says(n, m):
    interval = prediction(1.0, m, 1.0, n)
    assert rate(drawn(n, m, shift=2.0)) == pytest.approx(interval.failure(2.0), abs=ERROR)


def test_beside_a_single_published_run_power_is_that_of_our_spread():
    assert rate(drawn(5, 1, shift=3.0, published=False)) == pytest.approx(of_own_spread(1.0, 5).failure(3.0), abs=ERROR)


def test_a_reference_that_is_known_to_a_precision_fails_less_often():
    judged = drawn(5, 5, precision=0.3)
    assert rate(judged) == pytest.approx(prediction(1.0, 5, 1.0, 5, 0.3).failure(), abs=4 * np.sqrt(0.02 / DRAWS))
    assert rate(judged) < 0.03


def test_signs_fail_as_often_as_said():
    for shift in (0.0, -1.0, 1.0):
        judged = drawn(5, 1, shift=shift, kind="order", sign=1.0)
        expected = wrong_side(np.sqrt(1 / 5), 5, -shift)
        assert rate(judged) == pytest.approx(expected, abs=ERROR / 2), shift
    assert rate(drawn(3, 1, shift=1.0, kind="bound", sign=1.0)) == pytest.approx(0.025, abs=0.01)


def test_two_runs_are_never_a_verdict():
    assert {one.verdict for one in drawn(2, 5, shift=9.0)} == {INCONCLUSIVE}


# ---- sign flips


def test_fewer_than_eight_pairs_have_no_sign_flip_test():
    assert np.isnan(sign_flip(np.ones(7)))
    assert np.isnan(sign_flip(np.array([1.0] * 7 + [np.nan])))
    assert 2 / 2**5 > 0.06, "what five pairs can give at best"


def test_all_flips_of_eight_pairs_are_counted():
    assert sign_flip(np.arange(1, 9)) == 2 / 256
    d = np.random.default_rng(0).normal(0.5, 1, 9)
    sums = [abs(np.dot(signs, d)) for signs in product((1, -1), repeat=9)]
    assert sign_flip(d) == sign_flip(-d) == np.mean([total >= abs(d.sum()) - 1e-12 for total in sums])


def test_flips_of_many_pairs_are_drawn():
    d = np.random.default_rng(1).normal(0.3, 1, 20)
    assert sign_flip(d) == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.03)
    assert sign_flip(np.ones(20)) <= 1e-4
