"""Slowness of learning."""

from __future__ import annotations

import numpy as np
import pytest

from credit.analysis.slowness import BEFORE_DECAY, fit_slowness
from credit.errors import DataError


@pytest.mark.parametrize("s", [0.05, 0.5, 3.0])
def test_a_curve_of_the_model_gives_its_slowness_back(s):
    epochs = np.arange(1, 3000)
    fit = fit_slowness(epochs / (s + epochs), chance=0.0, points=3000)
    assert fit.slowness == pytest.approx(s, rel=0.02)  # the largest value is a little below the asymptote
    np.testing.assert_allclose(fit.curve([fit.slowness]), fit.accuracy / 2)


def test_the_fit_is_a_least_squares_minimum():
    curve = 0.9 - 0.5 * np.exp(-np.arange(59) / 7)
    fit = fit_slowness(curve, 0.1)

    def cost(s):
        k = np.arange(60)
        return ((fit.accuracy * k / (s + k) - np.concatenate([[0.1], curve])) ** 2).sum()

    assert all(cost(fit.slowness) < cost(fit.slowness * f) for f in (0.99, 0.999, 1.001, 1.01))


def test_slower_learning_is_a_larger_number():
    k = np.arange(1, 60)
    assert fit_slowness(0.9 * k / (2 + k), 0.1).slowness > fit_slowness(0.9 * k / (1 + k), 0.1).slowness


def test_only_the_first_points_count_and_chance_is_one_of_them():
    curve = np.linspace(0.2, 0.9, 100)
    short = fit_slowness(curve[: BEFORE_DECAY - 1], 0.1)
    assert fit_slowness(curve, 0.1) == short
    assert short.accuracy == curve[BEFORE_DECAY - 2]
    assert fit_slowness(curve, 0.1, points=100).accuracy == curve[98]


def test_the_unit_of_accuracy_does_not_matter():
    curve = 0.9 - 0.5 * np.exp(-np.arange(59) / 7)
    fit, percent = fit_slowness(curve, 0.1), fit_slowness(100 * curve, 10)
    assert percent.slowness == pytest.approx(fit.slowness, rel=1e-6)
    assert percent.accuracy == pytest.approx(100 * fit.accuracy)


@pytest.mark.parametrize("curve", [[], [0.5, np.nan], [np.inf], [-1.0, -2.0]])
def test_a_curve_that_cannot_be_fitted_is_named(curve):
    with pytest.raises(DataError, match="slowness: "):
        fit_slowness(curve, 0.0)
