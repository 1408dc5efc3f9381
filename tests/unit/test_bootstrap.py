"""Intervals by resampling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from credit.analysis.bootstrap import bootstrap_interval


def test_the_interval_of_three_runs_is_that_of_all_ways_to_draw_them():
    runs = np.array([0.2, 0.5, 0.9])
    means = [np.mean(draw) for draw in itertools.product(runs, repeat=3)]
    low, high = bootstrap_interval(runs, draws=100_000)
    assert (low, high) == (
        pytest.approx(np.percentile(means, 16), abs=0.02),
        pytest.approx(np.percentile(means, 84), abs=0.02),
    )


def test_the_interval_of_many_runs_is_about_a_standard_error_up_and_down():
    runs = np.random.default_rng(1).normal(3.0, 2.0, size=(400, 2))
    low, high = bootstrap_interval(runs)
    error = runs.std(0, ddof=1) / 20
    assert (high - low) / 2 == pytest.approx(error, rel=0.1)
    assert (high + low) / 2 == pytest.approx(runs.mean(0), abs=0.2 * error.max())


def test_intervals_are_the_same_every_time_and_for_each_entry_by_itself():
    runs = np.random.default_rng(2).normal(size=(5, 3))
    low, high = bootstrap_interval(runs)
    assert np.array_equal(low, bootstrap_interval(runs)[0])
    assert high[1] == pytest.approx(bootstrap_interval(runs[:, 1])[1])


def test_missing_values_are_left_out_and_a_single_run_has_no_interval():
    runs = np.array([[1.0, 2.0, 5.0], [3.0, np.nan, np.nan], [2.0, 4.0, np.nan]])
    low, high = bootstrap_interval(runs)
    assert low[1] >= 2.0
    assert high[1] <= 4.0
    assert np.isfinite(low[:2]).all()
    assert np.isnan([low[2], high[2]]).all()
    assert np.isnan(bootstrap_interval(np.array([3.0]))).all()
