"""Sigmoid and tanh of compiled loops, over all floating-point numbers."""

from __future__ import annotations

import numpy as np
import pytest

from credit.numerics import elementwise

STRIDE = 997  # odd, so that signs, exponents and last digits all occur


@pytest.fixture(scope="module")
def numbers():
    return np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32).view(np.float32)


def true_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def values(function, x):
    out = np.full_like(x, 7)
    function(x, out)
    return out


@pytest.mark.parametrize(("function", "true"), [(elementwise.sigmoid, true_sigmoid), (elementwise.tanh, np.tanh)])
def test_within_three_units_in_the_last_place_on_the_whole_line(function, true, numbers):
    finite = numbers[np.isfinite(numbers)]
    got, expected = values(function, finite).astype(np.float64), true(finite.astype(np.float64))
    units = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    assert np.all(np.abs(got - expected) <= 3 * units)
    assert np.any((expected > 0) & (expected < np.finfo(np.float32).tiny))  # denormal results are among them


@pytest.mark.parametrize("function", [elementwise.sigmoid, elementwise.tanh])
def test_nan_stays_and_appears_nowhere_else(function, numbers):
    np.testing.assert_array_equal(np.isnan(values(function, numbers)), np.isnan(numbers))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_and_zeros(dtype):
    x = np.array([-np.inf, -0.0, 0.0, np.inf], dtype)
    np.testing.assert_array_equal(values(elementwise.sigmoid, x), np.array([0, 0.5, 0.5, 1], dtype))
    tanh = values(elementwise.tanh, x)
    np.testing.assert_array_equal(tanh, np.array([-1, -0.0, 0.0, 1], dtype))
    np.testing.assert_array_equal(np.signbit(tanh), np.signbit(x))


def test_every_number_is_treated_alike_wherever_it_stands():
    x = np.linspace(-9, 9, 67, dtype=np.float32)
    for function in (elementwise.sigmoid, elementwise.tanh):
        whole = values(function, x)
        assert all(values(function, x[k:])[0] == whole[k] for k in range(len(x)))


def test_double_precision_is_exact_to_rounding():
    x = np.linspace(-40, 40, 10_001)
    np.testing.assert_allclose(values(elementwise.sigmoid, x), true_sigmoid(x), rtol=1e-14)
    np.testing.assert_allclose(values(elementwise.tanh, x), np.tanh(x), rtol=1e-15)
